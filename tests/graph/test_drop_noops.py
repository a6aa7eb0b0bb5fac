import keras
import pytest
from keras import layers
from small import chain, rewritten, unchanged, type_names

from reskeras.graph.graph import Graph
from reskeras.graph.passes.drop_noops import drop_noops
from reskeras.blocks.drop_layers import DropBlock2D, StochasticDepth


class Identity(layers.Identity):
    """Its author may have changed what it does."""


def monte_carlo():
    image = keras.Input((8, 8, 4))
    return keras.Model(image, layers.ReLU()(layers.Dropout(0.5)(image, training=True)))


def cast():
    """From half to single precision, for an operation that would be out of range without."""
    image = keras.Input((8, 8, 4))
    x = layers.Activation("linear", dtype="float32")(layers.ReLU(dtype="mixed_float16")(image))
    return keras.Model(image, 30000.0 * x)


@pytest.mark.parametrize("model, reason", [
    (cast(), "it casts to a different dtype"),
    (chain(layers.ReLU(), layers.Dropout(0.5)), "output of the model"), (monte_carlo(), "training=True")])
def test_leaves_alone(model, reason):
    unchanged(drop_noops, model, reason)


def test_leaves_other_layers_alone():
    model = chain(layers.Activation("relu"), Identity(), layers.ReLU())
    assert type_names(drop_noops(Graph.of(model)).graph) == ["InputLayer", "Activation", "", "ReLU"]


def test_drops():
    model = chain(layers.Dropout(0.5), layers.Activation("linear"), layers.SpatialDropout2D(0.1),
                  layers.GaussianNoise(1.0), StochasticDepth(0.5), DropBlock2D(0.1),
                  layers.Activation("relu"), layers.Identity(), layers.Dropout(0.1), layers.MaxPooling2D())
    assert type_names(rewritten(drop_noops, model)) == ["InputLayer", "Activation", "MaxPooling2D"]


def test_a_shared_one_goes_from_each_of_its_calls():
    image, drop = keras.Input((8, 8, 4)), layers.Dropout(0.5)
    model = keras.Model(image, layers.Add()([layers.ReLU()(drop(image)), drop(image)]))
    assert type_names(rewritten(drop_noops, model)) == ["InputLayer", "ReLU", "Add"]
