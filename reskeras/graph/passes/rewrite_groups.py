"""ResNeXt's three forms (arXiv:1611.05431, Figure 3): a grouped convolution c  <=>  split, convolve, concatenate b; and
behind b a 1x1 convolution of the concatenated paths  <=>  the sum of a 1x1 convolution of each path a.

    conv(concat(x_1 .. x_g); W) = sum over i of conv(x_i; W_i),  W_i the rows of W that read x_i; the first has the bias.
"""
from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from ..graph import Graph, Key, Node, call
from ..pass_result import Rewritten
from ..keras_config import Ref
from ..layer_traits import GROUPED, SLICE, alone, elementwise

GEOMETRY = ("kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias", "data_format", "dtype",
            "filters")


def rewrite_groups(graph: Graph, form: str = "grouped") -> Rewritten:
    """All of a graph's grouped convolutions in one form.

    Arguments:
        form: "grouped" (c), "concat" (b), "sum" (a: where nothing but the concatenation lies before a 1x1 convolution).
    Raises: ValueError for another form.
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r}: expected one of {', '.join(map(repr, FORMS))}")
    done: list[str] = []
    declined: dict[str, str] = {}
    for step in FORMS[form]:
        result = step(graph)
        graph = result.graph
        done += result.done
        declined |= result.declined
    return Rewritten(graph, tuple(done), declined)


def _split_groups(graph: Graph) -> Rewritten:
    """c => b: a convolution for each group, on a slice of the channels.  Their concatenation takes the layer's name."""
    new: dict[Key, list[Node]] = {}
    declined = {}
    for node in graph.nodes:
        if node.word not in ("Conv2D", GROUPED) or node.config["groups"] == 1:
            continue
        if graph.shared(node) or not _of_channels(node):
            reason = "its channels are not last, or its activation sees all"
            declined[node.name] = "it is shared" if graph.shared(node) else reason
            continue
        groups = node.config["groups"]
        kernel, *bias = node.weights
        wide, slice_kind = kernel.shape[2], keras.saving.get_registered_object(SLICE)
        made: list[Node] = []
        paths: list[Ref] = []
        for i, (own, *b) in enumerate(zip(*(np.split(w, groups, axis=-1) for w in (kernel, *bias)))):
            part = call(slice_kind, graph.free(f"{node.name}_slice{i + 1}"), node.inputs, node,
                        start=i * wide, stop=(i + 1) * wide)
            name = graph.free(f"{node.name}_path{i + 1}")
            config = {**node.config, "name": name, "groups": 1, "filters": own.shape[-1]}
            path = replace(node, name=name, kind=keras.layers.Conv2D, config=config, weights=(own, *b))
            made += [part, path.reading({node.inputs[0]: part.output})]
            paths.append(path.output)
        new[node.key] = [*made, call(keras.layers.Concatenate, node.name, paths, node)]
    return Rewritten(graph.edit(new, {}), tuple(name for name, _ in new), declined)


def _of_channels(node: Node) -> bool:
    """Whether a convolution can be computed by groups of its last axis."""
    return node.config["data_format"] == "channels_last" and elementwise(node.config["activation"])


def _join_groups(graph: Graph) -> Rewritten:
    """b => c: the concatenation of equal convolutions of the successive slices of one tensor."""
    new: dict[Key, list[Node]] = {}
    declined, done = {}, []
    for node in graph.nodes:
        if node.word != "Concatenate":
            continue
        paths = [graph.node(ref) for ref in node.inputs]
        if reason := _no_groups(graph, node, paths):
            declined[node.name] = reason
            continue
        pads = _padded(graph, paths)
        slices = [graph.node(layer.inputs[0]) for layer in pads or paths]
        filters = len(paths) * paths[0].config["filters"]
        config = {**paths[0].config, "name": node.name, "groups": len(paths), "filters": filters}
        weights = tuple(np.concatenate(w, axis=-1) for w in zip(*(path.weights for path in paths)))
        kind = keras.saving.get_registered_object(GROUPED)
        whole = replace(paths[0], name=node.name, kind=kind, config=config, weights=weights)
        moved = {layer.output: slices[0].inputs[0] for layer in slices}
        new |= {other.key: [] for other in (*paths, *pads, *slices)}
        new[node.key] = [layer.reading(moved) for layer in (*pads[:1], whole)]
        done.append(node.name)
    return Rewritten(graph.edit(new, {}), tuple(done), declined)


def _padded(graph: Graph, paths: list[Node]) -> list[Node]:
    """The zero paddings before the paths, where each has the same."""
    pads = [graph.node(path.inputs[0]) for path in paths]
    same = all(pad.word == "ZeroPadding2D" and pad.config["padding"] == pads[0].config["padding"] for pad in pads)
    return pads if same and not any(alone(graph, pad) for pad in pads) else []


