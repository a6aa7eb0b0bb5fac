"""A training in parts: the classifier alone, then the net."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .recipe import Training
from .schedule import schedule


@dataclass(frozen=True)
class Phase:
    """Epochs that train the same layers, counted over the whole training."""
    name: str
    epochs: range
    rate: Any
    head: bool
    statistics: bool
    rest: int                       # batches of its last epoch

    @classmethod
    def all(cls, training: Training, steps: int, rate: float, accumulate: int) -> list[Phase]:
        """The classifier alone, where the recipe begins so, then the net."""
        total = training.steps * accumulate if training.steps else training.epochs * steps
        epochs, head = math.ceil(total / steps), training.head_epochs
        later = schedule(training, rate, steps / accumulate, math.ceil(total / accumulate), accumulate)
        found = [cls("the classifier", range(head), float(training.head_rate or rate), True, True, steps)] if head else []
        if (fewest := min(total, head * steps or total)) < accumulate:
            raise ValueError(f"accumulate={accumulate}: the weights would never change in {fewest} batches")
        return found + [cls("all layers", range(head, head + epochs), later, False, training.freeze_statistics,
                            total - (epochs - 1) * steps)]
