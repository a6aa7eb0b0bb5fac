"""Normalizations by an image's own statistics stay in floating point in int8 files of every format."""
import importlib.util

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from reskeras.exporters.debug_quantization import measure_quantization
from reskeras.exporters.export import export
from reskeras.exporters.tflite import flatbuffer

IMAGES = np.random.default_rng(0).normal(size=(48, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def net():
    """Of two groups whose values differ in size by a factor of eight, so that four of 256 levels are left of
    the smaller variance.  With statistics of 8 bits the files differed from Keras by 0.09 to 0.11.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    conv = layers.Conv2D(8, 3, use_bias=False, name="conv")
    x = layers.GroupNormalization(2, name="groups")(conv(image))
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    conv.set_weights([conv.get_weights()[0] * np.repeat([1.0, 1 / 8], 4).astype("float32")])
    return keras.Model(image, x)


def write(net, path):
    report = export(net, path, quantize="int8", calibration_data=IMAGES[:40], validation_data=IMAGES[40:])
    return report.first_result.max_relative_difference


def list_operators(path):
    """The operators of a .tflite file, and those of them that give floats."""
    model = flatbuffer.unpack(path.read_bytes())
    graph, names = model.subgraphs[0], flatbuffer.list_operator_names(model)
    return names, [name for operator, name in zip(graph.operators, names)
                   if graph.tensors[operator.outputs[0]].type == 0]


def test_tflite(net, tmp_path):
    assert write(net, tmp_path / "net.tflite") < 0.03
    names, floats = list_operators(tmp_path / "net.tflite")
    assert floats.count("RSQRT") == names.count("RSQRT") == floats.count("DEQUANTIZE") == 1
    assert floats.count("MEAN") == names.count("MEAN") - 1      # the pool
    assert not {"CONV_2D", "FULLY_CONNECTED"} & set(floats)


def test_their_errors_are_not_listed(net):
    layers_of_file = {found.layer for found in measure_quantization(net, IMAGES[:40])}
    assert "groups" not in layers_of_file and "conv" in layers_of_file


@pytest.mark.parametrize("target", [None, "micro"])
def test_other_normalizations(target, tmp_path):
    image = keras.Input((16, 16, 3))
    x = layers.LayerNormalization()(layers.Conv2D(8, 3)(image))
    x = layers.UnitNormalization()(layers.GlobalAveragePooling2D()(x))
    export(keras.Model(image, x), tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES[:40],
           target=target, strict=False)
    names, floats = list_operators(tmp_path / "net.tflite")
    assert floats.count("RSQRT") == names.count("RSQRT") == 2
    assert floats.count("MEAN") == names.count("MEAN") - 1


def test_onnx(net, tmp_path):
    assert write(net, tmp_path / "net.onnx") < 0.03
    graph = onnx.load(str(tmp_path / "net.onnx")).graph
    rounded = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    means = [node for node in graph.node if "groups" in node.name and not rounded & set(node.input)]
    assert {"Mul", "Sqrt", "Reshape"} <= {node.op_type for node in means}
    assert all(rounded & set(node.input) for node in graph.node if node.op_type == "Conv")


@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed")
def test_openvino(net, tmp_path):
    """The input of a normalization is rounded, its statistics are not."""
    assert write(net, tmp_path / "net.xml") < 0.03
    import openvino
    nodes = openvino.Core().read_model(str(tmp_path / "net.xml")).get_ops()
    sources = {node.get_type_name(): [each.get_node().get_type_name() for each in node.input_values()]
               for node in nodes}
    assert "FakeQuantize" in sources["Subtract"] and "FakeQuantize" not in sources["Power"]
