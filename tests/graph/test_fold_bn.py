import keras
import numpy as np
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names

from reskeras.graph.graph import Graph
from reskeras.graph.passes.fold_bn import fold_bn
from reskeras.blocks.grouped_conv import GroupedConv2D
from reskeras.blocks.layers import StandardizedConv2D

BN, Conv = layers.BatchNormalization, layers.Conv2D


def two_readers():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 1)(image)
    return randomized(keras.Model(image, layers.Add()([x, BN()(x)])))


def shared_conv():
    image, conv = keras.Input((8, 8, 4)), Conv(4, 1)
    return randomized(keras.Model(image, layers.Add()([layers.ReLU()(BN()(conv(image))), conv(image)])))


def shared_norm():
    image, norm = keras.Input((8, 8, 4)), BN()
    x = layers.Add()([norm(Conv(4, 1)(image)), norm(Conv(4, 1)(image))])
    return randomized(keras.Model(image, layers.ReLU()(x)))


def two_outputs():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 1)(image)
    return randomized(keras.Model(image, [x, layers.ReLU()(BN()(x))]))


def in_training():
    image = keras.Input((8, 8, 4))
    return randomized(keras.Model(image, layers.ReLU()(BN()(Conv(4, 1)(image), training=True))))


def read_by_conv_and_pool():
    image = keras.Input((8, 8, 4))
    x = BN()(layers.ReLU()(image))
    return randomized(keras.Model(image, layers.Add()([Conv(4, 1)(x), layers.MaxPooling2D(1)(x)])))


def adapted():
    model = chain(layers.Dense(4, name="dense"), BN(), layers.ReLU(), shape=(4,))
    model.get_layer("dense").enable_lora(2)
    return model


@pytest.mark.parametrize("make, reason", [
    (adapted, "more than a kernel and a bias"), (two_readers, "several readers"),
    (shared_conv, "is shared"), (shared_norm, "it is shared"), (two_outputs, "is an output"),
    (in_training, "training=True"), (read_by_conv_and_pool, "MaxPooling2D is not linear"),
    (lambda: chain(Conv(4, 1), BN()), "it is an output"),
    (lambda: chain(Conv(4, 1, dtype="mixed_float16"), BN(dtype="float32"), layers.ReLU()),
     "another dtype policy"),
    (lambda: chain(Conv(4, 1, activation="relu"), BN(), layers.ReLU()), "has an activation"),
    (lambda: chain(layers.ReLU(), BN(), layers.ReLU()), "ReLU is not linear"),
    (lambda: chain(Conv(4, 1), BN(axis=1), layers.ReLU()), "its axis is not the channels'"),
    (lambda: chain(BN(), Conv(4, 3, padding="same")), "pads with zeros"),
    (lambda: chain(BN(), layers.DepthwiseConv2D(3, padding="same")), "pads with zeros"),
    (lambda: chain(BN(), layers.ZeroPadding2D(1), Conv(4, 3)), "ZeroPadding2D is not linear"),
    (lambda: chain(BN(), layers.Conv2DTranspose(4, 3)), "no normalization can be folded"),
    (lambda: chain(StandardizedConv2D(4, 3), BN(), layers.ReLU()), "standardizes its kernel"),
])
def test_leaves_alone(make, reason):
    unchanged(fold_bn, make(), reason)


LINEAR = {
    "1x1 without bias": lambda: Conv(6, 1, use_bias=False), "3x3": lambda: Conv(6, 3),
    "same": lambda: Conv(6, 3, padding="same"),
    "strided": lambda: Conv(6, 3, strides=2, padding="same"), "dilated": lambda: Conv(6, 3, dilation_rate=2),
    "grouped": lambda: GroupedConv2D(6, 3, groups=2, padding="same"),
    "keras grouped": lambda: Conv(6, 3, groups=2),
    "dense": lambda: layers.Dense(5), "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "depthwise without bias": lambda: layers.DepthwiseConv2D(3, strides=2, use_bias=False),
    "separable": lambda: layers.SeparableConv2D(6, 3, depth_multiplier=2),
    "transposed": lambda: layers.Conv2DTranspose(6, 3, strides=2)}
OPTIONS = [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "epsilon": 0.1}]


@pytest.mark.parametrize("layer", LINEAR)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(8, 8, 4), (9, 7, 4)], ids=str)
def test_behind(layer, options, shape):
    graph = rewritten(fold_bn, chain(LINEAR[layer](), BN(**options), layers.ReLU(), shape=shape))
    assert "BatchNormalization" not in type_names(graph) and graph.nodes[1].config["use_bias"]


BEFORE = {name: LINEAR[name] for name in ("1x1 without bias", "3x3", "dilated", "keras grouped", "dense",
                                          "depthwise", "depthwise without bias")} | {
    "grouped": lambda: GroupedConv2D(6, 3, groups=2), "padded 1x1": lambda: Conv(6, 1, padding="same"),
    "with activation": lambda: Conv(6, 3, activation="relu")}


@pytest.mark.parametrize("layer", BEFORE)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_before(layer, options):
    model = chain(layers.ReLU(), BN(**options), BEFORE[layer]())
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, model))


def test_before_padding_where_nothing_is_shifted():
    model = chain(layers.ReLU(), BN(center=False, name="bn"), Conv(4, 3, padding="same"))
    model.get_layer("bn").moving_mean.assign(np.zeros(4))
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, model))


def test_before_several_convolutions():
    image = keras.Input((8, 8, 4))
    x = BN()(layers.ReLU()(image))
    model = randomized(keras.Model(image, layers.Add()([Conv(4, 1)(x), Conv(4, 1, use_bias=False)(x)])))
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, model))


def test_1d_and_3d():
    model = chain(layers.Conv1D(6, 3), BN(), layers.DepthwiseConv1D(3), BN(axis=2),
                  layers.SeparableConv1D(5, 3), BN(), layers.ReLU(), shape=(16, 4))
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, model))
    solid = chain(layers.Conv3D(3, 2), BN(), layers.ReLU(), shape=(5, 5, 5, 2))
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, solid))


def test_two_in_a_row():
    """The second waits for the first, and both sides of a convolution go into it."""
    model = chain(BN(), Conv(4, 3), BN(), BN(), layers.ReLU())
    assert type_names(rewritten(fold_bn, model)) == ["InputLayer", "Conv2D", "ReLU"]


def test_flags_and_policies_survive():
    model = chain(Conv(4, 1, dtype="mixed_float16", name="conv"), BN(dtype="mixed_float16"), layers.ReLU())
    model.get_layer("conv").trainable = False
    conv = fold_bn(Graph.of(model)).graph.build().get_layer("conv")
    assert not conv.trainable and conv.dtype_policy.name == "mixed_float16"
