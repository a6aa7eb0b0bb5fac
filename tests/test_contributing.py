"""CONTRIBUTING's worked example: the line, put into the table, is a row and a public builder; the other block runs."""
import pathlib
import re
import types

import pytest

import reskeras
from reskeras import variants

TEXT = (pathlib.Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
ROW, TRIAL = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.fixture
def table():
    """The table as it would be with the row."""
    source = pathlib.Path(variants.__file__).read_text()
    before, after = re.split(r"(?=^SEResNet152 = )", source, flags=re.M)
    module = types.ModuleType("reskeras.variants")
    module.__package__ = "reskeras"
    exec(compile(before + ROW + after, variants.__file__, "exec"), vars(module))
    return module


def test_the_line_is_a_row(table):
    row = table.ROWS["seresnet101d"]
    assert row is table.SEResNet101D and row.builder == "SEResNet101D" and row.family == "senet"
    assert row.sources == ("timm/seresnet101d",) and "seresnet101d" in row.__doc__
    assert set(table.ROWS) == set(variants.VARIANTS) | {"seresnet101d"}


def test_the_block_builds_the_same_net(table, capsys):
    known: dict = {}
    exec(compile(TRIAL, "CONTRIBUTING.md", "exec"), known)
    assert known["SEResNet101D"].spec == table.SEResNet101D.spec
    assert str(reskeras.cost(known["model"], (224, 224, 3))) in capsys.readouterr().out
    assert known["model"].get_layer("conv2_block1_se_reduce") and known["model"].count_params() > 45e6


def test_files_that_it_names_are_there():
    root = pathlib.Path(__file__).parents[1]
    named = re.findall(r"`((?:reskeras|tests|examples)/[\w/.]+)`", TEXT)
    assert len(named) >= 8 and all((root / path).exists() for path in named), named
