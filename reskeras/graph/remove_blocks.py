"""Residual blocks without their residual branch: a net as an ensemble of paths (Veit et al. 2016, arXiv:1605.06431)."""
from __future__ import annotations

from typing import Sequence

import keras

from ..spec import nearest
from .graph import Graph, Node

SUMS = ("_add", "_out")     # a block's addition, by our names and Keras'


def lesion(model: keras.Model, blocks: str | Sequence[str]) -> keras.Model:
    """A new model in which each of `blocks` is its shortcut alone; `model` stays as it is.

    Arguments:
        model: a functional model with the layer names of keras.applications' ResNets.
        blocks: such as "conv2_block2" or ["conv2_block2", "conv4_block5"]; `blocks_of` names all.  One whose shortcut is a
            projection keeps it.
    Raises: ValueError for a block that the model does not have.
    """
    graph = Graph.of(model)
    known = _sums(graph)
    blocks = [blocks] if isinstance(blocks, str) else blocks
    missing = [block for block in blocks if block not in known]
    if missing:
        raise ValueError(f"{model.name} has no residual block {missing[0]!r}{nearest(missing[0], known)}; "
                         f"it has {', '.join(known)}")
    cut = [known[block] for block in blocks]
    moved = {node.output: shortcut(graph, node) for node in cut}
    return graph.edit({node.key: () for node in cut}, moved).reachable().build()


def blocks_of(model: keras.Model) -> list[str]:
    """The names of a model's residual blocks, in order."""
    return list(_sums(Graph.of(model, weights=False)))


def _sums(graph: Graph) -> dict[str, Node]:
    """Block -> its addition."""
    return {node.name[:-4]: node for node in graph.nodes
            if node.word == "Add" and node.name.endswith(SUMS) and len(node.inputs) == 2 and not graph.is_output(node)}


def shortcut(graph: Graph, node: Node) -> tuple[str, int, int]:
    """The input that is not of the block, or its projection, which counts from 0."""
    block = node.name[:-4]
    return next(ref for ref in node.inputs if not ref[0].startswith(f"{block}_") or ref[0].startswith(f"{block}_0_"))
