"""What TensorRT asks of an ONNX graph with Q/DQ, checked in the file; TensorRT itself is not needed.

The rules are those of NVIDIA's guide "Working with Quantized Types", with its case of ResNet: the shortcut
alone of a residual sum is quantized, so that the sum becomes part of the last convolution.
"""
from __future__ import annotations

from typing import Any, Callable, Iterator

import numpy as np

from .onnx_graph import Graph, get_shortcut

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def find_tensorrt_faults(proto: Any) -> list[str]:
    """Finds the rules that a model breaks.

    Args:
        proto: an ONNX model.

    Returns:
        For each broken rule its name, and the first node that breaks it.
    """
    graph = Graph(proto.graph)
    return [f"TensorRT's rule {name} is broken by {node}" for name, find in _RULES.items()
            if (node := next(find(graph), None)) is not None]


def _find_zero_points(graph: Graph) -> Iterator[str]:
    """Zero points other than 0."""
    import onnx
    for node in graph.nodes:
        if node.op_type in (_QUANTIZE, _DEQUANTIZE) and len(node.input) == 3:
            constant = graph.constants.get(node.input[2])
            if constant is None or np.any(onnx.numpy_helper.to_array(constant)):
                yield node.name


def _find_other_integers(graph: Graph) -> Iterator[str]:
    """Zero points, and with them tensors, of another type than int8: a bias of int32 is one."""
    import onnx
    for node in graph.nodes:
        if node.op_type in (_QUANTIZE, _DEQUANTIZE):
            names = [name for name in node.input if name in graph.constants and name != node.input[1]]
            types = {graph.constants[name].data_type for name in names}
            if types - {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT}:
                yield node.name


def _find_quantized_biases(graph: Graph) -> Iterator[str]:
    """Biases with Q/DQ."""
    for node in graph.nodes:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.input) == 3:
            if node.input[2] not in graph.constants:
                yield node.name


def _find_weights_of_one_scale(graph: Graph) -> Iterator[str]:
    """Weights of convolutions that have not one scale for each output channel."""
    for node in graph.nodes:
        maker = graph.makers.get(node.input[1]) if node.op_type == "Conv" else None
        if maker is None or maker.op_type != _DEQUANTIZE:
            continue
        scale = graph.constants.get(maker.input[1])
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
        if scale is None or len(scale.dims) != 1 or axis != 0:
            yield node.name


def _find_half_quantized(graph: Graph) -> Iterator[str]:
    """Convolutions of which only the input or only the weights have Q/DQ."""
    for node in graph.nodes:
        if node.op_type == "Conv":
            makers = [graph.makers.get(name) for name in node.input[:2]]
            if len({maker is not None and maker.op_type == _DEQUANTIZE for maker in makers}) == 2:
                yield node.name


def _find_wrong_sums(graph: Graph) -> Iterator[str]:
    """Residual sums behind a convolution whose shortcut has no Q/DQ, or whose convolution has some."""
    for node in graph.nodes:
        shortcut = get_shortcut(node, graph)
        if shortcut is None:
            continue
        (other,) = [name for name in node.input if name != shortcut] or [shortcut]
        last = graph.makers.get(graph.skip_quantization(other))
        if last is None or last.op_type != "Conv" or not _is_quantized(last.input[0], graph):
            continue
        if _is_quantized(other, graph) or not _is_quantized(shortcut, graph):
            yield node.name


def _find_quantized_before_activation(graph: Graph) -> Iterator[str]:
    """Q/DQ between a convolution and its activation."""
    for node in graph.nodes:
        if node.op_type in ("Relu", "Clip") and _is_quantized(node.input[0], graph):
            maker = graph.makers.get(graph.skip_quantization(node.input[0]))
            if maker is not None and maker.op_type == "Conv":
                yield node.name


def _is_quantized(name: str, graph: Graph) -> bool:
    maker = graph.makers.get(name)
    return maker is not None and maker.op_type == _DEQUANTIZE


_RULES: dict[str, Callable[[Graph], Iterator[str]]] = {
    "'zero points are 0'": _find_zero_points,
    "'integers are int8'": _find_other_integers,
    "'biases have no Q/DQ'": _find_quantized_biases,
    "'weights have one scale for each output channel'": _find_weights_of_one_scale,
    "'a convolution has Q/DQ on its input and on its weights'": _find_half_quantized,
    "'of a residual sum the shortcut alone has Q/DQ'": _find_wrong_sums,
    "'no Q/DQ between a convolution and its activation'": _find_quantized_before_activation,
}
