"""Dropout, stochastic depth, DropBlock, Identity, a linear Activation  =>  nothing: all are x -> x at inference."""
from __future__ import annotations

from keras import layers

from ..graph import Graph, Node

TRAINING_ONLY = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "StochasticDepth", "DropBlock2D", "Identity")


def drop_noops(graph: Graph) -> Graph:
    """The graph without the layers that do nothing at inference; one that is an output of the model stays."""
    for node in graph.nodes:
        if is_noop(node) and not graph.is_output(node) and len(node.inputs) == 1:
            graph = graph.bypass(next(n for n in graph.nodes if (n.name, n.call) == (node.name, node.call)))
    return graph


def is_noop(node: Node) -> bool:
    if issubclass(node.kind, layers.Activation):
        return node.config["activation"] == "linear"
    # by name: the passes must not know our own layers' room
    return node.kind.__name__ in TRAINING_ONLY
