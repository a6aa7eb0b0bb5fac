"""The learning rate as a function only of the step, so that a resumed run has the same rates."""
from __future__ import annotations

import math
from typing import Any, Callable, Iterable

import keras
from keras import ops

from ..errors import ArgumentError
from .object_calls import restore_schedule
from .training import Training

_CONFIG_KEYS = {        # argument -> its key in the config of a saved schedule
    "learning_rate": "rate", "total_updates": "total", "kind": "kind", "milestones": "milestones",
    "decay_factor": "factor", "warmup": "warmup", "warmup_start": "warmup_rate", "steps_per_update": "every",
    "updates_per_period": "updates_per_period", "cosine_start": "cosine_start",
    "final_learning_rate": "final_learning_rate", "power": "power", "updates_per_decay": "updates_per_decay"}


@keras.saving.register_keras_serializable("reskeras", name="Schedule")
class TrainingSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, and then a schedule of one of the kinds of a recipe.

    Args:
        learning_rate: after the warm-up.
        total_updates: updates of the weights in the whole training.
        kind: "constant"; "step", multiplied by `decay_factor` at each milestone; "cosine", half a cosine to
            `final_learning_rate`; "triangular", a line to there; "polynomial", that line to a power;
            "exponential", multiplied by `decay_factor` in `updates_per_decay` updates; "wsd", constant until
            the milestone, and then a line (arXiv:2405.18392).
        milestones: the updates from which on the learning rate is multiplied by `decay_factor` once more.
        decay_factor: see `milestones`.
        warmup: its length in updates; the i-th of m has i/m of the way from `warmup_start * learning_rate` to
            `learning_rate` (arXiv:1812.01187 §3.1).
        warmup_start: see `warmup`.
        steps_per_update: batches for one update, if gradients are accumulated.
        updates_per_period: updates between two changes of the rate, such as those of an epoch; 0 changes it
            after each update.  By periods the i-th of the warm-up's m has (i - 1)/m of the way.
        cosine_start: the update with which the cosine (line, polynomial, exponential) begins; by default that
            after the warm-up.
        final_learning_rate: at the end of the cosine (line, polynomial), as a fraction of `learning_rate`.
        power: of the polynomial.
        updates_per_decay: see `kind`.
    """

    def __init__(self, learning_rate: float, total_updates: int, kind: str = "constant",
                 milestones: Iterable[int] = (), decay_factor: float = 0.1, warmup: int = 0,
                 warmup_start: float = 0.0, steps_per_update: int = 1, updates_per_period: float = 0,
                 cosine_start: int | None = None, final_learning_rate: float = 0.0, power: float = 2.0,
                 updates_per_decay: float = 1.0):
        self.learning_rate, self.total_updates, self.kind = learning_rate, total_updates, kind
        self.milestones, self.decay_factor = tuple(milestones), decay_factor
        self.warmup, self.warmup_start, self.steps_per_update = warmup, warmup_start, steps_per_update
        self.updates_per_period, self.final_learning_rate = updates_per_period, final_learning_rate
        self.cosine_start = warmup if cosine_start is None else cosine_start
        self.power, self.updates_per_decay = power, updates_per_decay

    def __call__(self, step: Any) -> Any:
        update = ops.cast(ops.floor_divide(ops.convert_to_tensor(step), self.steps_per_update), "float32")
        done = update + 1
        if self.updates_per_period:
            update = done = self._find_period(step) * self.updates_per_period
        warm = self.warmup_start + (1 - self.warmup_start) * done / max(self.warmup, 1)
        factor = _SHAPES[self.kind](self, update)
        return self.learning_rate * ops.where(update < self.warmup, warm, factor)

    def _find_period(self, step: Any) -> Any:
        """The number of the period in which the update of a batch begins, from 0 on."""
        steps = max(round(self.updates_per_period * self.steps_per_update), 1)
        first = ops.convert_to_tensor(step) // self.steps_per_update * self.steps_per_update
        return ops.cast(first // steps, "float32")

    def get_config(self) -> dict[str, Any]:
        return {key: getattr(self, name) for name, key in _CONFIG_KEYS.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainingSchedule:
        return cls(**{name: config[key] for name, key in _CONFIG_KEYS.items() if key in config})


@keras.saving.register_keras_serializable("reskeras")
class ScheduleOfUpdates(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, whose steps are updates of the weights, if several batches make one update.

    Args:
        schedule: the other schedule.
        steps_per_update: batches for one update.
    """

    def __init__(self, schedule: Any, steps_per_update: int):
        self.schedule, self.steps_per_update = schedule, steps_per_update

    def __call__(self, step: Any) -> Any:
        return self.schedule(ops.floor_divide(ops.convert_to_tensor(step), self.steps_per_update))

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule),
                "steps_per_update": self.steps_per_update}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScheduleOfUpdates:
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps_per_update"])


