"""Dropout, stochastic depth, DropBlock, noise, Identity, linear Activation  =>  nothing (at inference)."""
from __future__ import annotations

from ..graph import Graph
from ..layer_traits import NOOPS, get_activation
from ..node import Node
from ..pass_result import PassResult


def drop_noops(graph: Graph) -> PassResult:
    """Removes the layers that do nothing at inference.

    Declines if the layer is an output of the model (its name must stay), is called with training=True, or has
    a dtype policy other than that of the layer before it, and so casts.
    """
    sites = [node for node in graph.nodes if node.type_name in NOOPS or get_activation(node) == "linear"]
    declined = {node.name: reason for node in sites if (reason := _why_not(graph, node))}
    removed = [node for node in sites if node.name not in declined]
    new_tensors = {node.output: node.inputs[0] for node in removed}
    graph = graph.edit({node.key: () for node in removed}, new_tensors)
    return PassResult(graph, tuple(node.name for node in removed), declined)


def _why_not(graph: Graph, node: Node) -> str:
    if graph.is_output(node):
        return "it is an output of the model"
    if node.is_training_call:
        return "it is called with training=True"
    if len(node.inputs) != 1:
        return "it has several inputs"
    before = _get_policy(graph.get_node(node.inputs[0]))
    return "it casts to a different dtype" if before not in (None, _get_policy(node)) else ""


def _get_policy(node: Node) -> str | None:
    """The name of a node's dtype policy; None for a bare operation."""
    dtype = node.config.get("dtype")
    return dtype["config"]["name"] if isinstance(dtype, dict) else dtype
