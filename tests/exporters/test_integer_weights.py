"""Files that compute in floats and keep their kernels in 8 bits, and the SavedModel that computes as int8."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import trained

import reskeras
from reskeras.errors import ArgumentError

IMAGES = np.random.default_rng(0).standard_normal((48, 12, 12, 3)).astype("float32")


@pytest.fixture(scope="module")
def net():
    layers = keras.layers
    net = keras.Sequential([
        keras.Input((12, 12, 3)), layers.Conv2D(32, 3, use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.DepthwiseConv2D(3), layers.Conv2D(128, 3, groups=2, activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(60, activation="softmax")])
    return trained(keras.Model(net.inputs[0], net.outputs[0]))


@pytest.mark.parametrize("path, package", [("net", "tensorflow"), ("net.onnx", "tf2onnx"),
                                           ("net.xml", "openvino")])
def test_dynamic(net, path, package, tmp_path):
    pytest.importorskip(package)
    report = reskeras.export(net, tmp_path / path, quantize="dynamic", validation_data=IMAGES)
    assert report.passed and {result.precision for result in report.runtimes.values()} == {"dynamic"}
    plain = reskeras.export(net, tmp_path / f"plain{(tmp_path / path).suffix}", validation_data=IMAGES)
    weights = sum(4 * np.prod(v.shape) for v in net.variables if v.name == "kernel")
    assert plain.bytes - report.bytes > 0.6 * weights
    difference = report.max_relative_difference
    assert 10 * plain.max_relative_difference < difference < 0.05
    assert reskeras.verify(tmp_path / path, trust=True).passed


def test_a_saved_model_of_int8_answers_as_integers_would(net, tmp_path):
    report = reskeras.export(net, tmp_path / "net", quantize="int8", calibration_data=IMAGES,
                             calibration_method="mse", thresholds={"difference": 0.2})
    assert report.passed and report.first_result.precision == "int8" and report.calibration_method == "mse"
    assert {"FakeQuantWithMinMaxVars"} <= set(report.operators)
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    kernels = [variable for variable in loaded.variables_ if len(variable.shape) > 1]
    assert {kernel.dtype for kernel in kernels} == {tf.int8} and len(kernels) == 4
    aware = reskeras.quantization_aware(net, IMAGES, calibration_method="mse")
    scores = loaded.signatures["serving_default"](images=tf.constant(IMAGES))["scores"].numpy()
    np.testing.assert_allclose(scores, aware.predict(IMAGES, verbose=0), atol=2e-3)
    assert reskeras.verify(tmp_path / "net", trust=True).passed


def test_a_trained_one_is_the_same(net, tmp_path):
    """Its kernels stay floats: a last bit of them can move a value to the next level."""
    aware = reskeras.quantization_aware(net, IMAGES, weight_bits=4)
    report = reskeras.export(aware, tmp_path / "aware", validation_data=IMAGES)
    assert report.passed and report.max_relative_difference < 1e-4


@pytest.mark.parametrize("path, options, words", [
    ("net", {"quantize": "int16x8", "calibration_data": IMAGES}, "'dynamic' or 'int8'"),
    ("net", {"quantize": "dynamic", "target": "gpu"}, "no kernels of integers for GPUs"),
    ("net", {"quantize": "dynamic", "dtype": "float16"}, "the file is quantized"),
    ("net.tflite", {"quantize": "dynamic", "target": "micro"}, "does not convert weights"),
    ("net.tflite", {"quantize": "float16", "target": "micro"}, "does not convert weights"),
])
def test_refusals(net, path, options, words, tmp_path):
    with pytest.raises(ArgumentError, match=words):
        reskeras.export(net, tmp_path / path, **options)


def test_several_outputs_are_refused(tmp_path):
    image = keras.Input((12, 12, 3))
    maps = keras.layers.Conv2D(4, 3)(image)
    two = keras.Model(image, [maps, keras.layers.GlobalAveragePooling2D()(maps)])
    with pytest.raises(ArgumentError, match="not of one image and one output"):
        reskeras.export(two, tmp_path / "net", quantize="dynamic")
