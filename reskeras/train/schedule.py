"""The learning rate as a function of the step alone, so that a training that goes on has the rate it would have had."""
from __future__ import annotations

import math
from typing import Any, Iterable

import keras
from keras import ops

from .recipe import Training


@keras.saving.register_keras_serializable("reskeras")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, then constant, divided at milestones, or half a cosine to zero.

    Arguments:
        rate: after the warm-up.
        total: updates of the weights in all.
        kind: "constant", "step" or "cosine".
        milestones: the updates from which on the rate is multiplied by `factor` once more.
        warmup: updates; the i-th of m has the rate i/m of the way from `warmup_rate * rate` (arXiv:1812.01187 §3.1).
        every: steps for an update, where gradients are accumulated.
    """

    def __init__(self, rate: float, total: int, kind: str = "constant", milestones: Iterable[int] = (), factor: float = 0.1,
                 warmup: int = 0, warmup_rate: float = 0.0, every: int = 1):
        self.rate, self.total, self.kind, self.factor = rate, total, kind, factor
        self.milestones, self.warmup, self.warmup_rate, self.every = tuple(milestones), warmup, warmup_rate, every

    def __call__(self, step: Any) -> Any:
        step = ops.cast(ops.floor_divide(ops.cast(step, "int64"), self.every), "float32")
        warm = self.warmup_rate + (1 - self.warmup_rate) * (step + 1) / max(self.warmup, 1)
        return self.rate * ops.where(step < self.warmup, warm, SHAPES[self.kind](self, step))

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (
            "rate", "total", "kind", "milestones", "factor", "warmup", "warmup_rate", "every")}


def _stepped(schedule: Schedule, step: Any) -> Any:
    passed = sum((ops.cast(step >= m, "float32") for m in schedule.milestones), ops.zeros_like(step))
    return schedule.factor ** passed


def cosine(schedule: Schedule, step: Any) -> Any:
    share = (step - schedule.warmup) / max(schedule.total - schedule.warmup, 1)
    return 0.5 * (1 + ops.cos(math.pi * ops.clip(share, 0, 1)))


SHAPES = {"constant": lambda schedule, step: ops.ones_like(step), "step": _stepped, "cosine": cosine}


def schedule(training: Training, rate: float, per_epoch: float, total: int, every: int = 1) -> Schedule | float:
    """The recipe's rate; a number for "plateau", which follows what the epochs find (`plateaus`).

    Arguments:
        rate: after the warm-up, see `reskeras.train.recipe.learning_rate`.
        per_epoch, total: updates of the weights.
        every: steps for an update.
    Raises: ValueError for a plateau with a warm-up.
    """
    if training.schedule == "plateau":
        if training.warmup:
            raise ValueError(f"warmup={training.warmup}: schedule='plateau' has none; expected 0")
        return float(rate)
    updates = 1 if training.steps else per_epoch
    return Schedule(rate, total, training.schedule, [round(m * updates) for m in training.milestones], training.factor,
                    round(training.warmup * updates), training.warmup_rate, every)


def plateaus(values: Iterable[float], patience: int) -> int:
    """How many plateaus there have been: `patience` epochs in a row that were no better than the best before them."""
    best, waited, found = math.inf, 0, 0
    for value in values:
        best, waited = (value, 0) if value < best else (best, waited + 1)
        if waited and waited >= patience:
            found, waited = found + 1, 0
    return found
