"""The phases of a training run: only the classifier first, if the recipe says so, then all layers."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from .training import Training
from .schedule import make_schedule


@dataclass(frozen=True)
class Phase:
    """Epochs that train the same layers.

    Attributes:
        name: what is trained, for the log.
        epochs: their numbers, counted over the whole training.
        learning_rate: a number, or a schedule over the steps of the phase.
        is_head: whether only the classifier is trained.
        freeze_statistics: whether batch normalization stays in inference mode.
        last_epoch_steps: batches in its last epoch, which may be shorter than the others.
    """

    name: str
    epochs: range
    learning_rate: Any
    is_head: bool
    freeze_statistics: bool
    last_epoch_steps: int


def plan_phases(training: Training, steps_per_epoch: int, learning_rate: float, micro_batches: int,
                ended: tuple[int, int] = (0, 0)) -> list[Phase]:
    """The phases of a training run, one or two.

    Args:
        training: the recipe's training part.
        steps_per_epoch: batches in an epoch.
        learning_rate: after the warm-up.
        micro_batches: batches whose gradients make one update of the weights.
        ended: (epochs, batches) that the phase of all layers had done when it ended amid an epoch, before the
            training was made longer; the next batches then begin an epoch.

    Raises:
        ArgumentError: if a phase has too few batches for a single update.
    """
    steps = training.steps * micro_batches if training.steps else training.epochs * steps_per_epoch
    left = steps - ended[1]
    epochs_left, head_epochs = math.ceil(left / steps_per_epoch), training.head_epochs
    epochs = ended[0] + epochs_left
    updates = math.ceil(steps / micro_batches)
    schedule = make_schedule(training, learning_rate, steps_per_epoch / micro_batches, updates, micro_batches)

    fewest = min(steps, head_epochs * steps_per_epoch or steps)
    if fewest < micro_batches:
        raise ArgumentError("micro_batches", micro_batches, f"at most {fewest}, the number of batches; with "
                            "more the weights would never change")
    phases = [Phase("all layers", range(head_epochs, head_epochs + epochs), schedule, False,
                    training.freeze_statistics, left - (epochs_left - 1) * steps_per_epoch)]
    if head_epochs:
        head_learning_rate = float(training.head_learning_rate or learning_rate)
        phases.insert(0, Phase("the classifier", range(head_epochs), head_learning_rate, True, True,
                               steps_per_epoch))
    return phases
