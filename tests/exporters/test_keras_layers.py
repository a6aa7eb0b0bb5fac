"""Keras' own grouped convolution and group normalization are exported as the package's."""
import keras
import pytest
from keras import layers

import reskeras


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 8))
    x = layers.Conv2D(8, 3, groups=4, padding="same", activation="relu")(image)
    x = layers.GroupNormalization(4)(x)
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("name", ["n.tflite", "n.onnx", "n.xml", "folder"])
def test_export(net, tmp_path, name, optimize):
    assert reskeras.export(net, tmp_path / name, optimize=optimize).passed
    assert type(net.layers[1]) is layers.Conv2D         # the caller's model stays as it is
