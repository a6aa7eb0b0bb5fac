"""Training under JAX and PyTorch: Keras' own trainer, and the averages of a recipe after each step.

With JAX the step is one compiled function of all state.  `keras.distribution.DataParallel` divides its batch
among devices, and the result is that of one device, because XLA sees the whole batch.
"""
from __future__ import annotations

import os
from typing import Any, Callable, Iterator

import keras
import numpy as np
from keras import ops

from .._keras_private import get_functional_module
from ..errors import ArgumentError
from ..model_with_metadata import ModelWithMetadata
from .distillation import LearnsFromTeacher
from .keras_devices import count_devices, without_gradients


class KerasTrainer(LearnsFromTeacher, ModelWithMetadata):
    """A functional model that trains by Keras' own trainer; it shares the variables of another one.

    A step that loss scaling skips does not change running statistics, and does not count in the metrics if
    its loss is not finite.

    Attributes:
        weight_averages: a `WeightAverages`, which is updated after each step.
        saver: what `save` calls instead of Keras; a training run saves the net in its own way.
    """

    weight_averages: Any = None
    saver: Callable[..., None] | None = None

    def compile(self, *args: Any, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`; with JAX, XLA compiles the step in any case.

        Raises:
            ArgumentError: for `jit_compile` with PyTorch.
        """
        has_xla = keras.config.backend() == "jax"
        if jit_compile and not has_xla:
            raise ArgumentError("jit_compile", True, "False, because XLA does not compile with the backend "
                                f"{keras.config.backend()}")
        if count_devices() > 1 and "metrics" in kwargs:     # `evaluate` gives weights
            kwargs["weighted_metrics"] = kwargs.pop("metrics")
        super().compile(*args, jit_compile=has_xla, **kwargs)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """As of `keras.Model`, and the averages: what a step of JAX returns new values of."""
        averages = self.weight_averages
        return [*super().non_trainable_variables, *(averages.variables if averages is not None else ())]

    def train_step(self, *args: Any) -> Any:
        """Trains one batch; the arguments are (state, data) with JAX, and (data,) with PyTorch."""
        if keras.config.backend() != "jax":
            before = [ops.copy(v) for v in self._list_restored()]
            logs = super().train_step(*args)
            with without_gradients():
                return self._finish_step(before, logs)
        groups = (self.trainable_variables, self.non_trainable_variables, self.optimizer.variables,
                  self.metrics_variables)
        old = {id(v): value for variables, values in zip(groups, args[0])
               for v, value in zip(variables, values)}
        logs, state = super().train_step(*args)
        new = [pair for variables, values in zip(groups, state) for pair in zip(variables, values)]
        with keras.StatelessScope(new) as scope:
            logs = self._finish_step([old[id(v)] for v in self._list_restored()], logs)
            return logs, tuple([scope.get_current_value(v) for v in variables] for variables in groups)

    def evaluate(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`.

        On several devices, x is a data set of batches (images, labels), whose last one may be smaller.
        """
        if count_devices() == 1:
            return super().evaluate(x, *args, **kwargs)
        counts = [0, 0]
        results = super().evaluate(_fill_batches(x, count_devices(), counts), *args, **kwargs)
        # Keras has divided the sum of the losses by the number of all rows
        return results | {"loss": results["loss"] * counts[1] / counts[0]}

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`."""
        (self.saver or super().save)(filepath, *args, **kwargs)

    def get_compile_config(self) -> Any:
        """As `keras.Model.get_compile_config`; None if a training run saves the net in its own way."""
        return None if self.saver else super().get_compile_config()

    def _list_restored(self) -> list[Any]:
        """What a skipped step gives its old value again; first the counter of batches.  Else []."""
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            return []
        statistics = [v for v in super().non_trainable_variables if keras.backend.is_float_dtype(v.dtype)]
        metrics = {id(v) for v in self.metrics_variables}
        # a variable: with micro-batches, the attribute `iterations` counts updates
        iterations = next(v for v in self.optimizer.inner_optimizer.variables if v.name == "iteration")
        return [iterations, *(v for v in statistics if id(v) not in metrics), *self.metrics_variables]

    def _finish_step(self, before: list[Any], logs: dict[str, Any]) -> dict[str, Any]:
        """Undoes what a skipped step must not change, and averages.

        Args:
            before: the values of `_list_restored` before the step.
            logs: the metrics after the step.

        Returns:
            The metrics.
        """
        if before:
            (iterations, *variables), (old_iterations, *old_values) = self._list_restored(), before
            is_applied = ops.not_equal(iterations, old_iterations)
            is_counted = ops.logical_or(is_applied, ops.isfinite(logs["loss"]))
            metrics = {id(v) for v in self.metrics_variables}
            for variable, old in zip(variables, old_values):
                is_kept = is_counted if id(variable) in metrics else is_applied
                variable.assign(ops.where(is_kept, ops.convert_to_tensor(variable), old))
            logs = self.get_metrics_result()
        if self.weight_averages is not None:
            self.weight_averages.update(self.optimizer)
        return logs


# As of `ModelWithMetadata`: a saved file has Keras' own class name, and is loaded as a functional model
KerasTrainer.__name__, KerasTrainer.__module__ = "Functional", get_functional_module()


def make_keras_trainer(model: keras.Model) -> KerasTrainer:
    """A model with the same inputs, outputs and variables, to be compiled and fitted under JAX or PyTorch.

    Args:
        model: a functional model.
    """
    outputs = model.outputs[0] if len(model.outputs) == 1 else model.outputs
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return KerasTrainer(inputs, outputs, name=model.name)


def _fill_batches(batches: Any, devices: int, counts: list[int]) -> Iterator[tuple[Any, Any, Any]]:
    """Batches with weights, each filled up with images of weight 0 to a multiple of the devices.

    Args:
        batches: a data set of (images, labels), or (images, labels, weights).
        devices: how many devices share a batch.
        counts: a list to which the numbers of images and of rows are added.
    """
    for batch in batches:
        images, labels, *own = (np.asarray(part) for part in batch)
        missing = -len(images) % devices
        own_weights = own[0] if own else np.ones(len(images))
        weights = np.concatenate([own_weights, np.zeros(missing)]).astype("float32")
        counts[0] += len(images)
        counts[1] += len(weights)
        images, labels = (np.concatenate([part, np.repeat(part[-1:], missing, 0)])
                          for part in (images, labels))
        yield images, labels, weights
