"""Keras' nearest upsampling is exported as a resize of four axes."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.exporters.tflite.runtime import load


@pytest.fixture(scope="module")
def net():
    """A shared layer, called on maps of two sizes, and even and odd factors."""
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 8))
    small = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv")(image)
    up = layers.UpSampling2D((2, 3), name="up")
    x = layers.Concatenate()([up(up(small)), layers.UpSampling2D((4, 9))(small)])
    x = layers.MaxPooling2D(2)(layers.UpSampling2D(3)(x))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


INT8 = {"quantize": "int8",
        "calibration_data": np.random.default_rng(0).standard_normal((32, 12, 12, 8), "float32")}


@pytest.mark.parametrize("options", [
    {}, {"strict": False}, {"optimize": False}, {"quantize": "float16"}, {"quantize": "dynamic"}, INT8],
    ids=["float32", "not strict", "not optimized", "float16", "dynamic", "int8"])
def test_tflite(net, tmp_path, options):
    report = reskeras.export(net, tmp_path / "n.tflite", **options)
    assert report.passed and report.operators["RESIZE_NEAREST_NEIGHBOR"] == 4
    assert type(net.get_layer("up")) is layers.UpSampling2D      # the caller's model stays as it is


@pytest.mark.parametrize("size", [2, 3, (2, 3), (7, 5)])
def test_tflite_is_equal_to_the_bit(tmp_path, size):
    image = keras.Input((5, 7, 3))
    model = keras.Model(image, layers.Flatten()(layers.UpSampling2D(size)(image)))
    reskeras.export(model, tmp_path / "u.tflite")
    x = np.random.default_rng(0).standard_normal((1, 5, 7, 3), "float32")
    np.testing.assert_array_equal(load(tmp_path / "u.tflite")[0](x), model(x))


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("name", ["n.onnx", "n.xml", "folder"])
def test_other_formats(net, tmp_path, name, optimize):
    assert reskeras.export(net, tmp_path / name, optimize=optimize).passed
