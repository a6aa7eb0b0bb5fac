"""The same function with less work: passes over the graph, and a proof of what they made."""
from __future__ import annotations

from dataclasses import dataclass

import keras

from .graph import Graph
from .passes.drop_noops import drop_noops
from .passes.fold_bn import fold_bn
from .proof import LIMIT, Proof, prove

PASSES = (drop_noops, fold_bn)


@dataclass(frozen=True)
class Certificate:
    """What `optimize` did: layers before and after, and the proof (None where it was not asked for)."""
    layers_before: int
    layers_after: int
    proof: Proof | None

    @property
    def max_relative_difference(self) -> float | None:
        return self.proof.max_relative_difference if self.proof else None


def optimize(model: keras.Model, proof: bool = True) -> tuple[keras.Model, Certificate]:
    """A model for inference that computes the same function with fewer layers; `model` itself is not changed.

    Arguments:
        model: a functional model.
        proof: whether both models are compared in float64.
    Raises: ValueError where the model has no graph, or where the proof fails (a relative difference above 1e-9).
    """
    before = after = Graph.of(model)
    for rewrite in PASSES:
        after = rewrite(after)
    proven = prove(before, after) if proof else None
    if proven and not proven.holds:
        raise ValueError(f"{model.name}: the optimized graph differs by {proven.max_relative_difference:.1e} in float64 "
                         f"(allowed: {LIMIT:.0e}); the model stays as it is")
    return after.build(), Certificate(len(before.nodes), len(after.nodes), proven)
