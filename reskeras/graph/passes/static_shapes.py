"""Open sizes of the inputs, and the -1 of reshapes that follow from them  =>  numbers."""
from __future__ import annotations

import math

from ..graph import Graph, Node, Shape
from ..pass_result import Rewritten


def static_shapes(graph: Graph, input_shape: Shape | None = None, batch: int = 1) -> Rewritten:
    """The graph for inputs of one size only.

    Arguments:
        input_shape: of an image (height, width, channels), for inputs that leave it open.
        batch: images per call, for inputs that leave it open.
    Declines an input whose size is neither its own nor given, and reshapes behind it.
    """
    done, declined, new = [], {}, {}
    for node in graph.nodes:
        if "batch_shape" not in node.config:
            continue
        own = tuple(node.config["batch_shape"])
        given = (batch, *(input_shape or own[1:]))
        shape = tuple(g if o is None else o for o, g in zip(own, given)) if len(own) == len(given) else own
        if None in shape:
            declined[node.name] = f"its size {own[1:]} is open; give input_shape=(height, width, channels)"
        elif shape != own:
            new[node.key] = (node.of(batch_shape=shape),)
            done.append(node.name)
    graph = graph.edit(new, {})
    flat = {node.key: (node.of(target_shape=target),) for node in graph.nodes
            if node.word == "Reshape" and -1 in node.config["target_shape"] and (target := resolved(graph, node))}
    left = [n.name for n in graph.nodes if n.word == "Reshape" and -1 in n.config["target_shape"] and n.key not in flat]
    return Rewritten(graph.edit(flat, {}), (*done, *(name for name, _ in flat)),
                     declined | {name: "the size of its input is open" for name in left})


def resolved(graph: Graph, node: Node) -> Shape | None:
    before = graph.shapes.get(node.inputs[0])
    if before is None or None in before[1:]:
        return None
    target, cells = node.config["target_shape"], math.prod(s or 0 for s in before[1:])
    return tuple(cells // -math.prod(target) if t == -1 else t for t in target)     # the product has the -1 as a factor
