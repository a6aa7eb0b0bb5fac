"""Open sizes of the inputs, and the -1 of reshapes that follow from them  =>  numbers."""
from __future__ import annotations

import math

from ..graph import Graph
from ..node import Node, NodeKey
from ..pass_result import PassResult
from ..shape_inference import Shape


def static_shapes(graph: Graph, input_shape: Shape | None = None, batch_size: int = 1) -> PassResult:
    """Fixes the sizes of a graph's inputs.

    Declines an input whose size is neither fixed nor given, and the reshapes after it.

    Args:
        input_shape: (height, width, channels) of an image, for inputs that leave it open.
        batch_size: number of images per call, for inputs that leave it open.
    """
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    for node in graph.nodes:
        if "batch_shape" not in node.config:
            continue
        old = tuple(node.config["batch_shape"])
        wanted = (batch_size, *(input_shape or old[1:]))
        shape = tuple(w if o is None else o for o, w in zip(old, wanted)) if len(old) == len(wanted) else old
        if None in shape:
            declined[node.name] = f"its size {old[1:]} is open; give input_shape=(height, width, channels)"
        elif shape != old:
            new_nodes[node.key] = (node.with_config(batch_shape=shape),)
            rewritten.append(node.name)
    graph = graph.edit(new_nodes, {})

    reshapes = [node for node in graph.nodes
                if node.type_name == "Reshape" and -1 in node.config["target_shape"]]
    targets = {node.key: _resolve_target(graph, node) for node in reshapes}
    declined |= {node.name: "the size of its input is open" for node in reshapes if not targets[node.key]}
    fixed = {node.key: (node.with_config(target_shape=targets[node.key]),)
             for node in reshapes if targets[node.key]}
    return PassResult(graph.edit(fixed, {}), (*rewritten, *(name for name, _ in fixed)), declined)


def _resolve_target(graph: Graph, node: Node) -> Shape | None:
    """The target of a reshape with a number for -1; None if its input leaves it open."""
    before = graph.shapes.get(node.inputs[0])
    if before is None or None in before[1:]:
        return None
    target, numbers = node.config["target_shape"], math.prod(s or 0 for s in before[1:])
    # the product has the -1 as a factor
    return tuple(numbers // -math.prod(target) if t == -1 else t for t in target)
