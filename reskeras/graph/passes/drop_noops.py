"""Dropout, stochastic depth, DropBlock, noise, Identity, a linear Activation  =>  nothing: all are x -> x at inference."""
from __future__ import annotations

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..layer_traits import NOOPS, activation


def drop_noops(graph: Graph) -> Rewritten:
    """The graph without the layers that do nothing at inference.

    Declines where one is an output of the model, whose name must stay, is called with training=True, or has another dtype
    policy than the layer before it, and so casts.
    """
    sites = [node for node in graph.nodes if node.word in NOOPS or activation(node) == "linear"]
    declined = {node.name: reason for node in sites if (reason := _why_not(graph, node))}
    gone = [node for node in sites if node.name not in declined]
    return Rewritten(graph.edit({node.key: () for node in gone}, {node.output: node.inputs[0] for node in gone}),
                     tuple(node.name for node in gone), declined)


def _why_not(graph: Graph, node: Node) -> str:
    if graph.is_output(node):
        return "it is an output of the model"
    if node.trains:
        return "it is called with training=True"
    if len(node.inputs) != 1:
        return "it has several inputs"
    return "it casts to another dtype" if policy(graph.node(node.inputs[0])) not in (None, policy(node)) else ""


def policy(node: Node) -> str | None:
    """The name of a dtype policy; None of a bare operation."""
    own = node.config.get("dtype")
    return own["config"]["name"] if isinstance(own, dict) else own