def _step(schedule: TrainingSchedule, update: Any) -> Any:
    passed = sum((ops.cast(update >= m, "float32") for m in schedule.milestones), ops.zeros_like(update))
    return schedule.decay_factor ** passed


def _fall(schedule: TrainingSchedule, update: Any, shape: Callable[[Any], Any],
          start: float | None = None) -> Any:
    """The factor of the rate on the way to its end.

    Args:
        shape: from the progress in [0, 1] to what is left, from 1 to 0.
        start: the update with which the way begins; by default `cosine_start`.
    """
    start, end = schedule.cosine_start if start is None else start, schedule.final_learning_rate
    progress = (update - start) / max(schedule.total_updates - start, 1)
    return end + (1 - end) * shape(ops.clip(progress, 0, 1))


def _exponential(schedule: TrainingSchedule, update: Any) -> Any:
    decays = ops.maximum(update - schedule.cosine_start, 0) / schedule.updates_per_decay
    return ops.cast(schedule.decay_factor, "float32") ** decays


_SHAPES: dict[str, Callable[[TrainingSchedule, Any], Any]] = {
    "constant": lambda schedule, update: ops.ones_like(update), "step": _step,
    "cosine": lambda schedule, update: _fall(schedule, update, lambda p: 0.5 * (1 + ops.cos(math.pi * p))),
    "triangular": lambda schedule, update: _fall(schedule, update, lambda p: 1 - p),
    "polynomial": lambda schedule, update: _fall(schedule, update, lambda p: (1 - p) ** schedule.power),
    "exponential": _exponential,
    "wsd": lambda schedule, update: _fall(schedule, update, lambda p: 1 - p, schedule.milestones[0])}


def make_schedule(training: Training, learning_rate: float, updates_per_epoch: float, total_updates: int,
                  steps_per_update: int = 1) -> Any:
    """Makes the recipe's schedule.

    Args:
        training: the recipe's training part.
        learning_rate: after the warm-up, see `recipe.scale_learning_rate`.
        updates_per_epoch: updates of the weights in an epoch.
        total_updates: updates of the weights in the whole training.
        steps_per_update: batches for one update.

    Returns:
        A schedule, also one of Keras; the number `learning_rate` if callbacks may change it: for "plateau",
        which itself follows the results (`count_plateaus`), and for "constant" without a warm-up.

    Raises:
        ArgumentError: for a plateau with a warm-up.
    """
    if isinstance(training.learning_rate, dict):
        schedule = restore_schedule(training.learning_rate)
        return ScheduleOfUpdates(schedule, steps_per_update) if steps_per_update > 1 else schedule
    if training.schedule == "plateau":
        if training.warmup:
            raise ArgumentError("warmup", training.warmup, "0, because the schedule 'plateau' has no warm-up")
    if training.schedule in ("plateau", "constant") and not training.warmup:
        return float(learning_rate)
    unit = 1 if training.steps else updates_per_epoch
    return TrainingSchedule(learning_rate, total_updates, training.schedule,
                            [round(m * unit) for m in training.milestones], training.decay_factor,
                            round(training.warmup * unit), training.warmup_start, steps_per_update,
                            updates_per_epoch if training.schedule_by_epoch else 0,
                            0 if training.cosine_includes_warmup else None, training.final_learning_rate,
                            training.power, unit)


def count_plateaus(values: Iterable[float], patience: int) -> int:
    """How many plateaus there have been.

    Args:
        values: one for each epoch; less is better.
        patience: epochs in a row, none better than the best before them, that make a plateau.
    """
    best, waited, plateaus = math.inf, 0, 0
    for value in values:
        best, waited = (value, 0) if value < best else (best, waited + 1)
        if waited and waited >= patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus
