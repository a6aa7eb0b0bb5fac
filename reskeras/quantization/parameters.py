"""The scale and the zero point of each tensor of a model with fake quantization.

Every format that stores integers needs them.  They are the numbers of TFLite's int8: symmetric for kernels,
and from -128 to 127 for other tensors.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import keras
import numpy as np

from ..graph.graph import Graph
from ..graph.keras_config import TensorRef
from ..graph.node import Node
from .accumulators import KEEPS_RANGE
from .fake_quantize import compute_kernel_scales, compute_scale_and_zero_point
from .layers import FakeQuantize, QuantizedDepthwiseConv2D
from .placement import QUANTIZED_PREFIXES


@dataclass(frozen=True)
class QuantizationParameters:
    """How the integers of a tensor become numbers: scale * (integer - zero_point).

    Args:
        scale: one, or one for each output channel of a kernel, float32.
        zero_point: 0 for a kernel.
        bits: the bits of an integer.
    """

    scale: np.ndarray
    zero_point: int
    bits: int = 8


def read_parameters(model: keras.Model) -> dict[str, QuantizationParameters]:
    """Reads the parameters of all tensors and kernels of a model.

    Args:
        model: a model with fake quantization.

    Returns:
        The name of a layer -> the parameters of what it returns; "NAME/kernel" -> those of its kernel.
    """
    graph = Graph.of(model)
    parameters = {ref[0]: value for ref, value in _read_tensor_parameters(graph).items()}
    kernels = {f"{node.name}/kernel": _read_kernel_parameters(node) for node in graph.nodes
               if _has_quantized_kernel(node)}
    return parameters | kernels


def _read_tensor_parameters(graph: Graph) -> dict[TensorRef, QuantizationParameters]:
    """The parameters of the tensors that are rounded, before and after the rounding, and of moved ones.

    Args:
        graph: of a model with fake quantization.
    """
    found: dict[TensorRef, QuantizationParameters] = {}
    for node in graph.nodes:
        if node.layer_class is FakeQuantize:
            found[node.output] = found[node.inputs[0]] = _read_range(node.config, node.weights)
        elif node.type_name in KEEPS_RANGE and node.inputs[0] in found:
            found[node.output] = found[node.inputs[0]]
    return found


def _read_range(config: Mapping[str, Any], weights: tuple[np.ndarray, ...]) -> QuantizationParameters:
    bits, ends = config["bits"], config["fixed_range"]
    low, high = ends or (min(0.0, float(weights[0].min())), max(0.0, float(weights[1].max())))
    scale, zero_point = compute_scale_and_zero_point(low, high, bits)
    return QuantizationParameters(np.array(scale, "float32"), zero_point, bits)


def _has_quantized_kernel(node: Node) -> bool:
    """Whether a layer has a quantized kernel."""
    return node.type_name.startswith(QUANTIZED_PREFIXES[1])


def _read_kernel_parameters(node: Node) -> QuantizationParameters:
    """The parameters of a quantized kernel.

    Args:
        node: a layer with one.
    """
    kernel, bits = np.asarray(node.weights[0], "float32"), node.config["weight_bits"]
    if node.layer_class is QuantizedDepthwiseConv2D:
        kernel = kernel.reshape(*kernel.shape[:-2], -1)
    return QuantizationParameters(compute_kernel_scales(kernel, bits, node.config["per_channel"]), 0, bits)
