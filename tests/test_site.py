"""The generated pages of the site: complete, linked, and their code runs.  `tox -e docs` builds the site."""
import contextlib
import pathlib
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras.variants import FAMILIES, VARIANTS
from reskeras.weights.table import list_checkpoints

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))

import api_pages  # noqa: E402
import checkpoint_pages  # noqa: E402
import net_pages  # noqa: E402
from pages import make_pages  # noqa: E402

CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in list_checkpoints()}
QUICK = ("cifar_resnet20.digits", "resnet18.a1_in1k", "resnet50.keras_in1k", "mlperf_tiny_resnet8")


@pytest.fixture(scope="module")
def pages():
    return make_pages()


def test_every_public_name_has_its_place():
    names = [name for _, group in api_pages.GROUPS.values() for name in group]
    assert sorted(names) == sorted(reskeras._PUBLIC)


def test_every_net_and_checkpoint_is_on_its_page(pages):
    for net in VARIANTS.values():
        assert f"| `{net.builder}` |" in pages[f"nets/{net.family}.md"]
    for checkpoint in CHECKPOINTS.values():
        assert f'reskeras.create("{checkpoint.name}"' in pages[f"checkpoints/{checkpoint.variant}.md"]
        assert f"`{checkpoint.name}`" in pages["checkpoints.md"]


def test_links_of_generated_pages(pages):
    for name, text in pages.items():
        folder = pathlib.PurePosixPath(name).parent
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*\.md)(#[^)]+)?\)", text):
            path = (ROOT / "docs" / folder / target).resolve().relative_to(ROOT / "docs")
            assert str(path) in pages or (ROOT / "docs" / path).is_file(), f"{name}: {target}"
            assert not anchor or f"{{{anchor}}}" in pages.get(str(path), "") or "docs" not in str(path)


def test_every_command_has_its_help(pages):
    from reskeras.commands.parser import make_parser
    names = [name for name, _ in api_pages.list_commands(make_parser())]
    assert "reskeras weights convert" in names and len(names) > 20
    assert all(f"\n## {name}\n" in pages["api/commands.md"] for name in names)


def test_a_card():
    """What a card says is what the table of checkpoints says."""
    card = checkpoint_pages.make_card(CHECKPOINTS["resnet50v1_5.a1_in1k"])
    for text in ("`apache-2.0`", "mean 0.485, 0.456, 0.406", "top-1 80.38", "timm's `resnet50`"):
        assert text in card
    assert "**not allowed, or not known**" in checkpoint_pages.make_card(
        next(c for c in CHECKPOINTS.values() if "-nc" in c.license))


@pytest.mark.parametrize("family", [
    family if family in ("resnet", "mlperf-tiny") else pytest.param(family, marks=pytest.mark.slow)
    for family in FAMILIES])
def test_code_of_a_family(family, capsys):
    exec(net_pages.make_snippet(net_pages.choose_example(family)), {})
    assert capsys.readouterr().out == "(1, 10)\n"
    keras.utils.clear_session()


@pytest.mark.parametrize("name", [
    name if name.startswith(QUICK) else pytest.param(name, marks=pytest.mark.slow) for name in CHECKPOINTS])
def test_code_of_a_card(name, capsys, tmp_path, monkeypatch):
    """With weights=None, as nothing is downloaded here; the net that comes with the package as it stands."""
    checkpoint, own = CHECKPOINTS[name], name == "cifar_resnet20.digits"
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), "uint8")).save("image.jpg")
    code = checkpoint_pages.make_snippet(checkpoint)
    if not own:
        code = code.replace(f'"{name}"', f'"{checkpoint.variant}", weights=None')
        code = code.replace('reskeras.predict(model, ["image.jpg"])', "model.output_shape")
        assert "weights=None" in code and "model.output_shape" in code
    with contextlib.nullcontext() if own else keras.StatelessScope(initialize_variables=False):
        exec(code, {})
    printed = capsys.readouterr().out
    assert printed.startswith("[{'image': 'image.jpg'" if own else "(None, ")
    keras.utils.clear_session()
