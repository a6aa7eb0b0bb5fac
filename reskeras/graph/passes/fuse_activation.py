"""A linear layer and the activation that reads it  =>  the layer with that activation: f(W x + b) either way."""
from __future__ import annotations

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..layer_traits import ACTIVATIONS, LINEAR, activation, alone


def fuse_activation(graph: Graph) -> Rewritten:
    """Every activation into the linear layer that it alone reads.

    Declines where that layer has an activation already, other readers, another dtype policy or is shared, where the
    activation is an output of the model, or has parameters that its name does not say.
    """
    new: dict[tuple[str, int], tuple[Node, ...]] = {}
    done, moved, declined = [], {}, {}
    for node in graph.nodes:
        if node.word not in ACTIVATIONS or len(node.inputs) != 1:
            continue
        source = graph.node(node.inputs[0])
        if reason := _why_not(graph, node, source):
            declined[node.name] = reason
            continue
        new |= {source.key: (source.of(activation=activation(node)),), node.key: ()}
        moved[node.output] = source.output
        done.append(node.name)
    return Rewritten(graph.edit(new, moved), tuple(done), declined)


def _why_not(graph: Graph, node: Node, source: Node) -> str:
    if source.word not in LINEAR:
        return f"it reads {source.word or source.kind.__name__}, which is not linear"
    if source.config["activation"] != "linear":
        return f"{source.name} has an activation"
    if graph.is_output(node) or graph.shared(node):
        return "it is an output of the model" if graph.is_output(node) else "it is shared"
    if activation(node) is None:
        return f"{node.word} with these parameters has no name"
    if node.config["dtype"] != source.config["dtype"]:
        return f"{source.name} has another dtype policy"
    return alone(graph, source)
