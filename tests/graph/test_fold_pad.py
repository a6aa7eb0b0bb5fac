import keras
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names

from reskeras.graph.passes.fold_pad import fold_pad
from reskeras.blocks.grouped_conv import GroupedConv2D

Pad, Conv, Pool = layers.ZeroPadding2D, layers.Conv2D, layers.MaxPooling2D


def read_by_two():
    image = keras.Input((8, 8, 4))
    x = Pad(1)(image)
    return randomized(keras.Model(image, layers.Add()([Conv(4, 3)(x), layers.Cropping2D(1)(x)])))


def shared():
    image, pad = keras.Input((8, 8, 4)), Pad(1)
    return randomized(keras.Model(image, layers.Add()([Conv(4, 3)(pad(image)), Conv(4, 3)(pad(image))])))


def output():
    image = keras.Input((8, 8, 4))
    x = Pad(1)(image)
    return randomized(keras.Model(image, [x, Conv(4, 3)(x)]))


@pytest.mark.parametrize("make, reason", [
    (read_by_two, "not a convolution or max pool"), (shared, "it is shared"), (output, "it is an output"),
    (lambda: chain(Pad(3), Conv(4, 7, strides=2)), "would pad (2, 3) itself, not (3, 3)"),
    (lambda: chain(Pad(1), Conv(4, 3, strides=2)), "would pad (0, 1) itself, not (1, 1)"),
    (lambda: chain(Pad(((0, 1), (0, 1))), Conv(4, 3, strides=2), shape=(9, 9, 4)),
     "would pad (1, 1) itself, not (0, 1)"),
    (lambda: chain(Pad(((1, 1), (0, 1))), Conv(4, 3, strides=2), shape=(9, 9, 4)),
     "would pad (1, 1) itself, not (0, 1)"),
    (lambda: chain(Pad(1), Conv(4, 3, strides=2), shape=(None, None, 4)), "strides over a size that is open"),
    (lambda: chain(Pad(1), Conv(4, 3, dilation_rate=2)), "would pad (2, 2) itself, not (1, 1)"),
    (lambda: chain(Pad(2), Conv(4, 3)), "would pad (1, 1) itself, not (2, 2)"),
    (lambda: chain(Pad(1), Conv(4, 3, padding="same")), "pads already"),
    (lambda: chain(Pad(1), Pool(3, 1)), "minus infinity"),
    (lambda: chain(layers.ReLU(negative_slope=0.1), Pad(1), Pool(3, 1)), "minus infinity"),
    (lambda: chain(layers.ReLU(), Pad(1), layers.AveragePooling2D(3, 1)), "not a convolution or max pool"),
    (lambda: chain(layers.ReLU(), Pad(1), Pool(3, 2)), "would pad (0, 1) itself, not (1, 1)")])
def test_leaves_alone(make, reason):
    unchanged(fold_pad, make(), reason)


@pytest.mark.parametrize("parts, shape", [
    ([Pad(1), Conv(4, 3)], (None, None, 4)), ([Pad(((1, 2), (1, 2))), Conv(4, 4)], (8, 8, 4)),
    ([Pad(2), GroupedConv2D(4, 3, groups=2, dilation_rate=2)], (8, 9, 4)),
    ([Pad(1), layers.DepthwiseConv2D(3)], (8, 8, 4)),
    ([Pad(1), layers.SeparableConv2D(4, 3)], (8, 8, 4)),
    ([Pad(3), Conv(4, 7, strides=2)], (9, 9, 4)), ([Pad(((0, 1), (0, 1))), Conv(4, 3, strides=2)], (8, 8, 4)),
    ([Pad(((0, 1), (1, 1))), Conv(4, 3, strides=2)], (8, 9, 4)),
    ([Pad(((0, 0), (0, 0))), Conv(4, 1, strides=2)], (8, 8, 4)),
    ([layers.ReLU(), Pad(1), Pool(3, 2)], (9, 9, 4)),
    ([Conv(4, 1, activation="relu"), Pad(1), Pool(3, 1)], (8, 8, 4)),
    ([layers.ReLU(), layers.AveragePooling2D(2), Pad(1), Pool(3, 1)], (8, 8, 4))])
def test_folds(parts, shape):
    copies = (type(part).from_config(part.get_config()) for part in parts)
    graph = rewritten(fold_pad, chain(*copies, shape=shape))
    assert "ZeroPadding2D" not in type_names(graph)


def test_folds_into_several_readers():
    image = keras.Input((8, 8, 4))
    x = Pad(1)(image)
    model = randomized(keras.Model(image, layers.Add()([Conv(4, 3)(x), Conv(4, 3)(x)])))
    assert "ZeroPadding2D" not in type_names(rewritten(fold_pad, model))
