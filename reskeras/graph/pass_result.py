"""What a pass returns: another graph, and an account of every place that it looked at."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping

from .graph import Graph


@dataclass(frozen=True)
class PassResult:
    """The result of a pass.

    Args:
        graph: after the pass.
        rewritten: names of the layers that the pass rewrote.
        declined: for each layer that it could have rewritten but did not, the reason.
    """

    graph: Graph
    rewritten: tuple[str, ...] = ()
    declined: Mapping[str, str] = field(default_factory=dict)


Pass = Callable[[Graph], PassResult]
