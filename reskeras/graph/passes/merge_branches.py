"""Sibling convolutions of one tensor, W1 x and W2 x  =>  one convolution [W1 W2] x, whose channels are then sliced."""
from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from ..graph import Graph, Key, Node, call
from ..pass_result import Rewritten
from ..layer_traits import SLICE, elementwise

SAME = ("kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "data_format", "dtype")


def merge_branches(graph: Graph) -> Rewritten:
    """Every set of plain convolutions of one tensor with equal geometry and activation.  A slice takes the name of each.

    Declines a convolution that is shared, grouped, has the channels first or an activation across them, or no sibling of its
    geometry.
    """
    families: dict[tuple, list[Node]] = {}
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.word == "Conv2D":
            if reason := _why_not(graph, node):
                declined[node.name] = reason
            else:
                families.setdefault((node.inputs[0], *(str(node.config[f]) for f in SAME)), []).append(node)
    new: dict[Key, tuple[Node, ...]] = {}
    done: list[str] = []
    for siblings in families.values():
        if len(siblings) == 1:
            declined[siblings[0].name] = "no other convolution of its geometry reads the same tensor"
            continue
        first = siblings[0]
        whole = merged(siblings, graph.free(f"{first.name}_merged"))
        stops = np.cumsum([node.config["filters"] for node in siblings])
        slice_kind = keras.saving.get_registered_object(SLICE)
        for node, stop in zip(siblings, stops):
            part = call(slice_kind, node.name, (whole.output,), node, start=int(stop) - node.config["filters"], stop=int(stop))
            new[node.key] = (whole, part) if node is first else (part,)
        done += [node.name for node in siblings]
    return Rewritten(graph.edit(new, {}), tuple(done), declined)


def _why_not(graph: Graph, node: Node) -> str:
    if graph.shared(node):
        return "it is shared"
    if node.config["groups"] > 1:
        return "it is grouped"
    if len(node.weights) != 1 + node.config["use_bias"]:
        return "it has more than a kernel and a bias"
    if not elementwise(node.config["activation"]):
        return "its activation sees all channels"
    return "" if node.config["data_format"] == "channels_last" else "its channels are not last"


def merged(siblings: list[Node], name: str) -> Node:
    kernel = np.concatenate([node.weights[0] for node in siblings], axis=-1)
    biases = [node.weights[1] if node.config["use_bias"] else np.zeros(node.config["filters"], kernel.dtype) for node in siblings]
    some = any(node.config["use_bias"] for node in siblings)
    config = {**siblings[0].config, "name": name, "filters": kernel.shape[-1], "use_bias": some}
    return replace(siblings[0], name=name, config=config, weights=(kernel, *([np.concatenate(biases)] if some else [])))
