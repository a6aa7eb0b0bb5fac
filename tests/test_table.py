"""Every row of the table against the counted facts: parameters, statistics, multiply-accumulates."""
import csv
import dataclasses
import pathlib

import keras
import pytest

import reskeras
from reskeras import catalog, variants
from reskeras.graph.cost.cost import Cost, measure_cost, count_numbers

FACTS = pathlib.Path(__file__).parent / "facts" / "variants.csv"
LINES = [line for line in csv.DictReader(FACTS.open(newline="")) if line["row"]]


def counted(row, sizes, **kwargs):
    """The cost of a row at each size, without the memory: in a stateless scope Keras makes variables but no values."""
    with keras.StatelessScope(initialize_variables=False):
        model = variants.VARIANTS[row](weights=None, input_shape=(None, None, 3), **kwargs)
        result = {size: measure_cost(model, (size, size, 3)) for size in sizes}
    keras.utils.clear_session(free_memory=False)      # a collection for each net would take a tenth of the time
    return result


def test_every_line_of_the_facts_is_a_row():
    assert {(line["row"], line["builder"]) for line in LINES} == {(r.name, r.builder) for r in variants.VARIANTS.values()}
    assert len(variants.VARIANTS) == 205


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["variant"])
def test_counts(line, accept):
    row, fields = line["row"], {}
    if line["variant"].endswith("_cifar100"):
        fields["classes"] = 100
    counts = ((224, line["macs_224"]), (line["default_input"], line["macs_default_input"]))
    wanted = {int(size): int(macs) for size, macs in counts if macs}
    size = variants.VARIANTS[row].spec.input_size
    costs = counted(row, {size, *wanted}, **fields)
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
            write_costs({**catalog.read_costs(), row: found})
        assert catalog.read_costs()[row] == found


def write_costs(known):
    """costs.csv, which `list_models` and the README read: `pytest tests/test_table.py --accept` (one process) makes it."""
    with catalog.COSTS_FILE.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["row", "params", "macs"])
        out.writerows([row, known[row].params, known[row].macs] for row in variants.VARIANTS if row in known)
    catalog.read_costs.cache_clear()


def test_cost_needs_a_size():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, groups=1, padding="same")])
    with pytest.raises(ValueError, match="input_shape"):
        reskeras.cost(model)
    assert reskeras.cost(model, (8, 8, 3)) == Cost(3 * 3 * 3 * 4 + 4, 0, 8 * 8 * 3 * 3 * 3 * 4)


def test_cost_of_other_layers():
    image = keras.Input((9, 9, 4))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(image)     # 5 x 5 x 8
    x = keras.layers.Conv2DTranspose(6, 2, strides=2)(x)                                          # 10 x 10 x 6
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