def _no_groups(graph: Graph, node: Node, paths: list[Node]) -> str:
    if node.config["axis"] not in (-1, 3) or len(paths) < 2 or graph.shared(node):
        return "it is no concatenation of the channels of several paths"
    if any(path.word != "Conv2D" or path.config["groups"] > 1 or alone(graph, path) for path in paths):
        return "its inputs are not convolutions that it alone reads"
    if not all(map(_of_channels, paths)):
        return "the channels of its paths are not last, or their activation sees all"
    if any(str(path.config[f]) != str(paths[0].config[f]) for path in paths for f in GEOMETRY):
        return "its paths are not of equal geometry"
    slices = [graph.node(layer.inputs[0]) for layer in _padded(graph, paths) or paths]
    if any(part.word != SLICE or alone(graph, part) or part.inputs != slices[0].inputs for part in slices):
        return "its paths do not read slices of one tensor, each its own"
    ends = [0, *(part.config["stop"] for part in slices)]
    each = ends[1]
    whole = graph.shapes.get(slices[0].inputs[0]) or (None,)
    in_turn = all(part.config["start"] == start for part, start in zip(slices, ends))
    equal = all(stop - start == each for start, stop in zip(ends, ends[1:]))
    return "" if in_turn and equal and whole[-1] == ends[-1] else "the slices are not all of the channels in equal parts"


def _split_sums(graph: Graph) -> Rewritten:
    """b => a: a 1x1 convolution of a concatenation becomes the sum of one of each path, under its name."""
    new: dict[Key, list[Node]] = {}
    declined, done = {}, []
    for node in graph.nodes:
        paths = graph.node(node.inputs[0]) if node.word == "Conv2D" else None
        if paths is None or paths.word != "Concatenate" or not _concat_of_paths(graph, paths):
            continue
        if reason := _no_sum(graph, node, paths):
            declined[node.name] = reason
            continue
        kernel, *bias = node.weights
        widths = [graph.node(ref).config["filters"] for ref in paths.inputs]
        parts = np.split(kernel, np.cumsum(widths)[:-1], axis=2)
        each: list[Node] = []
        for i, (ref, part) in enumerate(zip(paths.inputs, parts)):
            name = graph.free(f"{node.name}_path{i + 1}")
            own = bias if i == 0 else []
            config = {**node.config, "name": name, "use_bias": bool(own)}
            each.append(replace(node, name=name, config=config, weights=(part, *own)).reading({paths.output: ref}))
        new[paths.key] = []
        new[node.key] = [*each, call(keras.layers.Add, node.name, [path.output for path in each], node)]
        done.append(node.name)
    return Rewritten(graph.edit(new, {}), tuple(done), declined)


def _concat_of_paths(graph: Graph, node: Node) -> bool:
    return all(graph.node(ref).word == "Conv2D" for ref in node.inputs) and node.config["axis"] in (-1, 3)


def _no_sum(graph: Graph, node: Node, paths: Node) -> str:
    if tuple(node.config["kernel_size"]) != (1, 1) or node.config["groups"] > 1 or graph.shared(node):
        return "it is no 1x1 convolution of its own"
    if node.config["activation"] != "linear":
        return "its activation stands behind the sum"
    return alone(graph, paths)


def _join_sums(graph: Graph) -> Rewritten:
    """a => b: the sum of equal 1x1 convolutions, each of a convolution's output, becomes one of their concatenation."""
    new: dict[Key, list[Node]] = {}
    declined, done = {}, []
    for node in graph.nodes:
        if node.word != "Add" or len(node.inputs) < 2:
            continue
        ends = [graph.node(ref) for ref in node.inputs]
        if reason := _no_paths(graph, ends):
            declined[node.name] = reason
            continue
        both = call(keras.layers.Concatenate, graph.free(f"{node.name}_paths"), [end.inputs[0] for end in ends], node)
        kernel = np.concatenate([end.weights[0] for end in ends], axis=2)
        biases = [end.weights[1] for end in ends if end.config["use_bias"]]
        bias = [np.sum(biases, axis=0)] if biases else []
        config = {**ends[0].config, "name": node.name, "use_bias": bool(bias)}
        whole = replace(ends[0], name=node.name, config=config, weights=(kernel, *bias))
        new |= {end.key: [] for end in ends} | {node.key: [both, whole.reading({ends[0].inputs[0]: both.output})]}
        done.append(node.name)
    return Rewritten(graph.edit(new, {}), tuple(done), declined)


def _no_paths(graph: Graph, ends: list[Node]) -> str:
    for end in ends:
        linear = end.word == "Conv2D" and end.config["activation"] == "linear" and tuple(end.config["kernel_size"]) == (1, 1)
        if not linear or end.config["groups"] > 1 or alone(graph, end):
            return f"{end.name} is no linear 1x1 convolution that it alone reads"
        if any(str(end.config[f]) != str(ends[0].config[f]) for f in GEOMETRY if f != "use_bias"):
            return "its paths are not of equal geometry"
        if graph.node(end.inputs[0]).word != "Conv2D":
            return f"{end.name} reads no convolution"
    sizes = {shape[1:3] if shape else None for shape in (graph.shapes.get(end.inputs[0]) for end in ends)}
    return "its paths are not of one size" if len(sizes) > 1 or None in sizes else ""


FORMS = {"grouped": (_join_sums, _join_groups), "concat": (_join_sums, _split_groups), "sum": (_split_groups, _split_sums)}
