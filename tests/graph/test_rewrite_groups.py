from functools import partial

import keras
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names
from tiny import tiny, trained

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.passes.rewrite_groups import rewrite_groups
from reskeras.blocks.grouped_conv import GroupedConv2D
from reskeras.blocks.layers import ChannelSlice

Conv = layers.Conv2D
FORMS = ("grouped", "concat", "sum")


def shared():
    image, conv = keras.Input((8, 8, 4)), GroupedConv2D(4, 1, groups=2)
    return randomized(keras.Model(image, conv(conv(image))))


def paths(*slices, output=False, add=False, activation=None):
    """Two convolutions of slices of one tensor, concatenated."""
    image = keras.Input((8, 8, 4))
    each = [Conv(2, 3, activation=activation)(ChannelSlice(*s)(image)) for s in slices]
    x = layers.Add()(each) if add else layers.Concatenate()(each)
    return randomized(keras.Model(image, [each[0], x] if output else x))


def behind_paths(layer):
    image = keras.Input((8, 8, 4))
    return randomized(keras.Model(image, layer(layers.Concatenate()([Conv(2, 1)(image), Conv(2, 1)(image)]))))


@pytest.mark.parametrize("form, make, reason", [
    ("concat", shared, "it is shared"), ("sum", shared, "it is shared"),
    ("grouped", lambda: paths((0, 2), (2, 4), output=True), "not convolutions, or others read them too"),
    ("concat", lambda: chain(Conv(4, 1, groups=2, activation="softmax")), "its activation sees all"),
    ("grouped", lambda: paths((0, 2), (2, 4), activation="softmax"), "their activation sees all"),
    ("grouped", lambda: paths((0, 2), (1, 3)), "not all of the channels"),
    ("grouped", lambda: paths((2, 4), (0, 2)), "not all of the channels"),
    ("grouped", lambda: paths((0, 1), (1, 4)), "not all of the channels"),
    ("grouped", lambda: paths((0, 1), (1, 2)), "not all of the channels"),
    ("grouped", lambda: paths((0, 2), (2, 4), add=True), "is not a linear 1x1 convolution"),
    ("sum", lambda: behind_paths(Conv(4, 3)), "or is no 1x1 convolution"),
    ("sum", lambda: behind_paths(Conv(4, 1, activation="relu")), "its activation comes after"),
])
def test_leaves_alone(form, make, reason):
    unchanged(partial(rewrite_groups, form=form), make(), reason)


def test_unknown_form():
    with pytest.raises(ValueError, match="form='concatenated'"):
        rewrite_groups(Graph.of(shared()), "concatenated")


@pytest.mark.parametrize("layer", [
    GroupedConv2D(6, 3, groups=2),
    GroupedConv2D(8, 3, groups=4, padding="same", strides=2, activation="relu", use_bias=False),
    Conv(4, 1, groups=4, dilation_rate=2)], ids=lambda layer: layer.name)
def test_there_and_back(layer):
    model = chain(type(layer).from_config(layer.get_config()), Conv(5, 1), layers.ReLU(), shape=(9, 8, 4))
    split = rewritten(partial(rewrite_groups, form="concat"), model)
    names = type_names(split)
    assert names.count("reskeras>ChannelSlice") == layer.groups == names.count("Conv2D") - 1
    summed = rewritten(partial(rewrite_groups, form="sum"), model)
    assert type_names(summed).count("Conv2D") == 2 * layer.groups and "Concatenate" not in type_names(summed)
    for graph in (split, summed):
        names = type_names(rewrite_groups(graph).graph)
        assert names == ["InputLayer", "reskeras>GroupedConv2D", "Conv2D", "ReLU"]


@pytest.mark.parametrize("form", FORMS)
def test_resnext_forms_become_one(form):
    """Built in any of the three forms of the paper's Figure 3, the net ends with the same layers."""
    model = trained(tiny("resnext50_2x40d", form=form))
    ways = ("fold_bn", "fuse_activation", "rewrite_groups", "merge_branches", "rewrite_groups")
    fast, report = reskeras.optimize(model, passes=ways if form != "grouped" else ways[:2])
    kinds = [type(layer).__name__ for layer in fast.layers]
    assert report.check.passed and kinds.count("GroupedConv2D") == 5 and "Concatenate" not in kinds
    assert kinds.count("Conv2D") == 1 + 5 * 2 + 4
