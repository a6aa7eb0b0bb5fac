"""Sibling convolutions of one tensor, W1 x and W2 x  =>  one convolution [W1 W2] x, and channel slices."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from ..graph import Graph
from ..layer_traits import CHANNEL_SLICE, has_only_kernel_and_bias, is_elementwise
from ..node import Node, NodeKey, make_node
from ..pass_result import PassResult

# The arguments that siblings have in common
GEOMETRY = ("kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "data_format",
            "dtype")


def merge_branches(graph: Graph) -> PassResult:
    """Merges every set of plain convolutions of one tensor with equal geometry and activation.

    A slice of the channels gets the name of each convolution.  Declines a convolution that is shared or
    grouped, has the channels first or an activation across channels, or has no sibling of its geometry.
    """
    families: dict[tuple[Any, ...], list[Node]] = {}
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name == "Conv2D":
            if reason := _why_not(graph, node):
                declined[node.name] = reason
            else:
                geometry = (str(node.config[argument]) for argument in GEOMETRY)
                families.setdefault((node.inputs[0], *geometry), []).append(node)

    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    rewritten: list[str] = []
    for siblings in families.values():
        if len(siblings) == 1:
            declined[siblings[0].name] = "no other convolution of its geometry reads the same tensor"
            continue
        merged = _merge(siblings, graph.find_unused_name(f"{siblings[0].name}_merged"))
        slices = _slice_channels(siblings, merged)
        new_nodes |= {node.key: (part,) for node, part in zip(siblings, slices)}
        new_nodes[siblings[0].key] = (merged, slices[0])
        rewritten += [node.name for node in siblings]
    return PassResult(graph.edit(new_nodes, {}), tuple(rewritten), declined)


def _why_not(graph: Graph, node: Node) -> str:
    if graph.is_shared(node):
        return "it is shared"
    if node.config["groups"] > 1:
        return "it is grouped"
    if not has_only_kernel_and_bias(node):
        return "it has more than a kernel and a bias"
    if not is_elementwise(node.config["activation"]):
        return "its activation sees all channels"
    return "" if node.config["data_format"] == "channels_last" else "its channels are not last"


def _merge(siblings: list[Node], name: str) -> Node:
    """Makes one convolution with the channels of all siblings, in order."""
    kernel = np.concatenate([node.weights[0] for node in siblings], axis=-1)
    biases = [node.weights[1] if node.config["use_bias"] else np.zeros(node.config["filters"], kernel.dtype)
              for node in siblings]
    has_bias = any(node.config["use_bias"] for node in siblings)
    config = {**siblings[0].config, "name": name, "filters": kernel.shape[-1], "use_bias": has_bias}
    weights = (kernel, *([np.concatenate(biases)] if has_bias else []))
    return replace(siblings[0], name=name, config=config, weights=weights)


def _slice_channels(siblings: list[Node], merged: Node) -> list[Node]:
    """Makes for each sibling, with its name, a slice of its channels of the merged convolution."""
    slice_class = keras.saving.get_registered_object(CHANNEL_SLICE)
    stops = np.cumsum([node.config["filters"] for node in siblings])
    return [make_node(slice_class, node.name, (merged.output,), node,
                      start=int(stop) - node.config["filters"], stop=int(stop))
            for node, stop in zip(siblings, stops)]
