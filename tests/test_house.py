"""The shape of the package: floors, light imports, private names, who writes files, frozen names, generated
tables.
"""
import ast
import functools
import json
import pathlib
import re
import subprocess
import sys
import typing

import keras
import pytest

import reskeras
from reskeras import _registration, catalog, variants
from reskeras.blocks import attention, ops, residual, shortcuts, spatial, stems
from reskeras.commands import catalog_tables
from reskeras.spec import CHOICES, Attention, Mixer

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "reskeras"
NAMES = pathlib.Path(__file__).parent / "golden" / "names.json"

# Imports go down only.  Files of one folder may import each other, and so may the files of one floor that are
# in no folder; the folders of a floor may not.
FLOORS = {"spec": 1, "spec_checks": 1, "errors": 1, "files": 1, "file_replacement": 1, "termination": 1,
          "json_reader": 1, "json_writer": 1, "file_reading": 1, "costs": 1, "intervals": 1,
          "terminal": 1,
          "_keras_private": 1, "_keras_building": 1, "_registration": 1, "remote_paths": 1,
          "blocks": 2, "images": 2, "weights": 2, "graph": 2, "quantization": 4,
          "model_metadata": 3, "model_with_metadata": 3, "inputs_outputs": 3, "build": 3,
          "keras_file_check": 3,
          "pretrained": 4, "builder": 4, "variants": 4, "catalog": 4, "backbone": 4,
          "resnet": 4, "resnet50": 4, "resnet_v2": 4, "inception_resnet_v2": 4,
          "train": 5, "exporters": 5, "sharing": 5, "commands": 6, "cli": 7, "__main__": 8}
FRAMEWORK_FREE = ["spec", "spec_checks", "errors", "files", "file_replacement", "termination",
                  "json_reader", "json_writer", "file_reading", "costs", "intervals", "terminal",
                  "_keras_private", "_keras_building",
                  "_registration", "remote_paths", "builder", "variants", "catalog", "cli", "weights/table",
                  "weights/checkpoint", "weights/name_rules", "images/sizes", "model_metadata",
                  "train/recipe", "train/training", "train/recipes"]
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "numpy", "h5py"}
# below floor 5 TensorFlow is imported inside of these alone
TENSORFLOW = {
    "_keras_building": "whether it makes variables here and now, where it is the backend",
    "blocks/grouped_conv": "its own convolution, where it is the backend: Keras' fails there on CPUs",
    "blocks/batch_norm": "its fused operation, and what replicas exchange, where it is the backend",
    "quantization/fake_quantize": "its operation, where it is the backend: TFLite's converter knows it",
    "images/preprocessing": "images within tf.data",
    "images/python_calls": "Python within tf.data",
    "images/headers": "sizes of files within tf.data and servers' graphs",
    "images/transform": "the resize within tf.data, and on the host on every backend"}
TABLES = {"variants", "name_rules", "cli"}      # of nets, of names and of commands: they may be long

# What writes without files.py, and why
WRITERS = {
    "files": "the one place",
    "file_replacement": "what that does in the end",
    "weights/download": "a download grows in a file of its own, and is resumed from it",
    "weights/fetch": "that file gets its name when its hash is right",
    "exporters/tflite/tflite": "the path is one that `export` has from atomic_write",
    "exporters/tflite/standard_metadata": "an archive is written to memory",
    "commands/html": "a drawing is written to memory"}
ONE_PER_FAMILY = ["plainnet18", "resnet18", "resnet50", "resnet50v2", "resnetv2_50d", "resnetv2_50x1_bit",
                  "wide_resnet50_2", "resnext50_32x4d", "seresnet18", "ecaresnet26t", "skresnet18",
                  "resnest14", "resnetrs50", "inception_v4", "inception_resnet_v2", "cifar_resnet20",
                  "mlperf_tiny_resnet8"]


def get_name(file):
    """ "graph/cost/cost" for the file of that name in the package."""
    return file.relative_to(PACKAGE).with_suffix("").as_posix()


FILES = {get_name(f): f for f in sorted(PACKAGE.rglob("*.py")) if f.name != "__init__.py"}


