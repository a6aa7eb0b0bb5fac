"""A nested functional or sequential model  =>  its layers, which the other passes then see."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterable

import keras

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..keras_config import Ref, is_tensor, map_tensors, refs_in, tensors_in


def inline(graph: Graph) -> Rewritten:
    """Every nested model that is called once, until none is left.

    A layer whose name is taken gets the nested model's before its own.  Declines where the nested model is shared, is an
    output of the model, whose name must stay, is subclassed, is called with training=True, or casts what it is called on
    to integers, or from them.
    """
    done: list[str] = []
    while True:
        declined: dict[str, str] = {}
        for node in graph.nodes:
            if not issubclass(node.kind, keras.Model):
                continue
            if reason := _why_not(graph, node):
                declined[node.name] = reason
                continue
            graph = _spliced(graph, node)
            done.append(node.name)
            break
        else:
            return Rewritten(graph, tuple(done), declined)


def _why_not(graph: Graph, node: Node) -> str:
    if graph.shared(node) or graph.is_output(node):
        return "it is shared" if graph.shared(node) else "it is an output of the model"
    if node.trains:
        return "it is called with training=True"
    if "layers" not in node.config:
        return "it is subclassed and has no graph"
    return "it casts its input to another type" if casts(graph, node) else ""


def casts(graph: Graph, node: Node) -> bool:
    """Whether a nested model has inputs of integers for tensors of floats, or the reverse."""
    def types(configs: Iterable[dict[str, Any]]) -> set[str]:
        names = {str(config.get("dtype", "float32")) for config in configs}
        return {"float" if "float" in name else name for name in names}
    inside = types(layer["config"] for layer in node.config["layers"] if layer["class_name"] == "InputLayer")
    return bool(inside) and inside != types(graph.node(ref).config for ref in node.inputs)


def _spliced(graph: Graph, node: Node) -> Graph:
    model = node.layer()
    node.fill(model)
    inner = Graph.of(model)
    taken = graph.calls.keys() - {node.name}
    free = replace(graph, nodes=(*graph.nodes, *inner.nodes)).free      # a new name must not be one of its own layers'
    names = {name: free(f"{node.name}_{name}") if name in taken else name for name in inner.calls}

    def ours(ref: Ref) -> Ref:
        return names[ref[0]], ref[1], ref[2]
    entries = [inner.node(ref).key for ref in refs_in(inner.inputs)]
    nodes = [_renamed(n, names[n.name], ours) for n in inner.nodes if n.key not in entries]
    moved = {ours((*key, 0)): ref for key, ref in zip(entries, given(node, inner), strict=True)}
    moved |= {(*node.key, i): ours(ref) for i, ref in enumerate(refs_in(inner.outputs))}
    return graph.edit({node.key: nodes}, moved)


def given(node: Node, inner: Graph) -> list[Ref]:
    """The tensors that a nested model is called on, in the order of its inputs: by their names, or as Keras flattens them."""
    tensors = node.args[0] if node.args else node.kwargs["inputs"]
    if not isinstance(tensors, dict) or is_tensor(tensors) or "class_name" in tensors:
        return list(node.inputs)
    keys = sorted(tensors) if isinstance(inner.inputs, dict) else [name for name, _, _ in refs_in(inner.inputs)]
    return [ref for key in keys for ref in tensors_in(tensors[key])]


def _renamed(node: Node, name: str, ours) -> Node:
    return replace(node, name=name, config={**node.config, "name": name},
                   args=map_tensors(node.args, ours), kwargs=map_tensors(node.kwargs, ours))
