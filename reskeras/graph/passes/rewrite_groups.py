"""ResNeXt's three forms, a, b and c (arXiv:1611.05431, Figure 3).

A grouped convolution c  <=>  split, convolve, concatenate b; and after b a 1x1 convolution of the
concatenated paths  <=>  the sum of a 1x1 convolution of each path a.

    conv(concat(x_1 .. x_g); W) = sum over i of conv(x_i; W_i),  W_i the rows of W that read x_i; the first
    has the bias.
"""
from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from ...errors import check_choice
from ..graph import Graph
from ..keras_config import TensorRef
from ..layer_traits import (CHANNEL_SLICE, GROUPED_CONV, has_only_kernel_and_bias, is_elementwise,
                            why_not_fusible)
from ..node import Node, NodeKey, make_node
from ..pass_result import PassResult

# The arguments that the paths of one grouped convolution have in common
GEOMETRY = ("kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias",
            "data_format", "dtype", "filters")


def rewrite_groups(graph: Graph, form: str = "grouped") -> PassResult:
    """Brings all of a graph's grouped convolutions into one form.

    Args:
        form: "grouped" (c), "concat" (b), "sum" (a: if only the concatenation is before a 1x1 convolution).

    Raises:
        ArgumentError: for an unknown form.
    """
    check_choice("form", form, FORMS)
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for rewrite in FORMS[form]:
        result = rewrite(graph)
        graph = result.graph
        rewritten += result.rewritten
        declined |= result.declined
    return PassResult(graph, tuple(rewritten), declined)


# c => b

def _split_groups(graph: Graph) -> PassResult:
    """c => b: makes for each group a slice and a convolution; their concatenation keeps the name."""
    new_nodes: dict[NodeKey, list[Node]] = {}
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name not in ("Conv2D", GROUPED_CONV) or node.config["groups"] == 1:
            continue
        if graph.is_shared(node):
            declined[node.name] = "it is shared"
        elif not has_only_kernel_and_bias(node):
            declined[node.name] = "it has more than a kernel and a bias"
        elif not _has_separate_channels(node):
            declined[node.name] = "its channels are not last, or its activation sees all"
        else:
            new_nodes[node.key] = _make_paths(graph, node)
    return PassResult(graph.edit(new_nodes, {}), tuple(name for name, _ in new_nodes), declined)


def _has_separate_channels(node: Node) -> bool:
    """Whether a convolution can be computed by groups of its last axis."""
    return node.config["data_format"] == "channels_last" and is_elementwise(node.config["activation"])


def _make_paths(graph: Graph, node: Node) -> list[Node]:
    """Makes a slice and a convolution for each group, and their concatenation."""
    groups = node.config["groups"]
    width, slice_class = node.weights[0].shape[2], keras.saving.get_registered_object(CHANNEL_SLICE)
    nodes: list[Node] = []
    paths: list[TensorRef] = []
    for i, weights in enumerate(zip(*(np.split(w, groups, axis=-1) for w in node.weights))):
        part = make_node(slice_class, graph.find_unused_name(f"{node.name}_slice{i + 1}"), node.inputs, node,
                         start=i * width, stop=(i + 1) * width)
        name = graph.find_unused_name(f"{node.name}_path{i + 1}")
        config = {**node.config, "name": name, "groups": 1, "filters": weights[0].shape[-1]}
        path = replace(node, name=name, layer_class=keras.layers.Conv2D, config=config, weights=weights)
        nodes += [part, path.with_inputs({node.inputs[0]: part.output})]
        paths.append(path.output)
    return [*nodes, make_node(keras.layers.Concatenate, node.name, paths, node)]


# b => c

def _join_groups(graph: Graph) -> PassResult:
    """b => c: replaces the concatenation of equal convolutions of the successive slices of one tensor."""
    new_nodes: dict[NodeKey, list[Node]] = {}
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name != "Concatenate":
            continue
        paths = [graph.get_node(ref) for ref in node.inputs]
        if reason := _why_not_groups(graph, node, paths):
            declined[node.name] = reason
            continue
        pads = _find_paddings(graph, paths)
        slices = [graph.get_node(layer.inputs[0]) for layer in pads or paths]
        whole_input = {layer.output: slices[0].inputs[0] for layer in slices}
        new_nodes |= {other.key: [] for other in (*paths, *pads, *slices)}
        new_nodes[node.key] = [layer.with_inputs(whole_input)
                               for layer in (*pads[:1], _make_grouped(node, paths))]
        rewritten.append(node.name)
    return PassResult(graph.edit(new_nodes, {}), tuple(rewritten), declined)


def _make_grouped(node: Node, paths: list[Node]) -> Node:
    """Makes one grouped convolution for all paths, with the name of their concatenation."""
    filters = len(paths) * paths[0].config["filters"]
    config = {**paths[0].config, "name": node.name, "groups": len(paths), "filters": filters}
    weights = tuple(np.concatenate(w, axis=-1) for w in zip(*(path.weights for path in paths)))
    layer_class = keras.saving.get_registered_object(GROUPED_CONV)
    return replace(paths[0], name=node.name, layer_class=layer_class, config=config, weights=weights)


def _find_paddings(graph: Graph, paths: list[Node]) -> list[Node]:
    """The zero paddings before the paths, if each path has the same; otherwise []."""
    pads = [graph.get_node(path.inputs[0]) for path in paths]
    are_same = all(pad.type_name == "ZeroPadding2D" and pad.config["padding"] == pads[0].config["padding"]
                   for pad in pads)
    return pads if are_same and not any(why_not_fusible(graph, pad) for pad in pads) else []


def _why_not_groups(graph: Graph, node: Node, paths: list[Node]) -> str:
    if node.config["axis"] not in (-1, 3) or len(paths) < 2 or graph.is_shared(node):
        return "it is not a concatenation of the channels of several paths"
    if any(path.type_name != "Conv2D" or path.config["groups"] > 1 or why_not_fusible(graph, path)
           for path in paths):
        return "its inputs are not convolutions, or others read them too"
    if not all(map(has_only_kernel_and_bias, paths)):
        return "its paths have more than a kernel and a bias"
    if not all(map(_has_separate_channels, paths)):
        return "the channels of its paths are not last, or their activation sees all"
    if any(str(path.config[argument]) != str(paths[0].config[argument])
           for path in paths for argument in GEOMETRY):
        return "its paths are not of equal geometry"
    slices = [graph.get_node(layer.inputs[0]) for layer in _find_paddings(graph, paths) or paths]
    return _why_not_slices(graph, slices)


def _why_not_slices(graph: Graph, slices: list[Node]) -> str:
    """Why these are not successive equal slices of all channels of one tensor; "" if they are."""
    if any(part.type_name != CHANNEL_SLICE or why_not_fusible(graph, part) or part.inputs != slices[0].inputs
           for part in slices):
        return "its paths do not read slices of one tensor, each its own"
    ends = [0, *(part.config["stop"] for part in slices)]
    width = ends[1]
    shape = graph.shapes.get(slices[0].inputs[0]) or (None,)
    are_successive = all(part.config["start"] == start for part, start in zip(slices, ends))
    are_equal = all(stop - start == width for start, stop in zip(ends, ends[1:]))
    return "" if are_successive and are_equal and shape[-1] == ends[-1] else \
        "the slices are not all of the channels in equal parts"


# b => a

def _split_sums(graph: Graph) -> PassResult:
    """b => a: replaces a 1x1 convolution of a concatenation by a sum of convolutions, with its name."""
    new_nodes: dict[NodeKey, list[Node]] = {}
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for node in graph.nodes:
        concat = graph.get_node(node.inputs[0]) if node.type_name == "Conv2D" else None
        if concat is None or not _concatenates_convolutions(graph, concat):
            continue
        if reason := _why_not_sum(graph, node, concat):
            declined[node.name] = reason
            continue
        paths = _make_sum_paths(graph, node, concat)
        new_nodes[concat.key] = []
        addition = make_node(keras.layers.Add, node.name, [path.output for path in paths], node)
        new_nodes[node.key] = [*paths, addition]
        rewritten.append(node.name)
    return PassResult(graph.edit(new_nodes, {}), tuple(rewritten), declined)


