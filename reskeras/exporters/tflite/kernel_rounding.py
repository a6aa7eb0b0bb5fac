"""A model with fake quantization in exact arithmetic, which rounds as TFLite's reference kernels do.

The model itself computes in float32, and rounds once.  The kernels differ from it by a small part of a step,
which now and then is the other side of a half:

* A bias is an integer, in steps of the input's scale times the kernel's.
* A sum is multiplied by a fixed-point number and rounded twice: to a 2 ** n-th of a step of the output, then
  to a whole step, halves away from zero.
* An average pool rounds the integers themselves, halves away from the integer zero.
"""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers, ops

from ...graph.graph import Graph
from ...graph.keras_config import TensorRef
from ...graph.node import Node, NodeKey, make_node
from ...quantization.layers import FakeQuantize
from ...quantization.parameters import (QuantizationParameters, has_quantized_kernel,
                                        read_kernel_parameters, read_tensor_parameters)

_EXACT_HALVES = -20     # an exponent: in an average of integers a half must not be a little less
_MEANS = ("GlobalAveragePooling2D", "GlobalAveragePooling1D")


class _KernelRounding(layers.Layer):
    """Rounds to multiples of scale * 2 ** exponent, and then to those of the scale.

    Args:
        scale: of the integers of the result.
        zero_point: their zero.
        bits: their bits.
        exponents: of the first rounding, a number or one for each channel, at most 0; 0 if there is none.
        rounds_integers: whether halves are rounded away from the integer zero, instead of from zero.
        **kwargs: those of `keras.layers.Layer`.
    """

    def __init__(self, scale: float, zero_point: int, bits: int = 8, exponents: Any = 0,
                 rounds_integers: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.zero_point, self.bits = scale, zero_point, bits
        self.exponents, self.rounds_integers = exponents, rounds_integers

    def call(self, inputs: Any) -> Any:
        # powers of two, by which it is exact to multiply: a graph replaces a division by a product
        powers = 2.0 ** np.asarray(self.exponents, "float64")
        multiples = inputs / ops.convert_to_tensor(self.scale * powers)
        multiples = _round_half_away(multiples) if self.exponents else multiples
        shift = self.zero_point if self.rounds_integers else 0
        integers = _round_half_away(multiples * ops.convert_to_tensor(powers) + shift) - shift
        first, last = -2 ** (self.bits - 1), 2 ** (self.bits - 1) - 1
        return ops.clip(integers, first - self.zero_point, last - self.zero_point) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "zero_point": self.zero_point,
                "bits": self.bits, "exponents": self.exponents, "rounds_integers": self.rounds_integers}


def _round_half_away(x: Any) -> Any:
    return ops.sign(x) * ops.floor(ops.abs(x) + 0.5)


def round_as_kernels(graph: Graph) -> Graph:
    """The graph with rounded kernels and biases, and with the roundings of the reference kernels.

    Args:
        graph: of a model with fake quantization; what this returns is to be built in float64.
    """
    parameters = read_tensor_parameters(graph)
    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    new_tensors: dict[TensorRef, TensorRef] = {}
    for node in graph.nodes:
        if has_quantized_kernel(node) and (inputs := parameters.get(node.inputs[0])):
            new_nodes[node.key] = (_round_kernel(node, inputs),)
        elif node.layer_class is FakeQuantize:
            exponents = _find_exponents(graph, node, parameters)
            rounding = _make_rounding(graph, node, parameters[node.output], exponents)
            new_nodes[node.key], new_tensors[node.output] = (rounding,), rounding.output
    return graph.edit(new_nodes, new_tensors)


def _make_rounding(graph: Graph, node: Node, output: QuantizationParameters, exponents: Any) -> Node:
    """A layer for one call of a `FakeQuantize`: each call may have other exponents."""
    name = graph.find_unused_name(f"{node.name}_{node.call_index}")
    return make_node(_KernelRounding, name, node.inputs, node, scale=float(output.scale),
                     zero_point=output.zero_point, bits=output.bits, exponents=exponents,
                     rounds_integers=node.kwargs.get("slot", 0) is None)


def _find_exponents(graph: Graph, node: Node, parameters: Any) -> Any:
    """The exponents of the first rounding of what a `FakeQuantize` reads.

    A fixed-point number is m * 2 ** e, 0.5 <= m < 1: the kernel rounds the product with m first.
    """
    if node.kwargs.get("slot", 0) is None:
        return _EXACT_HALVES
    source = graph.get_node(node.inputs[0])
    if source.type_name == "Activation" and len(source.inputs) == 1:
        source = graph.get_node(source.inputs[0])       # the relu of an addition or product
    inputs = [parameters.get(ref) for ref in source.inputs]
    if not inputs or None in inputs:
        return 0
    # of what is summed up, in steps of the output
    unit = np.prod([np.asarray(p.scale, "float64") for p in inputs]) / float(parameters[node.output].scale)
    if has_quantized_kernel(source):
        exponent = np.frexp(unit * _read_scales(source))[1]
    elif source.type_name == "Multiply":
        exponent = np.frexp(unit)[1]
    elif source.type_name in _MEANS:
        count = math.prod(side or 1 for side in graph.shapes[source.inputs[0]][1:-1])
        exponent = np.frexp(unit)[1] - int(math.log2(count))
    else:
        return 0
    return np.minimum(exponent, 0).tolist()


def _read_scales(node: Node) -> np.ndarray:
    return np.asarray(read_kernel_parameters(node).scale, "float64")


def _round_kernel(node: Node, inputs: QuantizationParameters) -> Node:
    """The plain layer with the integers of the kernel and of the bias, times their scales."""
    scales, layer = _read_scales(node), node.make_layer("float32")
    kernel = np.asarray(layer.quantize_kernel(np.asarray(node.weights[0], "float32"), "float32"))
    columns = kernel.reshape(-1, scales.size) if scales.size > 1 else kernel
    weights = [(np.round(columns / scales) * scales).reshape(kernel.shape)]
    if node.config["use_bias"]:
        unit = float(inputs.scale) * scales
        weights.append(np.round(np.asarray(node.weights[1], "float64") / unit) * unit)
    config = {key: value for key, value in node.config.items() if key not in ("weight_bits", "per_channel")}
    return replace(node, layer_class=node.layer_class.__bases__[1], config=config, weights=tuple(weights))
