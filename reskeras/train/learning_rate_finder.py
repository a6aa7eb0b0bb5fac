"""The learning-rate range test of arXiv:1506.01186 (Smith, 2015), section 3.3, with an exponential rise."""
from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..errors import ArgumentError, check_number, check_whole_number
from .fit import fit
from .quantized_model import find_quantization
from .recipe import Recipe, parse_overrides
from .recipes import choose_recipe, get_recipe
from .learning_rate import scale_learning_rate
from .training import Training, training_fields
from .training_checks import SCHEDULE_FIELDS

_SMOOTHING = 0.9        # of the moving average of the losses, corrected for its beginning, as Adam's moments
_EXPLODED = 4.0         # times the smallest smoothed loss
# what the range test sets itself
_OWN = ("output", "resume", "epochs", "steps", "learning_rate", "schedule", "validation_data",
        "validation_split", "callbacks", "loggers")


@dataclass(frozen=True)
class LearningRateCurve:
    """The loss at each learning rate of a range test.

    Attributes:
        rates: the learning rate of each update.
        losses: the loss of the batch before each update.
        smoothed: a moving average of the losses.
        minimum_over_10: a tenth of the rate with the smallest smoothed loss: the suggestion.
        steepest: the rate at which the smoothed loss falls most, over the logarithm of the rate.
        learning_rate: the suggestion as the value of the recipe's field `learning_rate`, which is for
            `base_batch_size` images.
        exploded: whether the test has ended because the loss rose.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    minimum_over_10: float
    steepest: float
    learning_rate: float
    exploded: bool

    def __str__(self) -> str:
        end = "until the loss exploded" if self.exploded else "to the end of the range"
        field = ("" if math.isclose(self.learning_rate, self.minimum_over_10, rel_tol=1e-6) else
                 f" (learning_rate={self.learning_rate:.3g} for the recipe's base_batch_size)")
        return (f"{len(self.rates)} updates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}, {end}\n"
                f"suggestion: {self.minimum_over_10:.3g}, a tenth of the rate with the smallest loss{field}\n"
                f"steepest descent of the loss: {self.steepest:.3g}")


def measure_learning_rates(model: str | os.PathLike[str] | keras.Model, data: Any,
                           recipe: str | Recipe | None = None, *, lowest_rate: float = 1e-7,
                           highest_rate: float = 10.0, updates: int = 100, overrides: Any = (),
                           **options: Any) -> LearningRateCurve:
    """Trains with a rising learning rate, restores the weights, and returns the curve.

    Args: as `reskeras.find_learning_rate`.
    """
    lowest = check_number("lowest_rate", lowest_rate, 1e-30, expected="a number above 0")
    highest = check_number("highest_rate", highest_rate, lowest * 1.001, expected="more than lowest_rate")
    check_whole_number("updates", updates, 10)
    names = {field.name for field in training_fields()}
    fields = {name: value for name, value in options.items() if name in names and value is not None}
    fields |= parse_overrides(overrides)
    for name, value in {**options, **fields}.items():
        if name in _OWN and value:
            raise ArgumentError(name, value, "none, because the range test sets it")
    recipe = choose_recipe(recipe, find_quantization(model, options.get("quantize")))
    factor = _find_factor(get_recipe(recipe).override(fields).training)
    # the schedule of Keras takes the place of the recipe's
    fields = {name: value for name, value in fields.items()
              if name not in (*SCHEDULE_FIELDS, "base_batch_size")}
    schedule = keras.optimizers.schedules.ExponentialDecay(lowest, updates - 1, highest / lowest)
    fields |= dict(steps=updates, learning_rate=schedule, head_epochs=0, first_size=0, size_epochs=(),
                   ema_momentum=0.0, early_stopping=0, restore_best_weights=False)
    micro_batches = int(options.get("micro_batches") or 1)
    recorder = _Recorder(micro_batches)
    variables = list(model.variables) if isinstance(model, keras.Model) else []
    values = [keras.ops.convert_to_numpy(v) for v in variables]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the loss of .* became", UserWarning)
            fit(model, data, recipe, overrides=fields, save_every=0,
                callbacks=[recorder, keras.callbacks.TerminateOnNaN()],
                **{name: value for name, value in options.items()
                   if name not in names and name != "save_every"})
    finally:
        for variable, value in zip(variables, values):
            variable.assign(value)
    losses = recorder.average()
    rates = [lowest * (highest / lowest) ** (i / (updates - 1)) for i in range(len(losses))]
    return _make_curve(rates, losses, factor, recorder.has_exploded or len(losses) < updates)


def _find_factor(training: Training) -> float:
    """The learning rate at the recipe's batch size, divided by its field `learning_rate`."""
    rate = training.learning_rate
    return scale_learning_rate(training).value / rate if isinstance(rate, (int, float)) and rate else 1.0


class _Recorder(keras.callbacks.Callback):
    """Records the loss of each batch alone; ends the training if the loss explodes."""

    def __init__(self, micro_batches: int):
        super().__init__()
        self._losses: list[float] = []
        self._every, self.has_exploded = micro_batches, False

    def average(self) -> list[float]:
        """The mean loss of the batches of each update."""
        count = len(self._losses) // self._every
        means = np.reshape(self._losses[:count * self._every], (count, self._every)).mean(axis=1)
        return [float(mean) for mean in means]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._losses.append(float((logs or {})["loss"]))
        if len(self._losses) % self._every == 0:
            smoothed = _smooth(self.average())
            self.has_exploded = smoothed[-1] > _EXPLODED * min(smoothed) > 0
            if self.has_exploded:
                self.model.stop_training = True


def _smooth(losses: Any) -> list[float]:
    mean, smoothed = 0.0, []
    for i, loss in enumerate(losses, 1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * float(loss)
        smoothed.append(mean / (1 - _SMOOTHING ** i))
    return smoothed


def _make_curve(rates: list[float], losses: list[float], factor: float, exploded: bool) -> LearningRateCurve:
    """The curve, and what follows from it.

    Args:
        factor: the learning rate, divided by the recipe's field `learning_rate`.

    Raises:
        ValueError: if there are too few losses.
    """
    if len(losses) < 3:
        raise ValueError(f"the loss exploded after {len(losses)} updates, at a learning rate of "
                         f"{rates[-1] if rates else 0:g}: give a lower lowest_rate")
    smoothed = _smooth(losses)
    best = int(np.argmin(smoothed))
    slopes = np.gradient(smoothed, np.log(rates))[:best + 1]
    suggestion = rates[best] / 10
    return LearningRateCurve(tuple(rates), tuple(losses), tuple(smoothed), suggestion,
                             rates[int(np.argmin(slopes))], suggestion / factor, exploded)
