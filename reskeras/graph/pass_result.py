"""What a pass returns: another graph, and a list of every layer that it examined."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping

from .graph import Graph


@dataclass(frozen=True)
class PassResult:
    """The result of a pass.

    Args:
        graph: the graph after the pass.
        rewritten: names of the layers that the pass rewrote.
        declined: layer name -> reason, for each layer that it could have rewritten but did not.
    """

    graph: Graph
    rewritten: tuple[str, ...] = ()
    declined: Mapping[str, str] = field(default_factory=dict)


Pass = Callable[[Graph], PassResult]
