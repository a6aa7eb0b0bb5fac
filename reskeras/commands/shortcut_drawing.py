"""Which blocks have a shortcut, and of which kind, read off the graph."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    from ..graph.cost.cost import LayerCost


@dataclass(frozen=True)
class Shortcut:
    """A block's way past its residual branch.  Numbers are of layers."""
    identity: bool              # else it has weights or changes the shape: a projection
    start: int                  # the layer before the block, which it leaves
    end: int                    # the addition
    path: tuple[int, ...]       # the layers on it, () for a bare identity


def find_shortcuts(layers: Sequence[LayerCost]) -> dict[str, Shortcut]:
    """Block -> its shortcut, for the blocks that close with an addition of two ways from one input."""
    blocks: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        blocks.setdefault(layer.block, []).append(i)
    found = {block: _find_shortcut(layers, members) for block, members in blocks.items()}
    return {block: known for block, known in found.items() if known}


def _find_shortcut(layers: Sequence[LayerCost], members: list[int]) -> Shortcut | None:
    inside = set(members)
    ends = [i for i in members if layers[i].kind == "Add" and len(layers[i].reads) == 2]
    if not ends:
        return None
    end = ends[-1]
    ways = [_above(layers, read, inside) for read in layers[end].reads]
    short, long = sorted((ways[0] - ways[1], ways[1] - ways[0]), key=len)
    entries = [read for way, read in zip(ways, layers[end].reads) for read in _outside(layers, way or {read}, inside)]
    if not long or not entries:
        return None
    start = entries[0]
    weighted = any(layers[i].params + layers[i].stats for i in short)
    return Shortcut(not weighted and layers[start].output == layers[end].output, start, end, tuple(sorted(short)))


def _above(layers: Sequence[LayerCost], layer: int, inside: set[int]) -> set[int]:
    """The layers of the block that `layer` depends on, with itself where it is one of them."""
    found: set[int] = set()
    waiting = [layer]
    while waiting:
        i = waiting.pop()
        if i in inside and i not in found:
            found.add(i)
            waiting += layers[i].reads
    return found


def _outside(layers: Sequence[LayerCost], way: set[int], inside: set[int]) -> list[int]:
    """What a way reads from before the block, the nearest first."""
    return sorted({read for i in way for read in ([i] if i not in inside else layers[i].reads) if read not in inside})[::-1]
