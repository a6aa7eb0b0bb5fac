"""int8 and float16 files for ONNX Runtime, TensorRT, microcontrollers; files of 16-bit activations."""
import keras
import numpy as np
import onnx
import pytest

import reskeras
from reskeras.errors import ArgumentError
from reskeras.exporters.export import export
from reskeras.exporters.tensorrt_rules import find_tensorrt_faults
from reskeras.exporters.tflite import flatbuffer
from reskeras.quantization.half_precision import find_beyond_half


@pytest.fixture(scope="module")
def digits():
    """A trained net, images to calibrate on, and others with their classes."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = (np.kron(data.images, np.ones((2, 2)))[..., None] * 255 / 16).astype("uint8")
    return reskeras.create("cifar_resnet20.digits"), pixels[:64], (pixels[-200:], data.target[-200:])


def write(digits, path, **arguments):
    net, calibration, validation = digits
    if arguments.get("quantize") in ("int8", "int16x8"):
        arguments["calibration_data"] = calibration
    return export(net, path, validation_data=validation, **arguments)


def nodes_of(path):
    graph = onnx.load(str(path)).graph
    return graph, {name: node for node in graph.node for name in node.output}


def zero_points(graph):
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {int(np.unique(constants[node.input[2]])[0]) for node in graph.node
            if node.op_type == "QuantizeLinear" and len(node.input) == 3}


def test_onnx_runtime(digits, tmp_path):
    report = write(digits, tmp_path / "net.onnx", quantize="int8")
    assert report.passed and report.max_relative_difference < 0.06 and report.target == "onnxruntime"
    assert report.first_result.accuracy >= report.keras["accuracy"] - 0.01
    assert report.bytes < 400_000 and report.calibration_method == "minmax"
    assert report.outside_ranges < 0.001 and report.beyond_half == ()
    graph, makers = nodes_of(tmp_path / "net.onnx")
    sums = [node for node in graph.node if node.op_type == "Add" and all(
        name in makers for name in node.input) and "block" in node.name]
    assert len(sums) == 9
    for node in sums:
        assert {makers[name].op_type for name in node.input} == {"DequantizeLinear"}
        readers = [reader for reader in graph.node if node.output[0] in reader.input]
        assert {reader.op_type for reader in readers} == {"QuantizeLinear"}
    assert zero_points(graph) == {0, -128}      # -128 where a ReLU leaves nothing below zero
    assert "Relu" not in report.operators
    assert reskeras.verify(tmp_path / "net.onnx").passed


def test_methods_and_float_layers(digits, tmp_path):
    """Ranges and layers in floating point are chosen as for TFLite."""
    report = write(digits, tmp_path / "net.onnx", quantize="int8", calibration_method="mse",
                   float_layers=["conv3_block1_1_conv"])
    assert report.passed and report.calibration_method == "mse" and report.outside_ranges > 0
    graph, makers = nodes_of(tmp_path / "net.onnx")
    floats = [node for node in graph.node if node.op_type == "Conv" and node.input[1] not in makers]
    assert ["conv3_block1_1_conv" in node.input[1] for node in floats] == [True]
    with pytest.raises(ArgumentError, match="float_layers.*conv2_block1_1_bn"):
        write(digits, tmp_path / "net.onnx", quantize="int8", float_layers=["conv2_block1_1_bn"])


def test_tensorrt(digits, tmp_path):
    report = write(digits, tmp_path / "net.onnx", quantize="int8", target="tensorrt")
    assert report.passed and report.max_relative_difference < 0.06 and report.target == "tensorrt"
    proto = onnx.load(str(tmp_path / "net.onnx"))
    graph, makers = nodes_of(tmp_path / "net.onnx")
    assert find_tensorrt_faults(proto) == [] and zero_points(graph) == {0}
    for node in graph.node:
        if node.op_type == "Add" and "_add" in node.name:
            assert sorted(makers[name].op_type for name in node.input) == ["Conv", "DequantizeLinear"]

    # Each rule is named if it is broken.
    def find_faults(change):
        changed = onnx.ModelProto()
        changed.CopyFrom(proto)
        change(changed.graph)
        return " ".join(find_tensorrt_faults(changed))

    def shift(graph):
        node = next(node for node in graph.node if node.op_type == "QuantizeLinear")
        tensor = next(tensor for tensor in graph.initializer if tensor.name == node.input[2])
        tensor.CopyFrom(onnx.numpy_helper.from_array(
            np.full(tuple(tensor.dims), -128, "int8"), tensor.name))

    def use(graph, operator, index, name):
        node = next(node for node in graph.node if node.op_type == operator and "block" in node.name)
        node.input[index] = name(node)

    quantized = next(node.output[0] for node in graph.node if node.op_type == "DequantizeLinear")
    undo = {name: node.input[0] for name, node in makers.items() if node.op_type == "DequantizeLinear"}
    assert "'zero points are 0'" in find_faults(shift)
    assert "'biases have no Q/DQ'" in find_faults(lambda g: use(g, "Conv", 2, lambda node: quantized))
    assert "'a convolution has Q/DQ on its input and on its weights'" in find_faults(
        lambda g: use(g, "Conv", 0, lambda node: makers[undo[node.input[0]]].input[0]))
    shortcut = next(i for node in graph.node if node.op_type == "Add" and "_add" in node.name
                    for i, name in enumerate(node.input) if name in undo)
    assert "'of a residual sum the shortcut alone has Q/DQ'" in find_faults(
        lambda g: use(g, "Add", shortcut, lambda node: makers[undo[node.input[shortcut]]].input[0]))
    write(digits, tmp_path / "plain.onnx", quantize="int8")
    faults = find_tensorrt_faults(onnx.load(str(tmp_path / "plain.onnx")))
    assert len(faults) >= 4 and all(fault.startswith("TensorRT's rule '") for fault in faults)


def test_onnx_float16(digits, tmp_path):
    report = write(digits, tmp_path / "net.onnx", quantize="float16")
    assert report.passed and 1e-5 < report.max_relative_difference < 5e-3
    graph = onnx.load(str(tmp_path / "net.onnx")).graph
    types = {tensor.data_type for tensor in graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types and onnx.TensorProto.FLOAT not in types
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_openvino_float16(digits, tmp_path):
    report = write(digits, tmp_path / "net.xml", quantize="float16")
    assert report.passed and report.max_relative_difference < 5e-3
    assert report.first_result.precision == "float16" and report.bytes < 700_000


@pytest.mark.parametrize("target", ["micro", "nnapi"])
def test_one_scale_for_the_classifier(digits, tmp_path, target):
    report = write(digits, tmp_path / "net.tflite", quantize="int8", target=target)
    assert report.passed and report.target == target
    assert flatbuffer.find_dense_scales(tmp_path / "net.tflite", target) == []
    if target == "micro":       # elsewhere each class has its own
        interpreter = pytest.importorskip("tflite_micro").runtime.Interpreter.from_file(
            str(tmp_path / "net.tflite"))
        image = np.zeros((1, 16, 16, 1), "int8")
        interpreter.set_input(image, 0)
        interpreter.invoke()
        assert np.asarray(interpreter.get_output(0)).shape == (1, 10)
        write(digits, tmp_path / "phone.tflite", quantize="int8")
        assert len(flatbuffer.find_dense_scales(tmp_path / "phone.tflite", target)) == 1


def test_int16x8(digits, tmp_path):
    """16 bits for what layers compute: far nearer to the float net than int8."""
    report = write(digits, tmp_path / "net.tflite", quantize="int16x8")
    assert report.passed and report.max_relative_difference < 0.02
    assert report.first_result.precision == "int16x8"
    assert flatbuffer.has_tensor_type(tmp_path / "net.tflite", "INT16")
    assert flatbuffer.has_tensor_type(tmp_path / "net.tflite", "INT8")


@pytest.mark.parametrize("path, arguments, message", [
    ("net.onnx", {"quantize": "int16x8"}, "None or 'float16' or 'dynamic' or 'int8'"),
    ("net.onnx", {"quantize": "int8", "io": "uint8"}, "take and return floats"),
    ("net.onnx", {"quantize": "int8"}, "calibration_data"),
    ("net.onnx", {"target": "micro"}, "'onnxruntime' or 'tensorrt'"),
    ("net.tflite", {"target": "tensort"}, "tensorrt|phone"),
    ("net.xml", {"target": "tensorrt"}, "target"),
    ("net.tflite", {"quantize": "int16x8", "calibration_method": "mse"}, "one step"),
    ("net.tflite", {"quantize": "int16x8", "float_layers": ["conv1_conv"]}, "one step"),
    ("net.tflite", {"quantize": "int16x8", "io": "uint8"}, "16 bits")])
def test_wrong_arguments(digits, tmp_path, path, arguments, message):
    net, calibration, _ = digits
    if arguments.get("quantize") and message != "calibration_data":
        arguments = {**arguments, "calibration_data": calibration}
    with pytest.raises(ArgumentError, match=message):
        export(net, tmp_path / path, **arguments)
    assert not (tmp_path / path).exists()


def test_half_precision_is_named(tmp_path):
    """A net whose middle reaches beyond the largest float16."""
    assert find_beyond_half({"a": (0, 1), "b": (-7e4, 0), "c": (0, 1e-9), "d": (0, 0)}) == (
        "b reaches 7e+04", "c reaches 1e-09")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="large", kernel_initializer=keras.initializers.Constant(5e3))(image)
    x = keras.layers.Conv2D(4, 1, name="small", kernel_initializer=keras.initializers.Constant(1e-4))(x)
    net = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    images = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
    for name in ("net.tflite", "net.onnx"):
        report = export(net, tmp_path / name, quantize="int8", calibration_data=images, strict=False)
        assert any("large" in fault for fault in report.beyond_half), report.beyond_half
        assert "do not fit into float16" in report.summary()
