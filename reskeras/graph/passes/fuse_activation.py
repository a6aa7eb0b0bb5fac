"""A linear layer and the activation that reads it  =>  the layer with that activation: f(W x + b)."""
from __future__ import annotations

from ..graph import Graph
from ..keras_config import TensorRef
from ..layer_traits import ACTIVATIONS, LINEAR, get_activation, why_not_fusible
from ..node import Node, NodeKey
from ..pass_result import PassResult


def fuse_activation(graph: Graph) -> PassResult:
    """Fuses every activation into the linear layer before it, if nothing else reads that layer.

    Declines if that layer has an activation already, other readers or a different dtype policy, or is shared.
    Declines also if the activation is an output of the model, or has parameters that its name does not tell.
    """
    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    new_tensors: dict[TensorRef, TensorRef] = {}
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name not in ACTIVATIONS or len(node.inputs) != 1:
            continue
        source = graph.get_node(node.inputs[0])
        if reason := _why_not(graph, node, source):
            declined[node.name] = reason
            continue
        new_nodes |= {source.key: (source.with_config(activation=get_activation(node)),), node.key: ()}
        new_tensors[node.output] = source.output
        rewritten.append(node.name)
    return PassResult(graph.edit(new_nodes, new_tensors), tuple(rewritten), declined)


def _why_not(graph: Graph, node: Node, source: Node) -> str:
    if source.type_name not in LINEAR:
        return f"it reads {source.type_name or source.layer_class.__name__}, which is not linear"
    if source.config["activation"] != "linear":
        return f"{source.name} has an activation"
    if graph.is_output(node) or graph.is_shared(node):
        return "it is an output of the model" if graph.is_output(node) else "it is shared"
    if get_activation(node) is None:
        return f"{node.type_name} with these parameters has no name"
    if node.config["dtype"] != source.config["dtype"]:
        return f"{source.name} has a different dtype policy"
    return why_not_fusible(graph, source)
