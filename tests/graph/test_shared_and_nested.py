"""Layers that are called several times, and nets inside other models."""
import keras
import numpy as np
import pytest
from keras import layers
from small import randomized, rewritten, type_names, unchanged

import reskeras
from reskeras.graph.equivalence import remove_final_activation
from reskeras.graph.graph import Graph
from reskeras.graph.passes.fold_bn import fold_bn
from reskeras.graph.passes.inline import inline_nested_models


def siamese(conv=None, output=False, other_reader=False, training=None):
    """One convolution and one normalization for two images."""
    images = [keras.Input((8, 8, 4)) for _ in range(2)]
    conv, norm = conv or layers.Conv2D(6, 3), layers.BatchNormalization()
    convolved = [conv(image) for image in images]
    x = [norm(each, training=training) for each in convolved]
    y = layers.Subtract()([layers.ReLU()(each) for each in x])
    others = [x[0]] if output else [layers.ReLU()(convolved[1])] if other_reader else []
    return randomized(keras.Model(images, [y, *others]))


@pytest.mark.parametrize("conv", [lambda: layers.Conv2D(6, 3), lambda: layers.Conv2D(6, 1, use_bias=False),
                                  lambda: layers.DepthwiseConv2D(3)])
def test_shared_convolution_and_normalization(conv):
    graph = rewritten(fold_bn, siamese(conv()))
    assert "BatchNormalization" not in type_names(graph)


def test_a_stack_of_shared_layers():
    """The same block for four crops of an image, as a model of several views has it."""
    image = keras.Input((8, 8, 4))
    parts = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(),
             layers.Conv2D(4, 1), layers.BatchNormalization(), layers.ReLU()]
    views = []
    for i in range(4):
        x = layers.Cropping2D(((i, 4 - i), (0, 4)))(image)
        for part in parts:
            x = part(x)
        views.append(x)
    model = randomized(keras.Model(image, layers.Average()(views)))
    assert "BatchNormalization" not in type_names(rewritten(fold_bn, model))
    optimized, report = reskeras.optimize(model)
    assert report.check.passed and not any("normalization" in layer.name for layer in optimized.layers)


@pytest.mark.parametrize("options, reason", [
    ({"output": True}, "is an output of the model"), ({"other_reader": True}, "has several readers"),
    ({"training": True}, "as in training"), ({"conv": layers.ReLU()}, "is not linear")])
def test_shared_and_left_alone(options, reason):
    unchanged(fold_bn, siamese(**options), reason)


def nested(activation="softmax"):
    image = keras.Input((8, 8, 4))
    inner = keras.Model(image, layers.Dense(3, activation=activation, name="scores")(layers.Flatten()(image)))
    return randomized(keras.Sequential([keras.Input((8, 8, 4)), layers.Rescaling(0.5), inner]))


def test_the_softmax_of_a_nested_model_is_taken_off():
    model = nested()
    logits = remove_final_activation(Graph.of(model)).build()
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(keras.ops.softmax(logits(x)), model(x), rtol=1e-5, atol=1e-6)
    assert np.asarray(logits(x)).min() < 0


def test_inline_of_an_output():
    model = nested()
    flat = inline_nested_models(model)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    np.testing.assert_array_equal(flat(x), model(x))
    assert [layer.name for layer in flat.layers][-1] == "scores" and inline_nested_models(flat) is flat