@functools.cache
def parse(name):
    return ast.parse(FILES[name].read_text())


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(tree):
    """Every node but those under `if TYPE_CHECKING:`, which never run."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not is_type_checking(child):
            yield from walk(child)


def resolve(path):
    """The file that a dotted path of the package is in, and the name in it ("" for the whole file); None for
    an __init__.
    """
    for length in (len(path), len(path) - 1):
        if "/".join(path[:length]) in FILES:
            return "/".join(path[:length]), "".join(path[length:])
    return None


@functools.cache
def imports(name, types=False):
    """{(file, name in it)} of every import of the package's own in a file, also those inside of functions;
    with `types` also those that only a type checker sees.
    """
    folder, found = name.split("/")[:-1], set()
    for node in ast.walk(parse(name)) if types else walk(parse(name)):
        paths = []
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*folder[:len(folder) - node.level + 1], *(node.module or "").split(".")]
            paths = [[part for part in (*base, alias.name) if part] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "reskeras":
            paths = [[*node.module.split(".")[1:], alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            paths = [inner for package, *inner in parts if package == "reskeras"]
        # what is no file of the package stays as it is, and has no floor: the package itself, which imports
        # anything
        found |= {resolve(path) or (".".join(["reskeras", *path]), "") for path in paths
                  if path != ["__version__"]}
    return found


def frameworks(name, tree):
    """The frameworks that statements directly in `tree` import."""
    modules = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in tree if isinstance(node, ast.ImportFrom) and not node.level]
    return {module.split(".")[0] for module in modules} & FRAMEWORKS


def is_below(name, other):
    """Whether the file `name` may import the file `other`."""
    place, there = name.split("/")[0], other.split("/")[0]
    neighbours = place == there or "/" not in name + other
    floor, other_floor = FLOORS[place], FLOORS.get(there, 99)
    return other_floor < floor or other_floor == floor and neighbours


def test_imports_go_down():
    """Also those for types: what a file says about a higher one it depends on too."""
    up = [f"{name} imports {other}" for name in FILES for other, _ in sorted(imports(name, types=True))
          if not is_below(name, other)]
    assert not up, "\n".join(up)


def test_no_file_imports_itself_on_the_way():
    done, way = set(), []

    def visit(name):
        assert name not in way, "a circle: " + " -> ".join([*way[way.index(name):], name])
        if name not in done:
            way.append(name)
            for other in sorted({other for other, _ in imports(name)} & set(FILES) - {name}):
                visit(other)
            done.add(way.pop())
    for name in FILES:
        visit(name)


@pytest.mark.parametrize("name", FRAMEWORK_FREE)
def test_files_without_a_framework(name):
    assert not frameworks(name, parse(name).body)


def test_tensorflow_below_training():
    low = [name for name in FILES if FLOORS[name.split("/")[0]] < 5]
    for name in low:
        assert "tensorflow" not in frameworks(name, parse(name).body), name
    using = {name for name in low if "tensorflow" in frameworks(name, list(walk(parse(name))))}
    assert using == set(TENSORFLOW)


def test_what_registers_a_class_is_registered_with_keras():
    """Below training, whose classes are only in a model that was saved to be trained on."""
    registering = {name.replace("/", ".") for name, file in FILES.items()
                   if FLOORS[name.split("/")[0]] < 5 and any(
                       isinstance(node, ast.Attribute) and node.attr == "register_keras_serializable"
                       for node in ast.walk(parse(name)))}
    assert registering == set(_registration._MODULES)


def imports_at_once(name):
    """The files of our own that a file imports at its start, in order, and whether `import keras` stands
    before.
    """
    found, keras_first = [], False
    for node in parse(name).body:
        if isinstance(node, ast.Import) and node.names[0].name.split(".")[0] == "keras" and not found:
            keras_first = True
        elif isinstance(node, ast.ImportFrom) and node.level:
            folder = name.split("/")[:-1]
            base = [*folder[:len(folder) - node.level + 1], *(node.module or "").split(".")]
            there = [resolve([part for part in (*base, alias.name) if part]) for alias in node.names]
            found += [file for file, _ in filter(None, there)]
    return found, keras_first


def imports_keras(name):
    """Whether importing a file imports Keras."""
    init = FILES[name].parent / "__init__.py"
    folder = "/" in name and "import keras" in init.read_text()
    return folder or "keras" in frameworks(name, parse(name).body) or any(
        map(imports_keras, imports_at_once(name)[0]))


def test_registration_meets_no_half_imported_module():
    """Any module may be imported first.

    Importing Keras runs the hook of reskeras/_registration.py, which imports the modules that define a
    registered class, and what they import.  If one of those is what imports Keras, it must do so before all
    else: as the last line of its folder's `__init__.py`, or before its first import of our own.
    """
    waiting, seen = [module.replace(".", "/") for module in _registration._MODULES], set()
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += imports_at_once(name)[0]
    assert len(seen) > 10

    for name in filter(imports_keras, seen):
        init = FILES[name].parent / "__init__.py"
        folder_first = "/" in name and "import keras" in "".join(init.read_text().splitlines()[-1:])
        assert folder_first or imports_at_once(name)[1], name


# Names

PRIVATE_FILES = ("_keras_private", "_keras_building")
PRIVATE_MODULES = re.compile(r"^(keras\.src|tensorflow\.(python|lite\.python|core|compiler))\b")


def iterate_private_names(name):
    """What a file uses of other packages that is private there: modules, and attributes with an
    underscore.
    """
    tree = parse(name)
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in ("self", "cls")}
    own |= {node.id for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and PRIVATE_MODULES.match(node.module or ""):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if PRIVATE_MODULES.match(alias.name))
        elif isinstance(node, ast.Constant) and PRIVATE_MODULES.match(str(node.value)):
            yield node.value
        elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and node.attr not in own:
            yield ast.unparse(node)


def test_private_names_are_in_two_files():
    # os._exit is public in spite of its name; argparse has no public list of a parser's options
    found = {name: set(iterate_private_names(name)) - {"os._exit", "self._actions"}
             for name in FILES if name not in PRIVATE_FILES}
    assert not {name: private for name, private in found.items() if private}


def test_each_private_name_has_its_reason():
    for node in [node for name in PRIVATE_FILES for node in parse(name).body]:
        if isinstance(node, ast.FunctionDef):
            assert len((ast.get_docstring(node) or "").split()) > 5, node.name


@functools.cache
def used_elsewhere():
    """{file: names of it that other files use}."""
    used = {name: set() for name in FILES}
    for name in FILES:
        modules = {}        # local name -> file
        for node in walk(parse(name)):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = name.split("/")[:-1]
                base = [*folder[:len(folder) - node.level + 1], *(node.module or "").split(".")]
                for alias in node.names:
                    there = resolve([part for part in (*base, alias.name) if part])
                    if there and not there[1]:
                        modules[alias.asname or alias.name] = there[0]
        for file, inner in imports(name):
            used.get(file, set()).add(inner)
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
                used[modules[ast.unparse(node.value)]].add(node.attr)
    for public, module in reskeras._PUBLIC.items():
        used[module.replace(".", "/")].add(public)
    return used


def iterate_definitions():
    """(file, function or class) of every one at the top of a file."""
    for name in FILES:
        yield from ((name, node) for node in parse(name).body
                    if isinstance(node, (ast.FunctionDef, ast.ClassDef)))


def test_what_others_use_has_a_docstring():
    bare = [f"{name}: {node.name}" for name, node in iterate_definitions()
            if node.name in used_elsewhere()[name] and not ast.get_docstring(node)]
    assert not bare, "\n".join(bare)


def test_what_serves_one_file_has_an_underscore():
    """Functions; a class may be public as what a public function returns."""
    files = [file for folder in ("reskeras", "tests", "examples") for file in (ROOT / folder).rglob("*.py")]
    words = {file: set(re.findall(r"\w+", file.read_text())) for file in files}
    lonely = [f"{name}: {node.name}" for name, node in iterate_definitions()
              if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
              and not any(node.name in found for file, found in words.items() if file != FILES[name])]
    assert not lonely, "\n".join(lonely)


def test_docstrings_are_parsed(caplog):
    """Google style: every section is understood, every argument is one of the signature."""
    import griffe

    def walk(parent):
        for member in parent.members.values():
            if not member.is_alias:
                if member.docstring:
                    member.docstring.parse("google")
                if member.is_class or member.is_module:
                    walk(member)
    walk(griffe.load("reskeras", search_paths=[ROOT], docstring_parser="google"))
    assert not caplog.messages, "\n".join(caplog.messages)


# Files

WRITES = {"write_text", "write_bytes", "savefig", "writelines"}
MOVES = {"os": {"replace", "rename", "link", "symlink"}, "tempfile": {"mkstemp", "NamedTemporaryFile"},
         "shutil": {"copy", "copy2", "copyfile", "copytree", "move"}}


def iterate_writes(tree, whole=False):
    """(line, call) of what writes or replaces a file outside of a `with atomic_write(...)`."""
    for node in ast.iter_child_nodes(tree):
        inside = isinstance(node, ast.With) and "atomic_write(" in " ".join(map(ast.unparse, node.items))
        if isinstance(node, ast.Call) and not whole:
            owner, _, called = ast.unparse(node.func).rpartition(".")
            arguments = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            modes = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
            opens = called in ("open", "ZipFile") and any(re.fullmatch("[rwaxbt+]*[wax+][bt+]*", str(mode))
                                                          for mode in modes)
            if opens or owner not in ("", "files") and called in WRITES or called in MOVES.get(owner, ()):
                yield node.lineno, ast.unparse(node)[:80]
        yield from iterate_writes(node, whole or inside)


def test_files_are_written_in_one_place():
    found = [f"{name}:{line}: {call}" for name in FILES if name not in WRITERS
             for line, call in iterate_writes(parse(name))]
    assert not found, "\n".join(found)


# These read what the package has just written, or what comes with it; others go through `file_reading`, which
# opens no pipe and reads no more than it should.
READERS = {"file_reading", "files", "remote_paths", "costs", "images/labels", "exporters/saved_model",
           "exporters/c_array",
           "exporters/measurements", "exporters/folder_index", "commands/demo"}


def iterate_reads(tree):
    """(line, code) of each call that opens a file by its path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, called = ast.unparse(node.func.value), node.func.attr
            opens = called == "open" and re.search("path|file", owner, flags=re.IGNORECASE)
            comes_with_it = owner.isupper()     # a constant, such as TABLE_FILE
            if (opens or called in ("read_text", "read_bytes")) and not comes_with_it:
                yield node.lineno, ast.unparse(node)[:80]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
            if "wb" not in ast.unparse(node):
                yield node.lineno, ast.unparse(node)[:80]


