"""`remove_blocks` leaves blocks only their shortcut (Veit et al. 2016, arXiv:1605.06431)."""
from __future__ import annotations

from typing import Sequence

import keras

from ..errors import nearest
from .graph import Graph
from .keras_config import TensorRef
from .node import Node

SUM_SUFFIXES = ("_add", "_out")     # of a block's addition, in this package's nets and in Keras'


def remove_blocks(model: keras.Model, blocks: str | Sequence[str]) -> keras.Model:
    """Makes a model in which only the shortcut of each of `blocks` is left.

    Args:
        model: a functional model with the layer names of keras.applications' ResNets; it is not changed.
        blocks: a block or several, such as "conv2_block2" or ["conv2_block2", "conv4_block5"].  A block
            whose shortcut is a projection keeps the projection.

    Returns:
        A new model with the remaining layers and their weights.

    Raises:
        ValueError: for a block that the model does not have.

    Example:
        >>> smaller = reskeras.remove_blocks(model, ["conv4_block3", "conv4_block5"])
    """
    graph = Graph.of(model)
    sums = _find_sums(graph)
    names = [blocks] if isinstance(blocks, str) else blocks
    missing = [name for name in names if name not in sums]
    if missing:
        raise ValueError(f"{model.name} has no residual block {missing[0]!r}{nearest(missing[0], sums)}; "
                         f"it has {', '.join(sums)}")

    removed = [sums[name] for name in names]
    new_tensors = {node.output: _find_shortcut(graph, node) for node in removed}
    return graph.edit({node.key: () for node in removed}, new_tensors).remove_unused_nodes().build()


def list_blocks(model: keras.Model) -> list[str]:
    """The names of a model's residual blocks, in order."""
    return list(_find_sums(Graph.of(model, weights=False)))


def _find_sums(graph: Graph) -> dict[str, Node]:
    """Returns name of a block -> its addition."""
    return {node.name[:-4]: node for node in graph.nodes
            if node.type_name == "Add" and node.name.endswith(SUM_SUFFIXES) and len(node.inputs) == 2
            and not graph.is_output(node)}


def _find_shortcut(graph: Graph, addition: Node) -> TensorRef:
    """The input of an addition that comes from outside the block or from its projection (layers named 0)."""
    block = addition.name[:-4]
    return next(ref for ref in addition.inputs
                if not ref[0].startswith(f"{block}_") or ref[0].startswith(f"{block}_0_"))
