"""A linear layer beside a BatchNormalization, y = a (x - mean) + beta with a = gamma / sqrt(variance + epsilon)  =>  that layer.

Behind it:    W' = a W (by output channel),  b' = a (b - mean) + beta.
Before it:    W' = a W (by input channel),   b' = b + sum over the kernel of W (beta - a mean).
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..layer_traits import GROUPED, LINEAR, STANDARDIZED, TRANSPOSED, alone

Array = np.ndarray
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
BEFORE = ("Dense", "Conv1D", "Conv2D", "Conv3D", GROUPED, *DEPTHWISE)   # what can take a normalization of its input


def fold_bn(graph: Graph) -> Rewritten:
    """Every normalization into the linear layer behind which it stands, else into those that read it.

    Declines where that layer has other readers, an activation, another dtype policy, or is shared, where the normalization
    is an output of the model or runs as in training, and, before a convolution, where the padding would not be shifted as the
    image is.
    """
    done: list[str] = []
    while True:
        new: dict[tuple[str, int], tuple[Node, ...]] = {}
        moved, declined = {}, {}
        for norm in graph.nodes:
            if norm.word != "BatchNormalization":
                continue
            layers, reason = _folded(graph, norm)
            if reason:
                declined[norm.name] = reason
            elif all(layer.key not in new for layer in layers):     # else in the next round
                new.update({layer.key: (layer,) for layer in layers})
                new[norm.key] = ()
                moved[norm.output] = norm.inputs[0]
                done.append(norm.name)
        if not moved:
            return Rewritten(graph, tuple(done), declined)
        graph = graph.edit(new, moved)


def _folded(graph: Graph, norm: Node) -> tuple[list[Node], str]:
    """The layers that take `norm` up, or the reason why none does."""
    if graph.is_output(norm) or graph.shared(norm) or norm.trains:
        return [], "it is an output of the model" if graph.is_output(norm) else \
            "it is shared" if graph.shared(norm) else "it is called with training=True"
    source = graph.node(norm.inputs[0])
    a, shift = _affine(norm)
    reason = _not_behind(graph, source, norm)
    if not reason:
        return [behind(source, a, shift)], ""
    readers = graph.readers(norm)
    reasons = [_not_before(graph, reader, norm, shift) for reader in readers]
    if not any(reasons):
        return [before(reader, a, shift) for reader in readers], ""
    return [], f"{reason}; {next(filter(None, reasons))}"


def _affine(norm: Node) -> tuple[Array, Array]:
    """a and beta - a mean, in float64: the rounding to a layer's own dtype happens once, when the graph is built."""
    values = [w.astype(np.float64) for w in norm.weights]
    variance, mean = values.pop(), values.pop()
    gamma = values.pop(0) if norm.config["scale"] else 1.0
    a = gamma / np.sqrt(variance + norm.config["epsilon"])
    return a, (values.pop(0) if norm.config["center"] else 0.0) - a * mean


def _not_linear(node: Node, norm: Node) -> str:
    if node.word not in LINEAR:
        return f"{node.word or node.kind.__name__} is not linear"
    if node.word == STANDARDIZED:
        return f"{node.name} standardizes its kernel"
    if node.config["activation"] != "linear":
        return f"{node.name} has an activation"
    if node.config["dtype"] != norm.config["dtype"]:
        return f"{node.name} has another dtype policy"
    if len(node.weights) != 1 + (node.word in SEPARABLE) + node.config["use_bias"]:
        return f"{node.name} has more than a kernel and a bias"     # low-rank adapters, scales of a quantized kernel
    rank = 2 if node.word == "Dense" else 3 if "1D" in node.word else 5 if "3D" in node.word else 4
    last = (-1,) if node.word == "Dense" else (-1, rank - 1)
    channels_last = node.config.get("data_format") in (None, "channels_last") and norm.config["axis"] in last
    return "" if channels_last else "its axis is not the channels'"


def _not_behind(graph: Graph, source: Node, norm: Node) -> str:
    return _not_linear(source, norm) or alone(graph, source)


def behind(node: Node, a: Array, shift: Array) -> Node:
    weights = [w.astype(np.float64) for w in node.weights]
    bias = weights.pop() if node.config["use_bias"] else 0.0
    kernel = weights[-1]        # of a separable convolution the pointwise one
    if node.word in DEPTHWISE:
        kernel = kernel * a.reshape(kernel.shape[-2:])      # channels in, multiplier
    else:
        kernel = kernel * (a[:, None] if node.word in TRANSPOSED else a)
    return _biased(node, (*weights[:-1], kernel), a * bias + shift)


def _not_before(graph: Graph, reader: Node, norm: Node, shift: Array) -> str:
    reason = _not_linear(replace(reader, config={**reader.config, "activation": "linear"}), norm)
    if reason or reader.word not in BEFORE:
        return reason or f"{reader.name} is no layer that takes a normalization up"
    if graph.shared(reader):
        return f"{reader.name} is shared"
    pads = reader.config.get("padding", "valid") != "valid" and prod(reader.config["kernel_size"]) > 1
    return f"{reader.name} pads with zeros, which the normalization would shift" if pads and np.any(shift) else ""


def before(node: Node, a: Array, shift: Array) -> Node:
    weights = [w.astype(np.float64) for w in node.weights]
    kernel = weights[0]
    bias = weights[1] if node.config["use_bias"] else 0.0
    if node.word in DEPTHWISE:
        own, added = a[:, None], kernel * shift[:, None]
        added = added.sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
    else:
        # (channels of a group, channels out): the part of a that each output channel sees
        groups, (wide, out) = node.config.get("groups", 1), kernel.shape[-2:]
        own, shifts = (v.reshape(groups, wide).T.repeat(out // groups, axis=1) for v in (a, shift))
        added = (kernel * shifts).sum(axis=tuple(range(kernel.ndim - 1)))
    return _biased(node, (kernel * own,), bias + added)


def _biased(node: Node, kernels: tuple[Array, ...], bias: Array) -> Node:
    return replace(node, config={**node.config, "use_bias": True}, weights=(*kernels, bias))
