"""Exponential moving averages of the weights and of the statistics of batch normalization.

The average moves by a share of the difference each time: average += share * (value - average).  How the share
begins is the recipe's `ema_rule`.  With "keras" Keras' own optimizer averages instead, see `optimizers`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterable

import keras
import numpy as np
from keras import ops

from .model_check import iterate_layers
from .training import Training

_UNSETTLED = 0.01       # fraction of an average that may come from its beginning


@dataclass(frozen=True)
class AverageSchedule:
    """Which share of the weights an average takes after each update.

    Args:
        training: the recipe's training part.
        steps_per_epoch: batches in an epoch.
        micro_batches: batches whose gradients make one update.
    """

    training: Training
    steps_per_epoch: int
    micro_batches: int = 1

    def compute_share(self, update: Any) -> Any:
        """The share after an update; 0 if the average does not change, 1 if it becomes the weights.

        Args:
            update: the number of the update from 1 on, as a tensor of whole numbers.
        """
        share = _SHARES[self.training.ema_rule](self, update)
        is_due = ops.equal(self.find_epoch(update)[1] % self.training.ema_steps, 0)
        return ops.where(is_due, ops.cast(share, "float32"), 0.0)

    def measure_beginning(self, updates: int) -> float:
        """The fraction of the average that comes from the weights at its beginning.

        The beginning is when the average last was the weights themselves, such as after the first update.

        Args:
            updates: how many updates the training has.
        """
        shares = np.zeros(0)
        for first in range(1, updates + 1, 100_000):
            numbers = np.arange(first, min(first + 100_000, updates + 1))
            shares = np.append(shares, ops.convert_to_numpy(self.compute_share(numbers)))
        copies = np.flatnonzero(shares >= 1)
        return float(np.prod(1 - shares[copies[-1] + 1 if len(copies) else 0:]))

    def find_epoch(self, update: Any) -> tuple[Any, Any]:
        """The epoch of an update, and its index in this epoch, both from 0 on."""
        epoch = (update * self.micro_batches - 1) // self.steps_per_epoch
        first = epoch * self.steps_per_epoch // self.micro_batches + 1
        return epoch, update - first


def _compute_constant(schedule: AverageSchedule, update: Any) -> Any:
    return ops.where(update <= 1, 1.0, 1 - schedule.training.ema_momentum)


def _compute_tensorflow(schedule: AverageSchedule, update: Any) -> Any:
    # tf.train.ExponentialMovingAverage(num_updates=)
    return ops.maximum(1 - schedule.training.ema_momentum, 9 / (10 + ops.cast(update, "float32")))


def _compute_timm(schedule: AverageSchedule, update: Any) -> Any:
    # ModelEmaV3(use_warmup=True): after the first update the weights, then 1 - (1 + (n - 1)) ** (-2/3)
    return ops.maximum(1 - schedule.training.ema_momentum, ops.cast(update, "float32") ** (-2 / 3))


def _compute_torchvision(schedule: AverageSchedule, update: Any) -> Any:
    """The share of references/classification/train.py.

    There each average during the warm-up is followed by a copy of the weights, also the first after it.
    """
    training = schedule.training
    updates_per_epoch = schedule.steps_per_epoch / schedule.micro_batches
    epochs = training.epochs or training.steps / updates_per_epoch
    warmup = training.warmup / updates_per_epoch if training.steps else training.warmup
    share = min(1.0, (1 - training.ema_momentum) * training.batch_size * training.ema_steps / epochs)
    epoch, index = schedule.find_epoch(update)
    previous = ops.where(ops.equal(index, 0), epoch - 1, epoch)
    return ops.where(ops.cast(previous, "float32") < warmup, 1.0, share)


_SHARES = {"constant": _compute_constant, "tensorflow": _compute_tensorflow, "timm": _compute_timm,
           "torchvision": _compute_torchvision}


class WeightAverages:
    """The averages of a model's weights, and of the statistics of its batch normalization.

    Args:
        schedule: how the averages move.
        averaged: the variables to average.
    """

    def __init__(self, schedule: AverageSchedule, averaged: Iterable[Any]):
        self.schedule, self.averaged = schedule, list(averaged)
        # copies: a step of JAX takes the buffers of all variables
        self.values = [keras.Variable(ops.copy(ops.cast(v, _find_dtype(v))), trainable=False,
                                      dtype=_find_dtype(v), name=f"{v.name}_average") for v in self.averaged]
        self._updates = keras.Variable(0, trainable=False, dtype="int", name="updates")

    @property
    def variables(self) -> list[Any]:
        """The state: the number of updates, and the averages."""
        return [self._updates, *self.values]

    def update(self, optimizer: Any) -> None:
        """Moves the averages if the optimizer has updated the weights since the last call.

        It has not within the micro-batches of an update, nor if loss scaling skipped the step.
        """
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        updates = ops.convert_to_tensor(inner.iterations)       # Keras counts updates here, not batches
        has_changed = updates > ops.convert_to_tensor(self._updates)
        share = ops.where(has_changed, self.schedule.compute_share(updates), 0.0)
        for value, average in zip(self.averaged, self.values):
            new, old = ops.cast(value, average.dtype), ops.convert_to_tensor(average)
            # with the share 1 the sum would not be exactly the new value
            average.assign(ops.where(share >= 1, new, old + ops.cast(share, old.dtype) * (new - old)))
        self._updates.assign(updates)


def _find_dtype(variable: Any) -> str:
    """At least float32: in 16 bits an average would not move at all by small shares."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _list_averaged(model: keras.Model) -> list[Any]:
    """What is trained, and the statistics that training moves."""
    trained = [layer for layer in iterate_layers(model) if layer.trainable]
    statistics = [v for layer in trained for v in layer.non_trainable_variables
                  if keras.backend.is_float_dtype(v.dtype)]
    return [*model.trainable_variables, *statistics]


