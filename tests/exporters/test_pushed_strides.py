"""Strides that `optimize` has moved up the graph, and blur pools of one position, in .tflite files."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.exporters.formats import open_file

IMAGES = np.random.default_rng(0).standard_normal((32, 16, 16, 4)).astype("float32")


@pytest.fixture(scope="module")
def net():
    """A block whose stride comes after it, as in ResNet V2: the identity branch then gets a pool."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 4))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="above")(image)
    y = layers.Conv2D(8, 3, padding="same", name="branch")(x)
    x = layers.Add()([x, y])
    x = layers.Conv2D(8, 1, strides=2, activation="relu", name="strided")(x)
    return keras.Model(image, layers.Dense(3, name="scores")(layers.GlobalAveragePooling2D()(x)))


def test_the_stride_moves_and_leaves_a_pool(net):
    optimized, report = reskeras.optimize(net)
    pools = [layer for layer in optimized.layers if isinstance(layer, layers.MaxPooling2D)]
    assert report.check.passed and len(pools) == 1 and pools[0].pool_size == (1, 1)
    assert optimized.get_layer("strided").strides == (1, 1)


@pytest.mark.parametrize("name, options, operator", [
    ("n.tflite", {}, "DEPTHWISE_CONV_2D"), ("n.tflite", {"quantize": "float16"}, "DEPTHWISE_CONV_2D"),
    ("n.tflite", {"quantize": "dynamic"}, "MAX_POOL_2D"),
    ("n.tflite", {"quantize": "int8", "calibration_data": IMAGES}, "MAX_POOL_2D"),
    ("n.onnx", {}, ""), ("n.xml", {}, "")], ids=["float32", "float16", "dynamic", "int8", "ONNX", "OpenVINO"])
def test_files(net, tmp_path, name, options, operator):
    """The file subsamples once, by the operator of its precision, and answers as Keras does."""
    report = reskeras.export(net, tmp_path / name, **options, strict=False)
    if operator:
        both = {"DEPTHWISE_CONV_2D", "MAX_POOL_2D"}
        assert {key: report.operators[key] for key in both & set(report.operators)} == {operator: 1}
    if operator == "DEPTHWISE_CONV_2D":
        assert not report.left_to_cpu["XNNPACK"]
    run, x = open_file(tmp_path / name).run, IMAGES[:4]
    found = np.concatenate([np.asarray(run(image[None])) for image in x])
    expected = np.asarray(net(x))
    allowed = {None: 1e-4, "float16": 5e-3, "dynamic": 0.05, "int8": 0.1}[options.get("quantize")]
    assert np.abs(found - expected).max() <= allowed * np.abs(expected).max()


@pytest.mark.parametrize("options, optimize", [
    ({}, True), ({"quantize": "dynamic"}, True), pytest.param({}, False, marks=pytest.mark.slow),
    pytest.param({"quantize": "float16"}, True, marks=pytest.mark.slow)])
def test_a_blur_pool_at_8_pixels(tmp_path, options, optimize):
    """Its last maps are of one position, where there is nothing to reflect."""
    keras.utils.set_random_seed(0)
    small = reskeras.ResNetBlur18(input_shape=(8, 8, 3), weights=None, classes=5, width=0.25,
                                  depths=(1, 1, 1, 1), classifier_activation=None)
    report = reskeras.export(small, tmp_path / "b.tflite", optimize=optimize, **options, strict=False)
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype("float32")
    expected = np.asarray(small(x))
    allowed = {None: 1e-3, "float16": 1e-2, "dynamic": 0.1}[options.get("quantize")]
    found = np.asarray(open_file(tmp_path / "b.tflite").run(x))
    assert np.abs(found - expected).max() <= allowed * np.abs(expected).max(), report
