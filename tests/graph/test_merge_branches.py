import keras
import pytest
from keras import layers
from small import randomized, rewritten, unchanged, type_names

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.passes.merge_branches import merge_branches
from reskeras.graph.equivalence import check_equivalence
from reskeras.blocks.grouped_conv import GroupedConv2D

Conv = layers.Conv2D


def siblings(*convs, shape=(8, 8, 4)):
    image = keras.Input(shape)
    return randomized(keras.Model(image, [conv(image) for conv in convs]))


def shared():
    image, conv = keras.Input((8, 8, 4)), Conv(4, 1)
    x = layers.Add()([conv(image), conv(layers.ReLU()(image)), Conv(4, 1)(image)])
    return randomized(keras.Model(image, x))


@pytest.mark.parametrize("make, reason", [
    (lambda: siblings(Conv(3, 1), Conv(3, 3)), "no other convolution"),
    (lambda: siblings(Conv(3, 1), Conv(3, 1, strides=2)), "no other convolution"),
    (lambda: siblings(Conv(3, 3), Conv(3, 3, padding="same")), "no other convolution"),
    (lambda: siblings(Conv(3, 3), Conv(3, 3, dilation_rate=2)), "no other convolution"),
    (lambda: siblings(Conv(3, 1), Conv(3, 1, activation="relu")), "no other convolution"),
    (lambda: siblings(Conv(3, 1, activation="softmax"), Conv(3, 1, activation="softmax")),
     "sees all channels"),
    (lambda: siblings(Conv(4, 1, groups=2), Conv(4, 1, groups=2)), "it is grouped"),
    (lambda: siblings(GroupedConv2D(4, 1, groups=2), Conv(4, 1)), "no other convolution"),
    (shared, "it is shared")])
def test_leaves_alone(make, reason):
    unchanged(merge_branches, make(), reason)


def test_merges():
    """Also with and without bias; the names of the outputs stay."""
    model = siblings(Conv(3, 3, name="a", strides=2), Conv(5, 3, name="b", strides=2, use_bias=False),
                     Conv(2, 1, name="c"))
    graph = rewritten(merge_branches, model)
    assert type_names(graph).count("Conv2D") == 2 and type_names(graph).count("reskeras>ChannelSlice") == 2
    assert graph.build().output_names == model.output_names


def test_inception():
    model = reskeras.InceptionV4(weights=None, width=0.25, depths=(1, 1, 1), input_shape=(75, 75, 3),
                                 classes=5)
    passes = ("fold_bn", "fuse_activation", "merge_branches")
    fast, report = reskeras.optimize(randomized(model), passes=passes)
    assert len(report.passes[2].rewritten) >= 9 and report.check.passed


def test_without_bias():
    before = Graph.of(siblings(Conv(3, 1, use_bias=False), Conv(3, 1, use_bias=False)))
    graph = merge_branches(before).graph
    assert not graph.nodes[1].config["use_bias"] and check_equivalence(before, graph).passed
