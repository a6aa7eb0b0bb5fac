"""int8 ONNX files: pairs of QuantizeLinear and DequantizeLinear ("Q/DQ") around operators of integers.

ONNX Runtime's own quantizer puts them into the graph.  The ranges are ours, so that `calibration_method`
means the same as for other formats.  All scales are symmetric: the zero point is 0, with one exception for
ONNX Runtime: a tensor without negative values has the zero point -128, so that all 256 levels are used and
the ReLU before it disappears into the quantization.
"""
from __future__ import annotations

import contextlib
import logging
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from ..quantization.range_choice import Range
from .layer_names import choose_float_nodes, find_layers
from .onnx_graph import Graph, get_shortcut
from .options import ExportOptions
from .tensor_ranges import AllTensors, find_input_range, measure_ranges, measure_values_outside

TENSORRT = "tensorrt"
# Operators that only move or choose values: their output has the range of their input.
_MOVING = ("MaxPool", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Pad", "Slice")
_INTEGER = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "Concat", "Relu", "AveragePool",
            "GlobalAveragePool", "Sigmoid", "LeakyRelu", *_MOVING)
# TensorRT needs only the inputs of these; it moves the quantization through pools and shapes by itself.
_TENSORRT = ("Conv", "ConvTranspose", "MatMul", "Gemm", "AveragePool", "GlobalAveragePool")
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def quantize_int8(proto: Any, options: ExportOptions, layers: Sequence[str]
                  ) -> tuple[Any, dict[str, Range], float | None]:
    """Makes an int8 model of a float32 model.

    Args:
        proto: the ONNX model, in float32.
        options: options of the file, with calibration images.
        layers: the names of the Keras model's layers.

    Returns:
        The ONNX model, the ranges of its tensors, and the share of values on the validation images that are
        outside of them.

    Raises:
        ArgumentError: one of the `float_layers` is not in the file.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    proto = onnx.shape_inference.infer_shapes(proto)
    graph, is_tensorrt = Graph(proto.graph), options.target == TENSORRT
    makers = {node.name: find_layers([node.name, *graph.constants_of(node)], layers)
              for node in proto.graph.node}
    excluded = choose_float_nodes(makers, options.float_layers)
    excluded += [node.name for node in proto.graph.node
                 if not _can_be_integer(node, graph) or makers[node.name] & set(options.normalizations)]

    run = _make_function_of_all_tensors(proto, graph)
    ranges = measure_ranges(run, options)
    measured = dict(ranges)
    _set_known_ranges(ranges, proto.graph, options)
    data = TensorsData(CalibrationMethod.MinMax, {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()})
    overrides = {name: [_choose_parameters(*ends, is_tensorrt)] for name, ends in ranges.items()}
    with _silence_quantizer():
        quantizer = QDQQuantizer(
            proto, True, False, QuantType.QInt8, QuantType.QInt8, data, [], excluded,
            list(_TENSORRT if is_tensorrt else _INTEGER), {
                "WeightSymmetric": True, "TensorQuantOverrides": overrides, "QuantizeBias": not is_tensorrt,
                "AddQDQPairToWeight": is_tensorrt, "QDQKeepRemovableActivations": is_tensorrt,
                # the logits keep their precision: they are what is compared
                "OpTypesToExcludeOutputQuantization": list(_TENSORRT) if is_tensorrt else ["MatMul", "Gemm"]})
        if is_tensorrt:
            for node in proto.graph.node:
                if node.name not in excluded and (shortcut := get_shortcut(node, graph)) is not None:
                    quantizer.quantize_activation_tensor(shortcut)
        quantized = quantizer.quantize_model()
    # what a tensor with Q/DQ would clip
    used = {node.input[0] for node in quantized.graph.node if node.op_type == "QuantizeLinear"}
    kept = {name: ends for name, ends in ranges.items() if name in used}
    return quantized, measured, measure_values_outside(run, kept, options)


def _can_be_integer(node: Any, graph: Graph) -> bool:
    """Whether an operator may compute in integers: not a sum or a product with constants."""
    constants = graph.constants_of(node)
    if node.op_type in ("Add", "Mul", "Concat"):
        return not constants
    return node.op_type not in _WEIGHTED or (len(node.input) > 1 and node.input[1] in constants)


def _set_known_ranges(ranges: dict[str, Range], graph: Any, options: ExportOptions) -> None:
    """Sets the range of the input, as the preprocessing makes it, and of tensors that others move to."""
    known = find_input_range(options.preprocessing, options.shape[-1] or 3)
    if known is not None:
        ranges[graph.input[0].name] = known
    for node in graph.node:
        if node.op_type in _MOVING and node.input[0] in ranges:
            ranges[node.output[0]] = ranges[node.input[0]]


def _choose_parameters(low: float, high: float, is_tensorrt: bool) -> dict[str, Any]:
    """The scale and the zero point of a tensor, as ONNX Runtime's quantizer takes them."""
    from onnxruntime.quantization import QuantType
    if low == high:
        low, high = 0.0, 1.0        # always zero: any range will do
    if low >= 0 and not is_tensorrt:
        scale, zero_point = high / 255, -128
    else:
        scale, zero_point = max(-low, high) / 127, 0
    return {"quant_type": QuantType.QInt8, "scale": np.array(max(scale, 1e-12), "float32"),
            "zero_point": np.array(zero_point, "int8")}


def _make_function_of_all_tensors(proto: Any, graph: Graph) -> AllTensors:
    """The model as a function that returns all float tensors, and its input."""
    import onnx
    import onnxruntime
    extended = onnx.ModelProto()
    extended.CopyFrom(proto)
    names = [name for name, value in graph.values.items()
             if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and name in graph.makers]
    present = {output.name for output in extended.graph.output}
    extended.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                                 for name in names if name not in present)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(extended.SerializeToString(), options, enable_fallback=False,
                                           providers=["CPUExecutionProvider"])
    input_name = proto.graph.input[0].name

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return {input_name: images, **dict(zip(names, session.run(names, {input_name: images})))}
    return run


@contextlib.contextmanager
def _silence_quantizer() -> Iterator[None]:
    """Hides the quantizer's log, which tells of each tensor that stays as it is."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
