"""The learning rate of a recipe at a batch size, and what its schedule never reaches.

Imports no framework.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from .keras_objects import describe_object
from .object_calls import restore_schedule
from .training import Training


@dataclass(frozen=True)
class ScaledLearningRate:
    """A learning rate, and a sentence that says how it was computed."""

    value: float
    reason: str


def describe_unreached_milestones(training: Training) -> str:
    """Says which milestones lie beyond the end; "" if none does.

    A recipe that is made shorter keeps its milestones, as they are what its paper says.
    """
    length = getattr(training, training.unit)
    late = [f"{milestone:g}" for milestone in training.milestones if milestone >= length]
    if not late or training.schedule != "step":
        return ""
    return (f"; the training ends after {length} {training.unit}, before milestones=({', '.join(late)}), so "
            "the rate is not lowered there: give milestones before the end if it should be")


def scale_learning_rate(training: Training, batch_size: int | None = None) -> ScaledLearningRate:
    """The learning rate for a batch size, by the rule of the recipe.

    The rules: linear (arXiv:1706.02677), square root (arXiv:1904.00962) or none.

    Args:
        batch_size: images per update on all devices together; the recipe's by default.
    """
    if isinstance(training.learning_rate, dict):
        first = float(restore_schedule(training.learning_rate)(0))
        return ScaledLearningRate(first, f"learning rate {describe_object(training.learning_rate)} over the "
                                  f"updates of the weights, from {first:g} on")
    batch_size = batch_size or training.batch_size
    base = training.base_batch_size
    ratio = batch_size / base
    factor = {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[training.learning_rate_scaling]
    value = training.learning_rate * factor
    if factor == 1:
        why = "the recipe's batch size" if ratio == 1 else "this recipe does not scale it"
        return ScaledLearningRate(value, f"learning rate {value:g} at batch size {batch_size}: {why}")
    rule = "" if training.learning_rate_scaling == "linear" else "the square root of "
    return ScaledLearningRate(value, f"learning rate {value:g} at batch size {batch_size}: "
                              f"{training.learning_rate:g} at {base}, times {rule}{batch_size}/{base}")
