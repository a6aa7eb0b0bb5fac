"""Maps of one position: exported files answer on them as Keras does."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.blocks.layers import BlurPool2D
from reskeras.exporters.formats import open_file

SMALL = {"weights": None, "classes": 5, "width": 0.25, "depths": (1, 1, 1, 1), "classifier_activation": None}


@pytest.fixture(scope="module")
def net():
    """At 8 pixels its last maps are of one position, at 8 x 40 of 1 x 2."""
    keras.utils.set_random_seed(0)
    return reskeras.ResNetBlur18(input_shape=(None, None, 3), **SMALL)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ""])
def test_open_sizes(net, tmp_path, suffix):
    assert reskeras.export(net, tmp_path / f"net{suffix}").passed
    assert reskeras.export(net, tmp_path / f"tiny{suffix}", size=(8, 8)).passed
    run = open_file(tmp_path / f"net{suffix}", trust=True)
    for size in ((8, 8), (8, 40), (64, 64)):
        images = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
        np.testing.assert_allclose(run(images), net(images), rtol=1e-3, atol=1e-4)


def test_an_open_size_answers_as_a_fixed_one(net):
    for size in ((8, 8), (8, 40), (40, 8)):
        fixed = reskeras.ResNetBlur18(input_shape=(*size, 3), **SMALL)
        fixed.set_weights(net.get_weights())
        images = np.random.default_rng(0).standard_normal((1, *size, 3)).astype("float32")
        np.testing.assert_allclose(net.predict(images, verbose=0), fixed(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_blur_of_one_position_changes_nothing(stride):
    """Along the other axis the border is reflected, as on larger maps."""
    x = np.random.default_rng(0).standard_normal((1, 1, 6, 3)).astype("float32")
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)], mode="reflect")
    expected = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:])[:, :, ::stride] / 4
    np.testing.assert_allclose(BlurPool2D(stride)(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(BlurPool2D(stride)(x[:, :, :1]), x[:, :, :1])
    image = keras.Input((None, None, 3))
    model = keras.Sequential([image, layers.Activation("linear"), BlurPool2D(stride)])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
