import keras
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names

from reskeras.graph.passes.fuse_activation import fuse_activation

Conv = layers.Conv2D


def two_readers():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 1)(image)
    return randomized(keras.Model(image, layers.Add()([x, layers.ReLU()(x)])))


def shared():
    image, relu = keras.Input((8, 8, 4)), layers.ReLU()
    return randomized(keras.Model(image, layers.Add()([relu(Conv(4, 1)(image)), relu(Conv(4, 1)(image))])))


@pytest.mark.parametrize("make, reason", [
    (two_readers, "several readers"), (shared, "it is shared"),
    (lambda: chain(Conv(4, 1), layers.ReLU()), "output of the model"),
    (lambda: chain(Conv(4, 1, activation="tanh"), layers.ReLU(), layers.Flatten()), "has an activation"),
    (lambda: chain(layers.MaxPooling2D(), layers.ReLU(), layers.Flatten()),
     "MaxPooling2D, which is not linear"),
    (lambda: chain(Conv(4, 1), layers.LeakyReLU(0.3), layers.Flatten()), "has no name"),
    (lambda: chain(Conv(4, 1), layers.ReLU(max_value=4), layers.Flatten()), "has no name"),
    (lambda: chain(Conv(4, 1), layers.ReLU(negative_slope=0.1), layers.Flatten()), "has no name"),
    (lambda: chain(Conv(4, 1, dtype="mixed_float16"), layers.Activation("softmax", dtype="float32"),
                   layers.Flatten()),
     "a different dtype policy")])
def test_leaves_alone(make, reason):
    unchanged(fuse_activation, make(), reason)


@pytest.mark.parametrize("activation", [
    layers.Activation("silu"), layers.Activation("relu6"), layers.ReLU(), layers.ReLU(max_value=6),
    layers.ELU(), layers.Softmax()], ids=lambda layer: layer.name)
@pytest.mark.parametrize("layer", [Conv(4, 3), layers.Dense(4), layers.DepthwiseConv2D(3),
                                   layers.SeparableConv2D(4, 3)],
                         ids=lambda layer: layer.name)
def test_fuses(layer, activation):
    again = [type(part).from_config(part.get_config()) for part in (layer, activation)]
    graph = rewritten(fuse_activation, chain(*again, layers.Flatten()))
    assert type_names(graph) == ["InputLayer", type(layer).__name__, "Flatten"]
