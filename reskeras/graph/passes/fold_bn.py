"""A linear layer beside a BatchNormalization  =>  that layer.

The normalization is  y = a (x - mean) + beta,  a = gamma / sqrt(variance + epsilon).
After it:     W' = a W (by output channel),  b' = a (b - mean) + beta.
Before it:    W' = a W (by input channel),   b' = b + sum over the kernel of W (beta - a mean).
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..graph import Graph
from ..keras_config import TensorRef
from ..layer_traits import (GROUPED_CONV, LINEAR, STANDARDIZED_CONV, TRANSPOSED, has_only_kernel_and_bias,
                            why_not_fusible)
from ..node import Node, NodeKey
from ..pass_result import PassResult

Array = np.ndarray
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
# Layers into which a normalization of their input can be folded
TAKES_INPUT_NORM = ("Dense", "Conv1D", "Conv2D", "Conv3D", GROUPED_CONV, *DEPTHWISE)


def fold_bn(graph: Graph) -> PassResult:
    """Folds every normalization into the linear layer that it reads, or else into those that read it.

    Declines if that layer has other readers, an activation or another dtype policy, or is shared (unless each
    of its calls is followed by one of the same normalization); if the normalization is an output of the model
    or runs as in training; and, before a convolution, if the zeros of a padding would not be shifted like the
    image.
    """
    rewritten: list[str] = []
    while True:
        new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
        new_tensors: dict[TensorRef, TensorRef] = {}
        declined: dict[str, str] = {}
        for norm in graph.nodes:
            if norm.type_name != "BatchNormalization":
                continue
            calls = graph.list_calls(norm.name) if graph.is_shared(norm) else [norm]
            layers, reason = _fold_shared(graph, calls) if len(calls) > 1 else _fold(graph, norm)
            if reason:
                declined[norm.name] = reason
            elif all(layer.key not in new_nodes for layer in layers):     # otherwise in the next round
                new_nodes.update({layer.key: (layer,) for layer in layers} | {call.key: () for call in calls})
                new_tensors.update({call.output: call.inputs[0] for call in calls})
                rewritten.append(norm.name)
        if not new_tensors:
            return PassResult(graph, tuple(rewritten), declined)
        graph = graph.edit(new_nodes, new_tensors)


def _fold(graph: Graph, norm: Node) -> tuple[list[Node], str]:
    """The layers with `norm` folded into them, or the reason why there are none."""
    if graph.is_output(norm):
        return [], "it is an output of the model"
    if norm.is_training_call:
        return [], "it is called with training=True"

    source = graph.get_node(norm.inputs[0])
    scale, shift = compute_scale_and_shift(norm)
    reason = _why_not_linear(source, norm) or why_not_fusible(graph, source)
    if not reason:
        return [_scale_output(source, scale, shift)], ""

    readers = graph.readers(norm)
    reasons = [_why_not_into_reader(graph, reader, norm, shift) for reader in readers]
    if not any(reasons):
        return [_scale_input(reader, scale, shift) for reader in readers], ""
    return [], f"{reason}; {next(filter(None, reasons))}"


def _fold_shared(graph: Graph, norms: list[Node]) -> tuple[list[Node], str]:
    """As `_fold`, for all calls of a normalization that follow the calls of one layer, one each."""
    sources = [graph.get_node(norm.inputs[0]) for norm in norms]
    calls = graph.list_calls(sources[0].name)
    if {source.key for source in sources} != {call.key for call in calls} or len(sources) != len(calls):
        return [], "it is shared"
    if any(graph.is_output(norm) or norm.is_training_call for norm in norms):
        return [], "it is shared, and a call of it is an output of the model or runs as in training"
    if any(graph.is_output(source) or len(graph.readers(source)) > 1 for source in sources):
        return [], f"{sources[0].name} has several readers"
    if reason := _why_not_linear(sources[0], norms[0]):
        return [], reason
    return [_scale_output(source, *compute_scale_and_shift(norms[0])) for source in sources], ""


def compute_scale_and_shift(norm: Node) -> tuple[Array, Array]:
    """a and beta - a mean, in float64: they are rounded to a layer's dtype only when the graph is built.

    Args:
        norm: a BatchNormalization.
    """
    values = iter([w.astype(np.float64) for w in norm.weights])
    gamma = next(values) if norm.config["scale"] else 1.0
    beta = next(values) if norm.config["center"] else 0.0
    mean, variance = next(values), next(values)     # with renorm=True there are more, for training alone
    scale = gamma / np.sqrt(variance + norm.config["epsilon"])
    return scale, beta - scale * mean


def _why_not_linear(node: Node, norm: Node) -> str:
    if node.type_name not in LINEAR:
        return f"{node.type_name or node.layer_class.__name__} is not linear"
    if node.type_name == STANDARDIZED_CONV:
        return f"{node.name} standardizes its kernel"
    if node.config["activation"] != "linear":
        return f"{node.name} has an activation"
    if node.config["dtype"] != norm.config["dtype"]:
        return f"{node.name} has another dtype policy"
    if not has_only_kernel_and_bias(node):
        return f"{node.name} has more than a kernel and a bias"
    rank = 3 if "1D" in node.type_name else 5 if "3D" in node.type_name else 4
    last = (-1,) if node.type_name == "Dense" else (-1, rank - 1)
    channels_last = node.config.get("data_format") in (None, "channels_last") and norm.config["axis"] in last
    return "" if channels_last else "its axis is not the channels'"


def _scale_output(node: Node, scale: Array, shift: Array) -> Node:
    weights = [w.astype(np.float64) for w in node.weights]
    bias = weights.pop() if node.config["use_bias"] else 0.0
    kernel = weights[-1]        # of a separable convolution the pointwise one
    if node.type_name in DEPTHWISE:
        kernel = kernel * scale.reshape(kernel.shape[-2:])      # channels in, multiplier
    else:
        kernel = kernel * (scale[:, None] if node.type_name in TRANSPOSED else scale)
    return _with_bias(node, (*weights[:-1], kernel), scale * bias + shift)


def _why_not_into_reader(graph: Graph, reader: Node, norm: Node, shift: Array) -> str:
    reason = _why_not_linear(reader.with_config(activation="linear"), norm)
    if reason or reader.type_name not in TAKES_INPUT_NORM:
        return reason or f"no normalization can be folded into {reader.name}"
    if graph.is_shared(reader):
        return f"{reader.name} is shared"
    pads = reader.config.get("padding", "valid") != "valid" and prod(reader.config["kernel_size"]) > 1
    if pads and np.any(shift):
        return f"{reader.name} pads with zeros, which the normalization would shift"
    return ""


def _scale_input(node: Node, scale: Array, shift: Array) -> Node:
    weights = [w.astype(np.float64) for w in node.weights]
    kernel = weights[0]
    bias = weights[1] if node.config["use_bias"] else 0.0
    if node.type_name in DEPTHWISE:
        factors, added = scale[:, None], kernel * shift[:, None]
        added = added.sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
    else:
        # (channels of a group, channels out): the part of the scale that each output channel sees
        groups, (width, filters) = node.config.get("groups", 1), kernel.shape[-2:]
        factors, shifts = (values.reshape(groups, width).T.repeat(filters // groups, axis=1)
                           for values in (scale, shift))
        added = (kernel * shifts).sum(axis=tuple(range(kernel.ndim - 1)))
    return _with_bias(node, (kernel * factors,), bias + added)


def _with_bias(node: Node, kernels: tuple[Array, ...], bias: Array) -> Node:
    return replace(node, config={**node.config, "use_bias": True}, weights=(*kernels, bias))