def _make_sum_paths(graph: Graph, node: Node, concat: Node) -> list[Node]:
    """Makes a 1x1 convolution for each path, with its rows of the kernel; the first has the bias."""
    kernel, *bias = node.weights
    widths = [graph.get_node(ref).config["filters"] for ref in concat.inputs]
    parts = np.split(kernel, np.cumsum(widths)[:-1], axis=2)
    paths: list[Node] = []
    for i, (ref, part) in enumerate(zip(concat.inputs, parts)):
        name = graph.find_unused_name(f"{node.name}_path{i + 1}")
        path_bias = bias if i == 0 else []
        config = {**node.config, "name": name, "use_bias": bool(path_bias)}
        path = replace(node, name=name, config=config, weights=(part, *path_bias))
        paths.append(path.with_inputs({concat.output: ref}))
    return paths


def _concatenates_convolutions(graph: Graph, node: Node) -> bool:
    if node.type_name != "Concatenate" or node.config["axis"] not in (-1, 3):
        return False
    return all(graph.get_node(ref).type_name == "Conv2D" for ref in node.inputs)


def _why_not_sum(graph: Graph, node: Node, concat: Node) -> str:
    if tuple(node.config["kernel_size"]) != (1, 1) or node.config["groups"] > 1 or graph.is_shared(node):
        return "it is shared, or is no 1x1 convolution without groups"
    if not has_only_kernel_and_bias(node):
        return "it has more than a kernel and a bias"
    if node.config["activation"] != "linear":
        return "its activation comes after the sum"
    return why_not_fusible(graph, concat)


# a => b

def _join_sums(graph: Graph) -> PassResult:
    """a => b: replaces the sum of equal 1x1 convolutions by one convolution of their concatenation."""
    new_nodes: dict[NodeKey, list[Node]] = {}
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name != "Add" or len(node.inputs) < 2:
            continue
        ends = [graph.get_node(ref) for ref in node.inputs]
        if reason := _why_not_concat(graph, ends):
            declined[node.name] = reason
            continue
        concat = make_node(keras.layers.Concatenate, graph.find_unused_name(f"{node.name}_paths"),
                           [end.inputs[0] for end in ends], node)
        whole = _make_whole(node, ends).with_inputs({ends[0].inputs[0]: concat.output})
        new_nodes |= {end.key: [] for end in ends} | {node.key: [concat, whole]}
        rewritten.append(node.name)
    return PassResult(graph.edit(new_nodes, {}), tuple(rewritten), declined)


def _make_whole(node: Node, ends: list[Node]) -> Node:
    """Makes one 1x1 convolution for the sum of several, with the name of the sum; adds the biases."""
    kernel = np.concatenate([end.weights[0] for end in ends], axis=2)
    biases = [end.weights[1] for end in ends if end.config["use_bias"]]
    bias = [np.sum(biases, axis=0)] if biases else []
    config = {**ends[0].config, "name": node.name, "use_bias": bool(bias)}
    return replace(ends[0], name=node.name, config=config, weights=(kernel, *bias))


def _why_not_concat(graph: Graph, ends: list[Node]) -> str:
    for end in ends:
        is_linear = end.type_name == "Conv2D" and end.config["activation"] == "linear"
        if not is_linear or tuple(end.config["kernel_size"]) != (1, 1) or end.config["groups"] > 1 \
                or not has_only_kernel_and_bias(end) or why_not_fusible(graph, end):
            return f"{end.name} is not a linear 1x1 convolution with one reader, a kernel and at most a bias"
        if any(str(end.config[f]) != str(ends[0].config[f]) for f in GEOMETRY if f != "use_bias"):
            return "its paths are not of equal geometry"
        if graph.get_node(end.inputs[0]).type_name != "Conv2D":
            return f"{end.name} reads no convolution"
    sizes = {shape[1:3] if shape else None for shape in (graph.shapes.get(end.inputs[0]) for end in ends)}
    return "its paths are not of one size" if len(sizes) > 1 or None in sizes else ""


FORMS = {"grouped": (_join_sums, _join_groups), "concat": (_join_sums, _split_groups),
         "sum": (_split_groups, _split_sums)}
