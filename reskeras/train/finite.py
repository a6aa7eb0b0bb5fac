"""NaN and infinite numbers in a training: steps that loss scaling skips, and trainings that diverge."""
from __future__ import annotations

import math
from typing import Any, Callable, Mapping

import keras
import tensorflow as tf

from .run_folder import LAST_MODEL, RunFolder

_MAX_SKIPPED = 20       # steps in a row; loss scaling skips about ten at first, until it has found its factor


def is_step_applied(optimizer: keras.optimizers.Optimizer, gradients: list[Any]) -> Any:
    """Whether an optimizer will apply gradients: False if they overflow, so that loss scaling skips the step.

    Args:
        optimizer: the optimizer of the model.
        gradients: the sum of the gradients of all replicas, for each variable; None if a variable has none.

    Returns:
        A boolean tensor; None if the optimizer applies every step.
    """
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    return optimizer.check_finite(gradients)


def keep_if_skipped(is_applied: Any, old: Any, new: Any) -> Any:
    """The new value of a variable; its old value if the step is skipped, see `is_step_applied`."""
    return new if is_applied is None else tf.where(is_applied, new, tf.convert_to_tensor(old))


def run_unless_skipped(count: Callable[[], None], is_applied: Any, loss: Any) -> None:
    """Calls `count`, which adds a step to the metrics.

    Does not call it if loss scaling skips the step and the loss is also NaN or infinite.
    """
    def count_step() -> Any:
        count()
        return tf.constant(True)
    if is_applied is None:
        count()
    else:
        tf.cond(is_applied | tf.math.is_finite(loss), count_step, lambda: tf.constant(False))


class FiniteCheck:
    """Stops a training whose loss or weights are NaN or infinite: no later step makes them finite again.

    Args:
        model: the model that is trained.
        learning_rate: after the warm-up, for the error's message.
        run: the run folder, whose last.keras has the weights of the previous epoch; None without a folder.
    """

    def __init__(self, model: keras.Model, learning_rate: float, run: RunFolder | None):
        self._model = model
        self._advice = (f"start again with a lower learning_rate (it was {learning_rate:g}), a longer "
                        "warmup, or, in mixed precision, another dtype")
        if run:
            self._advice += f"; {run.path(LAST_MODEL)} has the weights from before this epoch"
        self._skipped, self._scale = 0, 0.0

    def begin_epoch(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Call it before the first step of an epoch, with the optimizer in use."""
        self._scale = _read_scale(optimizer)

    def check_step(self, optimizer: keras.optimizers.Optimizer, logs: Mapping[str, Any], epoch: int,
                   step: int) -> None:
        """Checks a step that has just ended.

        Args:
            optimizer: the one in use.
            logs: the metrics of the epoch so far.  The mean loss is finite if every applied step had a finite
                loss.
            epoch: the number of the epoch, from 0 on.
            step: the number of the step in the epoch, from 0 on.

        Raises:
            FloatingPointError: if the loss is not finite, or loss scaling has skipped 20 steps in a row.
        """
        when = f"in step {step + 1} of epoch {epoch + 1}"
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of {self._model.name} became {loss} {when}; {self._advice}")
        scale = _read_scale(optimizer)
        self._skipped = self._skipped + 1 if scale < self._scale else 0     # a skipped step halves the scale
        self._scale = scale
        if self._skipped >= _MAX_SKIPPED:
            raise FloatingPointError(f"the gradients of {self._model.name} overflowed {when}, as in the "
                                     f"{_MAX_SKIPPED - 1} steps before; {self._advice}")

    def check_epoch(self, loss: keras.metrics.Metric, epoch: int) -> None:
        """Checks that at least one step of the finished epoch had a finite loss.

        Args:
            loss: the mean loss of the epoch.
            epoch: the number of the epoch, from 0 on.

        Raises:
            FloatingPointError: if no step had a finite loss, so that loss scaling skipped all steps.
        """
        if not float(keras.ops.convert_to_numpy(loss.count)):
            raise FloatingPointError(f"the loss of {self._model.name} was NaN or infinite in every step of "
                                     f"epoch {epoch + 1}; {self._advice}")

    def check_weights(self, epoch: int, step: int) -> None:
        """Checks the weights after a step: even if its loss is finite, its update may overflow.

        Args:
            epoch: the number of the epoch, from 0 on.
            step: steps of the epoch that are done.

        Raises:
            FloatingPointError: if a weight is not finite.
        """
        variables = [v for v in self._model.variables if keras.backend.is_float_dtype(v.dtype)]
        are_finite = [keras.ops.all(keras.ops.isfinite(keras.ops.convert_to_tensor(v))) for v in variables]
        flags = keras.ops.convert_to_numpy(keras.ops.stack(are_finite))
        bad = [v.path for v, is_finite in zip(variables, flags) if not is_finite]
        if bad:
            raise FloatingPointError(f"{len(bad)} of the weights of {self._model.name}, such as {bad[0]}, "
                                     f"are NaN or infinite after step {step} of epoch {epoch + 1}; "
                                     f"{self._advice}")


def _read_scale(optimizer: keras.optimizers.Optimizer) -> float:
    """The factor of loss scaling; 0 without it."""
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return float(keras.ops.convert_to_numpy(optimizer.dynamic_scale)) if is_scaled else 0.0
