"""Keras' grouped convolution, group normalization and upsampling in every format, channels last and first."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.exporters.formats import open_file
from reskeras.graph.graph import Graph
from reskeras.graph.passes.use_own_layers import use_own_layers

PIXELS = np.random.default_rng(0).standard_normal((32, 16, 16, 8)).astype("float32")
INT8 = {"quantize": "int8", "calibration_data": PIXELS}
FILES = [("n.tflite", {}), ("n.tflite", {"quantize": "float16"}), ("n.tflite", {"quantize": "dynamic"}),
         ("n.tflite", INT8), ("n.onnx", {}), ("n.xml", {}), ("folder", {})]
NAMES = ["float32", "float16", "dynamic", "int8", "ONNX", "OpenVINO", "SavedModel"]


def make_net(data_format):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 8))
    is_first = data_format == "channels_first"
    x = layers.Permute((3, 1, 2))(image) if is_first else image
    x = layers.Conv2D(8, 3, groups=4, padding="same", activation="relu", data_format=data_format,
                      name="conv")(x)
    x = layers.GroupNormalization(4, axis=1 if is_first else -1, name="norm")(x)
    x = layers.UpSampling2D(2, data_format=data_format, name="up")(x)
    x = layers.GlobalAveragePooling2D(data_format=data_format)(x)
    model = keras.Model(image, layers.Dense(3, name="scores")(x))
    norm = model.get_layer("norm")      # an average of what has mean 0 would be 0
    norm.gamma.assign(np.linspace(0.5, 2, 8))
    norm.beta.assign(np.linspace(-1, 1, 8))
    return model


@pytest.fixture(scope="module", params=["channels_last", "channels_first"])
def net(request):
    return make_net(request.param)


@pytest.mark.parametrize("name, options", [
    pytest.param(*file, id=name, marks=[pytest.mark.slow] if name in ("float16", "OpenVINO") else [])
    for file, name in zip(FILES, NAMES)])
def test_every_format(net, tmp_path, name, options):
    report = reskeras.export(net, tmp_path / name, **options, strict=False)
    assert (tmp_path / name).exists() and type(net.get_layer("conv")) is layers.Conv2D
    run = open_file(tmp_path / name, trust=True).run
    x = PIXELS[:4]
    found = np.concatenate([np.asarray(run(image[None])) for image in x])
    expected = np.asarray(net(x))
    allowed = {None: 1e-4, "float16": 5e-3, "dynamic": 0.1, "int8": 0.2}[options.get("quantize")]
    assert np.abs(found - expected).max() <= allowed * np.abs(expected).max(), report


def test_the_pass_is_exact(net):
    result = use_own_layers(Graph.of(net))
    x = PIXELS[:2]
    np.testing.assert_allclose(result.graph.build()(x), net(x), rtol=1e-5, atol=1e-6)
    assert set(result.rewritten) == {"conv", "norm", "up"} and not result.declined
    assert not use_own_layers(result.graph).rewritten
    assert np.asarray(result.graph.build()(x)).shape == (2, 3)


def test_a_shared_layer_with_channels_first_is_left_alone():
    image = keras.Input((8, 16, 16))
    conv = layers.Conv2D(8, 3, groups=4, padding="same", data_format="channels_first", name="conv")
    result = use_own_layers(Graph.of(keras.Model(image, conv(conv(image)))))
    assert result.declined == {"conv": "its channels are first, and it is shared"} and not result.rewritten