def make_averages(training: Training, model: keras.Model, steps_per_epoch: int,
                  micro_batches: int) -> WeightAverages | None:
    """The averages that a recipe wants; None if it wants none, or leaves them to Keras' optimizer.

    Args:
        training: the recipe's training part.
        model: the model, with the layers frozen that are not trained.
        steps_per_epoch: batches in an epoch.
        micro_batches: batches whose gradients make one update.
    """
    if not training.ema_momentum or training.ema_rule == "keras":
        return None
    return WeightAverages(AverageSchedule(training, steps_per_epoch, micro_batches), _list_averaged(model))


def describe_unsettled_average(training: Training, steps_per_epoch: int, micro_batches: int) -> str:
    """Says that an average cannot forget its beginning within a training; "" if it can.

    Args:
        training: the recipe's training part.
        steps_per_epoch: batches in an epoch.
        micro_batches: batches whose gradients make one update.
    """
    momentum = training.ema_momentum
    if not momentum:
        return ""
    updates = training.steps or training.epochs * steps_per_epoch // micro_batches
    if training.ema_rule == "keras":
        left = momentum ** (updates - 1)
    else:
        left = AverageSchedule(training, steps_per_epoch, micro_batches).measure_beginning(updates)
    if left <= _UNSETTLED:
        return ""
    advice = ("train longer, or give ema_rule='tensorflow', which shortens the average of a short training"
              if training.ema_rule == "torchvision" else
              f"give ema_momentum={_round_down(1 - 5 / max(updates, 6)):g} or less, or ema_rule='tensorflow'")
    return (f"ema_momentum={momentum:g} with ema_rule={training.ema_rule!r}: at the end, after {updates} "
            f"updates, {left:.0%} of the averaged weights are still those that the average began with; "
            f"last_raw.keras and val_accuracy_raw are of the weights without averaging; {advice}")


def _round_down(number: float) -> float:
    return math.floor(number * 1000) / 1000
