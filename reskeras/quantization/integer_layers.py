"""Rewrites a graph so that each layer is one operator that integers have, or stays in floating point.

The model is first folded as for any export: batch normalization, with its statistics as they are, becomes
part of the convolution before it.  Then:

    a layer with an activation other than relu   =>  the layer, then the activation
    silu(x)                                      =>  x * sigmoid(x)
    BatchNormalization, Rescaling                =>  a 1x1 depthwise convolution
    BlurPool2D                                   =>  a depthwise convolution with the kernel of the blur
    RadixSoftmax                                 =>  slices, a concatenation, a softmax
    Add of n tensors                             =>  n - 1 additions
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Sequence

import keras
import numpy as np

from ..blocks.layers import ChannelSlice, EdgePadding2D
from ..graph.graph import Graph
from ..graph.keras_config import TensorRef
from ..graph.layer_traits import GROUPED_CONV, get_activation
from ..graph.node import Node, make_node
from ..graph.pass_result import PassResult
from ..graph.passes.drop_noops import drop_noops
from ..graph.passes.fold_bn import compute_scale_and_shift, fold_bn
from ..graph.passes.fold_pad import fold_pad
from ..graph.passes.fuse_activation import fuse_activation
from ..graph.passes.inline import inline
from ..graph.passes.push_stride import push_stride
from ..graph.passes.standardize_kernels import standardize_kernels
from ..graph.passes.use_own_layers import use_own_layers

# Layers with a kernel that can be quantized
KERNEL_LAYERS = ("Conv2D", GROUPED_CONV, "DepthwiseConv2D", "Conv1D", "Dense")
FUSED_ACTIVATIONS = ("linear", "relu", "relu6")     # an integer operator clips its output at no cost
_SILU = ("silu", "swish")
_FOLDING = (inline, use_own_layers, drop_noops, standardize_kernels, fold_bn, push_stride, fold_pad,
            fuse_activation)

Builder = Callable[[Graph, Node], Sequence[Node]]


def fold(graph: Graph) -> Graph:
    """The graph with fewer layers that computes the same, as for an export."""
    for run_pass in _FOLDING:
        graph = run_pass(graph).graph
    return graph


def use_integer_layers(graph: Graph, float_layers: Sequence[str] = ()) -> PassResult:
    """Rewrites each layer as the table above says; declines the `float_layers`, and shared layers."""
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for builders in (_SIMPLER, _SPLIT, _GATES):
        if builders is _SPLIT:      # a normalization that is a convolution now may be followed by a relu
            graph = fuse_activation(graph).graph
        nodes: list[Node] = []
        for node in graph.nodes:
            build = builders.get(node.type_name)
            if node.name in float_layers or build is None:
                nodes.append(node)
                continue
            if graph.is_shared(node):
                declined[node.name] = "it is shared"
            new = [node] if graph.is_shared(node) else list(build(graph, node))
            rewritten += [node.name] * (new != [node])
            nodes += new
        graph = replace(graph, nodes=tuple(nodes))
    return PassResult(graph, tuple(rewritten), declined)


def _split_activation(graph: Graph, node: Node) -> list[Node]:
    """A layer with a kernel, then its activation; what reads the layer then reads the activation.

    The activation has the layer's name, as the output of the model may be called after it; the layer itself
    has it too, with an underscore and "linear".
    """
    activation = node.config["activation"]
    if activation in FUSED_ACTIVATIONS or not isinstance(activation, str):
        return [node]
    name = graph.find_unused_name(f"{node.name}_linear")
    linear = replace(node, name=name, config={**node.config, "name": name, "activation": "linear"})
    return [linear, make_node(keras.layers.Activation, node.name, [linear.output], node,
                              activation=activation)]


def _split_silu(graph: Graph, node: Node) -> list[Node]:
    if node.config["activation"] not in _SILU:
        return [node]
    gate = make_node(keras.layers.Activation, graph.find_unused_name(f"{node.name}_sigmoid"), node.inputs,
                     node, activation="sigmoid")
    return [gate, make_node(keras.layers.Multiply, node.name, [node.inputs[0], gate.output], node)]


def _make_scale(graph: Graph, node: Node) -> list[Node]:
    """A 1x1 depthwise convolution for a layer that scales and shifts each channel of a map."""
    shape = graph.shapes.get(node.inputs[0]) or ()
    if len(shape) != 4 or shape[-1] is None or node.config.get("axis", -1) not in (-1, 3):
        return [node]
    if node.type_name == "Rescaling":
        scale, shift = (np.broadcast_to(np.asarray(node.config[key], "float64"), (shape[-1],))
                        for key in ("scale", "offset"))
    else:
        scale, shift = compute_scale_and_shift(node)
    return [make_node(keras.layers.DepthwiseConv2D, node.name, node.inputs, node,
                      [scale[None, None, :, None], shift], kernel_size=1)]


def _make_blur(graph: Graph, node: Node) -> list[Node]:
    """The kernel [1, 2, 1] along both axes on a reflected border; a single position is not blurred."""
    _, height, width, channels = graph.shapes.get(node.inputs[0]) or (None,) * 4
    if not (height and width and channels and height > 1 and width > 1):
        return [node]
    line = np.array([0.25, 0.5, 0.25])
    kernel = np.broadcast_to((line[:, None] * line)[:, :, None, None], (3, 3, channels, 1))
    pad = make_node(EdgePadding2D, graph.find_unused_name(f"{node.name}_pad"), node.inputs, node,
                    padding=(1, 1))
    blur = make_node(keras.layers.DepthwiseConv2D, node.name, [pad.output], node, [kernel], kernel_size=3,
                     strides=node.config["stride"], use_bias=False)
    return [pad, blur.with_config(trainable=False)]


def _split_sum(graph: Graph, node: Node) -> list[Node]:
    inputs = node.inputs
    nodes: list[Node] = []
    total: TensorRef = inputs[0]
    for i, ref in enumerate(inputs[1:], 2):
        name = node.name if i == len(inputs) else graph.find_unused_name(f"{node.name}_{i}_terms")
        nodes.append(make_node(keras.layers.Add, name, [total, ref], node))
        total = nodes[-1].output
    return nodes if len(inputs) > 2 else [node]


def _split_radix_softmax(graph: Graph, node: Node) -> list[Node]:
    """As `RadixSoftmax` computes it: the parts side by side, a softmax over them, the parts one by one."""
    radix, groups = node.config["radix"], node.config["groups"]
    channels = (graph.shapes.get(node.inputs[0]) or (None,))[-1]
    if radix == 1:
        return [make_node(keras.layers.Activation, node.name, node.inputs, node, activation="sigmoid")]
    if channels is None:
        return [node]
    size, nodes = channels // (groups * radix), []

    def add(layer_class: type[keras.layers.Layer], name: str, inputs: Sequence[TensorRef],
            **options: Any) -> TensorRef:
        nodes.append(make_node(layer_class, name, inputs, node, **options))
        return nodes[-1].output

    columns = []
    for r in range(radix):
        slices = [add(ChannelSlice, f"{node.name}_{r}_{g}", node.inputs, start=(g * radix + r) * size,
                      stop=(g * radix + r + 1) * size) for g in range(groups)]
        part = add(keras.layers.Concatenate, f"{node.name}_{r}_part", slices) if groups > 1 else slices[0]
        columns.append(add(keras.layers.Reshape, f"{node.name}_{r}_column", [part],
                           target_shape=(1, size * groups, 1)))
    gates = add(keras.layers.Concatenate, f"{node.name}_columns", columns)
    gates = add(keras.layers.Activation, f"{node.name}_softmax", [gates], activation="softmax")
    parts = [add(keras.layers.Reshape, f"{node.name}_{r}_gates",
                 [add(ChannelSlice, f"{node.name}_{r}_gate", [gates], start=r, stop=r + 1)],
                 target_shape=(1, 1, size * groups)) for r in range(radix)]
    add(keras.layers.Concatenate, node.name, parts)
    return nodes


# One after the other: what the first ones make may be split
_SIMPLER: dict[str, Builder] = {
    "BatchNormalization": _make_scale, "Rescaling": _make_scale, "reskeras>BlurPool2D": _make_blur,
    "Add": _split_sum, "reskeras>RadixSoftmax": _split_radix_softmax}
_SPLIT: dict[str, Builder] = dict.fromkeys(KERNEL_LAYERS, _split_activation)
_GATES: dict[str, Builder] = {"Activation": _split_silu}


def is_relu(node: Node) -> bool:
    """Whether a layer is an activation that an integer operator before it computes at no cost."""
    return get_activation(node) in ("relu", "relu6")
