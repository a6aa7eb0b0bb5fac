"""What a pass gives: another graph, and an account of every place that it looked at."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping

from .graph import Graph


@dataclass(frozen=True)
class Rewritten:
    """A pass' graph, the layers that it rewrote, and for each that it could have but did not the reason."""
    graph: Graph
    done: tuple[str, ...] = ()
    declined: Mapping[str, str] = field(default_factory=dict)


Pass = Callable[[Graph], Rewritten]
