"""Writes what a `Placement` says into a graph: quantized kernels, and `FakeQuantize` layers."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping

import keras
import numpy as np

from ..graph.graph import Graph
from ..graph.keras_config import TensorRef, map_refs, tensor_config
from ..graph.layer_traits import GROUPED_CONV
from ..graph.node import Node, make_node
from .layers import (AVERAGE_STEPS, FakeQuantize, QuantizedConv1D, QuantizedConv2D, QuantizedDense,
                     QuantizedDepthwiseConv2D)
from .placement import Placement, RangeGroup
from .range_choice import Range

_QUANTIZED = {"Conv2D": QuantizedConv2D, GROUPED_CONV: QuantizedConv2D, "Conv1D": QuantizedConv1D,
              "DepthwiseConv2D": QuantizedDepthwiseConv2D, "Dense": QuantizedDense}


@dataclass(frozen=True)
class QuantizationOptions:
    """How tensors and kernels are rounded, see `quantization_aware`."""

    ranges: str = "average"
    average_steps: int = AVERAGE_STEPS
    weight_bits: int = 8
    per_channel: bool = True


def insert_fake_quantization(placement: Placement, measured: Mapping[TensorRef, Range],
                             options: QuantizationOptions) -> Graph:
    """The graph of `placement` with quantized kernels, and `FakeQuantize` after each tensor that is rounded.

    Args:
        placement: where.
        measured: the first range of each site.
        options: how.
    """
    graph = placement.graph
    new_tensors: dict[TensorRef, TensorRef] = {}
    layers: dict[int, Node] = {}        # the last call of the layer of a group
    nodes: list[Node] = []
    for node in graph.nodes:
        new = node.with_inputs(new_tensors)
        is_quantized = node.type_name in _QUANTIZED and node.name not in placement.float_layers
        nodes.append(quantize_kernel(new, options.weight_bits, options.per_channel) if is_quantized else new)
        if not placement.is_rounded(node):
            continue
        group = placement.groups[node.output]
        last = layers.get(id(group))
        layer = last or _make_layer(graph, node, group, measured, options)
        slot = group.sites.index(node.output) if node.output in group.sites else None
        layers[id(group)] = replace(layer, call_index=last.call_index + 1 if last else 0,
                                    args=[tensor_config(node.output)], kwargs={"slot": slot})
        nodes.append(layers[id(group)])
        new_tensors[node.output] = nodes[-1].output
    outputs = map_refs(graph.outputs, lambda ref: new_tensors.get(ref, ref))
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def _make_layer(graph: Graph, node: Node, group: RangeGroup, measured: Mapping[TensorRef, Range],
                options: QuantizationOptions) -> Node:
    """The `FakeQuantize` layer of a group, whose first tensor is the output of `node`."""
    is_input = node.layer_class is keras.layers.InputLayer
    ranges = "frozen" if is_input else options.ranges
    weights: list[Any] = []
    if group.fixed_range is None:
        ends = np.array([measured[ref] for ref in group.sites], "float32")
        weights = [ends[:, 0], ends[:, 1], *([np.float32(0)] if ranges == "average" else [])]
    # an input has no dtype policy of its own
    like = next((n for n in graph.readers(node) if "dtype" in n.config), node) if is_input else node
    return make_node(FakeQuantize, graph.find_unused_name(f"{group.name}_quantize"), [node.output], like,
                     weights, slots=max(len(group.sites), 1), average_steps=options.average_steps,
                     ranges=ranges, fixed_range=group.fixed_range)


def quantize_kernel(node: Node, weight_bits: int = 8, per_channel: bool = True) -> Node:
    """The layer with a quantized kernel for a layer with a kernel.

    Args:
        node: a layer of `integer_layers.KERNEL_LAYERS`.
        weight_bits: the bits of a weight.
        per_channel: whether each output channel has its own levels; those of a dense layer never have, nor
            those of a 1-D convolution: the converter does not take them.
    """
    layer_class = _QUANTIZED[node.type_name]
    per_channel = per_channel and layer_class not in (QuantizedDense, QuantizedConv1D)
    return replace(node, layer_class=layer_class, config={
        **node.config, "weight_bits": weight_bits, "per_channel": per_channel})
