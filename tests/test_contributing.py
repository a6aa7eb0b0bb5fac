"""CONTRIBUTING's worked examples: a line for the table, a net that is tried before, a new attention block."""
import dataclasses
import pathlib
import re
import types

import keras
import pytest

import reskeras
from reskeras import spec, variants
from reskeras.blocks import attention
from reskeras.blocks.spatial import MIXERS

TEXT = (pathlib.Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
LINE, TRIAL, ATTENTION = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.fixture
def table():
    """The table as it would be with the line."""
    source = pathlib.Path(variants.__file__).read_text()
    before, after = re.split(r"(?=^SEResNet152 = )", source, flags=re.M)
    module = types.ModuleType("reskeras.variants")
    module.__package__ = "reskeras"
    exec(compile(before + LINE + after, variants.__file__, "exec"), vars(module))
    return module


def test_the_line_is_a_variant_and_a_builder(table):
    variant = table.VARIANTS["seresnet101d"]
    assert variant is table.SEResNet101D and variant.builder == "SEResNet101D" and variant.family == "senet"
    assert variant.sources == ("timm/seresnet101d",) and "seresnet101d" in variant.__doc__
    assert set(table.VARIANTS) == set(variants.VARIANTS) | {"seresnet101d"}


def test_the_block_builds_the_same_net(table, capsys):
    known: dict = {}
    exec(compile(TRIAL, "CONTRIBUTING.md", "exec"), known)
    assert known["SEResNet101D"].spec == table.SEResNet101D.spec
    assert str(reskeras.cost(known["model"], 224)) in capsys.readouterr().out
    assert known["model"].get_layer("conv2_block1_se_reduce") and known["model"].count_params() > 45e6


def test_the_attention_block_fits_where_it_shall_go():
    """Its layers keep the shape, and have names of the block's."""
    known = {"dataclass": dataclasses.dataclass, **vars(attention)}
    exec(compile(ATTENTION, "CONTRIBUTING.md", "exec"), known)
    assert dataclasses.fields(known["GatherExcite"]) == () and "SE" in vars(spec)
    image = keras.Input((6, 5, 8))
    model = keras.Model(image, known["_gather_excite"](image, reskeras.Spec(), "conv2_block1"))
    assert model.output_shape == (None, 6, 5, 8)
    assert all(layer.name.startswith("conv2_block1_ge_") for layer in model.layers[1:])
    attentions = {type(make()) for make in spec.SHORTHANDS.values()} - set(MIXERS)
    assert set(attention.ATTENTIONS) == {type(None), *attentions}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_it_names_are_there(page):
    root = pathlib.Path(__file__).parents[1]
    named = re.findall(r"`((?:reskeras|tests|examples)/[\w/.]+)`", (root / page).read_text())
    assert len(named) >= 8 and not [path for path in named if not (root / path).exists()]