def test_files_are_read_in_one_place():
    found = [f"{name}:{line}: {call}" for name in FILES if name not in READERS | set(WRITERS)
             for line, call in iterate_reads(parse(name))]
    assert not found, "\n".join(found)
    assert list(iterate_reads(ast.parse("pathlib.Path(x).read_text()")))


def test_one_search_for_the_nearest_name():
    users = {name for name in FILES if any(isinstance(node, ast.Import) and node.names[0].name == "difflib"
                                           for node in ast.walk(parse(name)))}
    # `catalog` also compares by letters and digits alone and by beginnings, over the names of all packages
    assert users <= {"errors", "catalog"}


def test_files_are_short():
    long = [f"{name}: {count} lines" for name, file in FILES.items()
            if (count := len(file.read_text().splitlines())) > 300 and file.stem not in TABLES]
    assert not long, "\n".join(long)


def test_files_of_tests_have_different_names():
    """The folders of tests are no packages, so Python knows each file by its base name alone."""
    names = [file.name for file in (ROOT / "tests").rglob("*.py") if file.name != "conftest.py"]
    twice = {name for name in names if names.count(name) > 1}
    assert names and not twice, twice


def test_lines_are_short():
    long = [f"{file.relative_to(ROOT)}:{number}" for folder in ("reskeras", "tests", "examples")
            for file in sorted((ROOT / folder).rglob("*.py")) if file.stem not in TABLES - {"cli"}
            for number, line in enumerate(file.read_text().splitlines(), 1) if len(line) > 110]
    assert not long, f"{len(long)} lines of more than 110 columns: {long[:20]}"


