"""The page of a family: what it says is the table's; in Chromium it fits, sorts and says nothing amiss."""
import pytest
from browser import opened

from reskeras import catalog, cli, variants
from reskeras.spec import find_differences
from reskeras.commands.family_page import PARENTS, write_family_page, find_parent
from reskeras.weights.table import list_checkpoints


@pytest.mark.parametrize("row, other", [
    ("seresnet50", "resnet50v1_5"), ("ecaresnet50d", "resnet50d"), ("resnext50_32x4d", "resnet50v1_5"),
    ("resnest50", "resnet50d"),
    ("resnetv2_50", "resnet50v1_5"), ("resnetv2_50x1_bit", "resnetv2_50"), ("resnet34", "plainnet34"),
    ("wide_resnet50_2", "resnet50v1_5"),
    ("cifar_wide_resnet16_4", "cifar_preresnet20"), ("seresnext50_32x4d", "resnext50_32x4d"),
    ("cifar_resnet20", "cifar_plain20")])
def test_parents(row, other):
    assert find_parent(variants.VARIANTS[row]).name == other


def test_families_without_parents():
    assert set(variants.FAMILIES) - set(PARENTS) == {"plain", "inception"}
    assert find_parent(variants.VARIANTS["inception_v4"]) is None


@pytest.mark.parametrize("name", variants.FAMILIES)
def test_every_family_has_a_page(name, tmp_path, capsys):
    row = next(row for row in variants.VARIANTS.values() if row.family == name)
    assert cli.main(["show", row.name, "--page", str(tmp_path / "f.html")]) == 0
    text = (tmp_path / "f.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == str(tmp_path / "f.html")
    for other in (r for r in variants.VARIANTS.values() if r.family == name):
        assert f"<td>{other.builder}</td>" in text
        assert f"{catalog.read_costs()[other.name].params / 1e6:.2f}</td>" in text
    for w in (w for w in list_checkpoints() if w.variant == row.name):
        assert f"<td>{w.name}</td>" in text
    if other := find_parent(row):
        assert all(f"<td>{field}</td>" in text for field in find_differences(row.spec, other.spec))


def test_refuses(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'resnest50'"):
        write_family_page("resnest5O", tmp_path / "f.html")
    with pytest.raises(ValueError, match=".html"):
        write_family_page("resnest50", tmp_path / "f.pdf")


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_in_the_browser(tmp_path, width, scheme):
    file = write_family_page("resnest50", tmp_path / "f.html")
    with opened(file, width, scheme=scheme) as (tab, complaints):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.click("#nets th:nth-child(3) button")
        cells = tab.eval_on_selector_all("#nets tbody td:nth-child(3)",
                                         "cells => cells.map(cell => cell.textContent)")
        sizes = [float(cell) for cell in cells]
        assert sizes == sorted(sizes, reverse=True)
        assert complaints == []
