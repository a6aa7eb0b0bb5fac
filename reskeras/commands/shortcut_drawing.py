"""Which blocks of a net have a shortcut, and of which kind, as the graph says."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    from ..graph.cost.cost import LayerCost


@dataclass(frozen=True)
class Shortcut:
    """A block's way past its residual branch.  The numbers are indices of layers."""

    identity: bool              # otherwise it has weights or changes the shape: a projection
    start: int                  # the layer before the block, where it begins
    end: int                    # the addition
    path: tuple[int, ...]       # the layers on it, () for a bare identity


def find_shortcuts(layers: Sequence[LayerCost]) -> dict[str, Shortcut]:
    """The shortcut of each block that ends in an addition of two paths from one input.

    Args:
        layers: the layers of a `Cost`, in their order.
    """
    members_of: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        members_of.setdefault(layer.block, []).append(i)
    shortcuts = {block: _find_shortcut(layers, members) for block, members in members_of.items()}
    return {block: shortcut for block, shortcut in shortcuts.items() if shortcut}


def _find_shortcut(layers: Sequence[LayerCost], members: list[int]) -> Shortcut | None:
    """The shortcut of a block with these layers: the shorter of the two paths that its last addition joins.
    """
    block = set(members)
    additions = [i for i in members if layers[i].kind == "Add" and len(layers[i].inputs) == 2]
    if not additions:
        return None
    end = additions[-1]
    paths = [_ancestors(layers, i, block) for i in layers[end].inputs]
    short, long = sorted((paths[0] - paths[1], paths[1] - paths[0]), key=len)
    entries = [entry for path, i in zip(paths, layers[end].inputs)
               for entry in _entries(layers, path or {i}, block)]
    if not long or not entries:
        return None
    start = entries[0]
    has_weights = any(layers[i].params + layers[i].non_trainable_params for i in short)
    is_identity = not has_weights and layers[start].output == layers[end].output
    return Shortcut(is_identity, start, end, tuple(sorted(short)))


def _ancestors(layers: Sequence[LayerCost], layer: int, block: set[int]) -> set[int]:
    """The layers of the block that `layer` depends on, and itself if it is in the block."""
    ancestors: set[int] = set()
    waiting = [layer]
    while waiting:
        i = waiting.pop()
        if i in block and i not in ancestors:
            ancestors.add(i)
            waiting += layers[i].inputs
    return ancestors


def _entries(layers: Sequence[LayerCost], path: set[int], block: set[int]) -> list[int]:
    """The layers before the block that a path reads, the nearest first."""
    sources = {source for i in path for source in ([i] if i not in block else layers[i].inputs)
               if source not in block}
    return sorted(sources)[::-1]
