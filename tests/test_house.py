"""The shape of the package: floors, light imports, frozen names, the generated tables of README and docs."""
import ast
import json
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import reskeras
from reskeras import catalog, variants
from reskeras.blocks import attention, ops, residual, shortcuts, spatial, stems
from reskeras.spec import CHOICES

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "reskeras"
NAMES = pathlib.Path(__file__).parent / "golden" / "names.json"
FLOORS = {"spec": 1, "blocks": 2, "images": 2, "weights": 2, "graph": 2, "model_metadata": 3, "build": 3,
          "builder": 4, "variants": 4, "catalog": 4, "backbone": 4,
          "train": 5, "exporters": 5, "commands": 6, "cli": 7}
# one floor, but not strangers: the row, the table of rows, and the ways to find and to use one
NEIGHBOURS = [{"builder", "variants", "catalog", "backbone"}, {"model_metadata", "build"}, {"images", "weights"}]
FRAMEWORK_FREE = ["spec", "builder", "variants", "catalog", "cli", "weights/table", "weights/name_rules", "train/recipe",
                  "train/recipes"]
ONE_PER_FAMILY = ["plainnet18", "resnet18", "resnet50", "resnet50v2", "resnetv2_50d", "resnetv2_50x1_bit", "wide_resnet50_2",
                  "resnext50_32x4d", "seresnet18", "ecaresnet26t", "skresnet18", "resnest14", "resnetrs50", "inception_v4",
                  "inception_resnet_v2", "cifar_resnet20", "mlperf_tiny_resnet8"]


def imports(file):
    """(room, at module level?) of every import of our own in the file, and the frameworks it imports at module level."""
    rooms, frameworks = set(), set()
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        level = node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.relative_to(PACKAGE).parts[:-1]
            path = [*base[:len(base) - node.level + 1], *(node.module or "").split(".")]
            rooms |= {path[0]} if path[0] else {alias.name for alias in node.names}
        elif level and isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            frameworks |= {n.split(".")[0] for n in names} & {"keras", "tensorflow", "jax", "numpy", "h5py"}
    return rooms, frameworks


FILES = sorted(f for f in PACKAGE.rglob("*.py") if f.name != "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).with_suffix("").as_posix())
def test_imports_go_down(file):
    name = file.relative_to(PACKAGE).with_suffix("").as_posix()
    own = name.split("/")[0]
    rooms, frameworks = imports(file)
    if name in FRAMEWORK_FREE:
        assert not frameworks
        rooms -= {"build"}      # a row imports its builder when it is called
    for room in rooms - {own, "__version__"}:
        friends = any({room, own} <= n for n in NEIGHBOURS) or own == "cli"
        below = FLOORS[room] < FLOORS[own] or friends
        assert below, f"{name} imports {room}"
    if FLOORS[own] < 5 and name != "blocks/grouped_conv":
        assert "tensorflow" not in file.read_text().replace("# tensorflow", "") or "tensorflow" not in frameworks


def test_every_axis_has_its_functions():
    tables = {"block": residual.BLOCKS, "order": residual.ORDERS, "form": residual.FORMS, "stem": stems.STEM_WIDTHS,
              "pool": stems.POOLS, "shortcut": shortcuts.SHORTCUTS, "norm": ops.NORMS}
    for axis, table in tables.items():
        assert set(table) == set(CHOICES[axis]), axis
    assert set(spatial.ANTIALIAS) == set(CHOICES["antialias"]) - {None}
    assert len(attention.ATTENTIONS) == 3 and len(spatial.MIXERS) == 3


def test_import_is_light():
    code = ("import sys, reskeras, reskeras.cli; reskeras.cli.main(['list']); reskeras.cli.main(['show', 'resnet50d']);"
            "print(sorted({'keras', 'tensorflow', 'numpy', 'jax'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_names_are_frozen(accept):
    """Public names, layer names of one net per family, registered names: changing one breaks somebody's code or files."""
    from keras.saving import get_registered_object
    from reskeras.blocks import layers
    own = [n for n in vars(layers) if isinstance(getattr(layers, n), type) and get_registered_object(f"reskeras>{n}")]
    found = {"public": dir(reskeras), "registered": sorted(f"reskeras>{n}" for n in own), "layers": {}}
    for name in ONE_PER_FAMILY:
        with keras.StatelessScope(initialize_variables=False):
            found["layers"][name] = [layer.name for layer in reskeras.create(name, weights=None).layers]
    keras.utils.clear_session()
    if accept:
        NAMES.write_text(json.dumps(found, indent=0) + "\n")
    known = json.loads(NAMES.read_text())
    assert {variants.VARIANTS[n].family for n in ONE_PER_FAMILY} == set(variants.FAMILIES)
    assert found["public"] == known["public"] and found["registered"] == known["registered"]
    for name in ONE_PER_FAMILY:
        assert found["layers"][name] == known["layers"][name], name


GENERATED = [("README.md", "reskeras list --families", "end", catalog.format_families),
             ("docs/nets.md", "reskeras list --markdown", "end", lambda: catalog.format_variants(catalog.list_models())),
             ("docs/weights.md", "reskeras weights list --markdown", "end of weights", catalog.format_checkpoints)]


@pytest.mark.parametrize("page, command, end, table", GENERATED, ids=[page for page, *_ in GENERATED])
def test_generated_tables(page, command, end, table, holds):
    holds(page, command, end, table())


def test_links_between_pages():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_no_room_has_a_public_name():
    rooms = {p.stem for p in PACKAGE.iterdir()}
    assert not rooms & (set(dir(reskeras)) - {"__version__"})


def test_files_are_short():
    for file in FILES:
        if file.stem not in ("variants", "name_rules", "cli"):     # tables: of nets, names and commands
            assert len(file.read_text().splitlines()) <= 340, file
