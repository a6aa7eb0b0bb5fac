"""A nested functional or sequential model  =>  its layers, which the other passes then see."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Iterable

import keras

from ..graph import Graph
from ..keras_config import TensorRef, find_refs, is_tensor_config, list_refs, map_argument_refs
from ..node import Node
from ..pass_result import PassResult


def inline(graph: Graph, keeps_output_names: bool = True) -> PassResult:
    """Replaces every nested model that is called once by its layers, until none is left.

    If the name of a layer is used already, the nested model's name is put before it.  Declines if the nested
    model is shared, is an output of the model, is subclassed, is called with training=True, or casts its
    inputs to integers or from integers.

    Args:
        graph: the graph.
        keeps_output_names: whether a nested model that is an output stays, so that the output has its name.
    """
    rewritten: list[str] = []
    while True:
        declined: dict[str, str] = {}
        for node in graph.nodes:
            if not issubclass(node.layer_class, keras.Model):
                continue
            if reason := _why_not(graph, node, keeps_output_names):
                declined[node.name] = reason
                continue
            graph = _splice(graph, node)
            rewritten.append(node.name)
            break
        else:
            return PassResult(graph, tuple(rewritten), declined)


def inline_nested_models(model: keras.Model) -> keras.Model:
    """A model of the same function and weights without nested models, whichever `inline` can replace.

    Args:
        model: a functional or sequential model.

    Returns:
        A new model, for inference; or `model` itself if nothing is nested in it.

    Raises:
        ValueError: if the model has no graph.
    """
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    result = inline(Graph.of(model), keeps_output_names=False)
    return result.graph.build() if result.rewritten else model


def _why_not(graph: Graph, node: Node, keeps_output_names: bool) -> str:
    if graph.is_shared(node):
        return ("it is shared; a copy of it for each call, keras.models.clone_model(net) with set_weights, "
                "is inlined")
    if keeps_output_names and graph.is_output(node):
        return "it is an output of the model"
    if node.is_training_call:
        return "it is called with training=True"
    if "layers" not in node.config:
        return "it is subclassed and has no graph"
    return "it casts its input to a different type" if _casts_input(graph, node) else ""


def _casts_input(graph: Graph, node: Node) -> bool:
    """Whether a nested model has an integer input for a float tensor, or the reverse."""
    def find_types(configs: Iterable[dict[str, Any]]) -> set[str]:
        names = {str(config.get("dtype", "float32")) for config in configs}
        return {"float" if "float" in name else name for name in names}
    inputs = (layer for layer in node.config["layers"] if layer["class_name"] == "InputLayer")
    inside = find_types(layer["config"] for layer in inputs)
    return bool(inside) and inside != find_types(graph.get_node(ref).config for ref in node.inputs)


def _splice(graph: Graph, node: Node) -> Graph:
    """The graph with a nested model replaced by its layers."""
    model = node.make_layer()
    node.set_layer_weights(model)
    inner = Graph.of(model)

    taken = graph.call_counts.keys() - {node.name}
    # a new name must also differ from those of the nested layers
    both = replace(graph, nodes=(*graph.nodes, *inner.nodes))
    names = {name: both.find_unused_name(f"{node.name}_{name}") if name in taken else name
             for name in inner.call_counts}

    def rename(ref: TensorRef) -> TensorRef:
        return names[ref[0]], ref[1], ref[2]
    entries = [inner.get_node(ref).key for ref in list_refs(inner.inputs)]
    nodes = [_rename_node(n, names[n.name], rename) for n in inner.nodes if n.key not in entries]
    new_tensors = {rename((*key, 0)): ref
                   for key, ref in zip(entries, _find_inputs(node, inner), strict=True)}
    new_tensors |= {(*node.key, i): rename(ref) for i, ref in enumerate(list_refs(inner.outputs))}
    return graph.edit({node.key: nodes}, new_tensors)


def _find_inputs(node: Node, inner: Graph) -> list[TensorRef]:
    """The tensors that a nested model is called on, in the order of its inputs."""
    tensors = node.args[0] if node.args else node.kwargs["inputs"]
    if not isinstance(tensors, dict) or is_tensor_config(tensors) or "class_name" in tensors:
        return list(node.inputs)
    # a dictionary: Keras flattens it in the order of its keys, or uses the names of the inputs
    names = [name for name, _, _ in list_refs(inner.inputs)]
    keys = sorted(tensors) if isinstance(inner.inputs, dict) else names
    return [ref for key in keys for ref in find_refs(tensors[key])]


def _rename_node(node: Node, name: str, rename: Callable[[TensorRef], TensorRef]) -> Node:
    return replace(node, name=name, config={**node.config, "name": name},
                   args=map_argument_refs(node.args, rename), kwargs=map_argument_refs(node.kwargs, rename))
