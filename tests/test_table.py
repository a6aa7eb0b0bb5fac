"""Every variant of the table against the counted facts: parameters, statistics, multiply-accumulates."""
import contextlib
import csv
import dataclasses
import pathlib
from unittest import mock

import keras
import pytest

import reskeras
from reskeras import catalog, variants
from reskeras.graph.cost.cost import Cost, measure_cost, count_numbers

FACTS = pathlib.Path(__file__).parent / "facts" / "variants.csv"
LINES = [line for line in csv.DictReader(FACTS.open(newline="")) if line["row"]]


@contextlib.contextmanager
def without_tracking():
    """TensorFlow notes every attribute of a layer for its checkpoints, which takes a third of the time."""
    tracking = [base for base in keras.Layer.__mro__ if base.__name__ == "KerasAutoTrackable"]
    with contextlib.ExitStack() as stack:
        for base in tracking:
            stack.enter_context(mock.patch.object(base, "__setattr__", object.__setattr__))
        yield


def counted(variant, sizes, **kwargs):
    """The cost of a variant at each size; in a stateless scope Keras makes variables that take no memory."""
    with keras.StatelessScope(initialize_variables=False), without_tracking():
        model = variants.VARIANTS[variant](weights=None, input_shape=(None, None, 3), **kwargs)
        result = {size: measure_cost(model, (size, size, 3)) for size in sizes}
    # without the garbage collector, which would take a tenth of the time
    keras.utils.clear_session(free_memory=False)
    return result


def test_every_line_of_the_facts_is_a_variant():
    known = {(variant.name, variant.builder) for variant in variants.VARIANTS.values()}
    assert {(line["row"], line["builder"]) for line in LINES} == known
    assert len(variants.VARIANTS) == 215


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["variant"])
def test_counts(line, accept):
    variant, fields = line["row"], {}
    if line["variant"].endswith("_cifar100"):
        fields["classes"] = 100
    counts = ((224, line["macs_224"]), (line["default_input"], line["macs_default_input"]))
    wanted = {int(size): int(macs) for size, macs in counts if macs}
    size = variants.VARIANTS[variant].spec.input_size
    costs = counted(variant, {size, *wanted}, **fields)
    own = costs[size]
    if line["params_trainable"]:
        assert own.params == int(line["params_trainable"])
    else:       # MLPerf Tiny: GOLDEN.md has its count, statistics included
        assert own.params + own.non_trainable_params == 78_666
    if line["bn_stats"]:
        assert own.non_trainable_params == int(line["bn_stats"])
    for size, macs in wanted.items():
        assert costs[size].macs == pytest.approx(macs, rel=1e-3)
    if not fields:
        found = catalog.VariantCost(own.params, own.macs)
        if accept:
            write_costs({**catalog.read_costs(), variant: found})
        assert catalog.read_costs()[variant] == found


def write_costs(known):
    """Writes costs.csv, when this file is run with `pytest --accept` in one process."""
    with catalog.COSTS_FILE.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["row", "params", "macs"])
        out.writerows([variant, known[variant].params, known[variant].macs]
                      for variant in variants.VARIANTS if variant in known)
    catalog.read_costs.cache_clear()


def test_cost_needs_a_size():
    model = keras.Sequential([keras.Input((None, None, 3)),
                              keras.layers.Conv2D(4, 3, groups=1, padding="same")])
    with pytest.raises(ValueError, match="^size=None: expected the pixels of a side, such as 224; "):
        reskeras.cost(model)
    expected = Cost(3 * 3 * 3 * 4 + 4, 0, 8 * 8 * 3 * 3 * 3 * 4)
    assert reskeras.cost(model, (8, 8)) == reskeras.cost(model, 8) == expected


def test_cost_of_other_layers():
    image = keras.Input((9, 9, 4))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(image)     # 5 x 5 x 8
    x = keras.layers.Conv2DTranspose(6, 2, strides=2)(x)                                      # 10 x 10 x 6
    x = keras.layers.Dense(3)(x)
    x = keras.layers.Dropout(0.5)(x)
    expected = 25 * 9 * 8 + 25 * 4 * 8 * 6 + 100 * 6 * 3
    assert reskeras.cost(keras.Model(image, x)).macs == expected
    assert dataclasses.replace(Cost(1, 2, 3), macs=4).macs == 4


def test_shared_layers_count_per_call():
    layer = keras.layers.Dense(4)
    image = keras.Input((4,))
    model = keras.Model(image, layer(layer(image)))
    assert reskeras.cost(model) == Cost(20, 0, 32)
    assert count_numbers(model.variables) == 20