# The axes, the imports at run time, the frozen names, the pages

def test_every_axis_has_its_functions():
    tables = {"block": residual.BLOCKS, "order": residual.ORDERS, "form": residual.FORMS,
              "stem": stems.STEM_WIDTHS, "pool": stems.POOLS, "shortcut": shortcuts.SHORTCUTS,
              "norm": ops.NORMS}
    for axis, table in tables.items():
        assert set(table) == set(CHOICES[axis]), axis
    assert set(spatial.ANTIALIAS) == set(CHOICES["antialias"]) - {None}
    assert set(attention.ATTENTIONS) == set(typing.get_args(Attention))
    assert set(spatial.MIXERS) == set(typing.get_args(Mixer))


def test_import_is_light():
    code = ("import sys, reskeras, reskeras.cli; "
            "reskeras.cli.main(['list']); reskeras.cli.main(['show', 'resnet50d']);"
            "print(sorted({'keras', 'tensorflow', 'numpy', 'jax'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_names_are_frozen(accept):
    """Public names, layer names of one net per family, registered names: changing one breaks somebody's code
    or files.
    """
    registered = [name for name, kind in keras.saving.get_custom_objects().items()
                  if name.startswith("reskeras>") and kind.__module__.startswith("reskeras.blocks.")]
    found = {"public": dir(reskeras), "registered": sorted(registered), "layers": {}}
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


GENERATED = [
    ("README.md", "reskeras list --families", "end", catalog_tables.format_families),
    ("docs/nets.md", "reskeras list --markdown", "end",
     lambda: catalog_tables.format_variants(catalog.list_models())),
    ("docs/weights.md", "reskeras weights list --markdown", "end of weights",
     catalog_tables.format_checkpoints)]


@pytest.mark.parametrize("page, command, end, table", GENERATED, ids=[page for page, *_ in GENERATED])
def test_generated_tables(page, command, end, table, holds):
    holds(page, command, end, table())


def test_links_between_pages():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
