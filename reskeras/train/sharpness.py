"""Sharpness-aware minimization (arXiv:2010.01412): the gradient where the loss is highest nearby."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import keras
import tensorflow as tf

from ..errors import ArgumentError
from .training import Training

_EPSILON = 1e-12        # added to the norm of the gradient, as in mosaicml/composer's SAM


@dataclass(frozen=True)
class SharpnessAwareness:
    """A second gradient of a batch, at the weights plus rho g / ||g||, in place of the first one, g.

    The norm is that of all gradients together, over all replicas.  The second pass changes neither the
    running statistics nor the metrics.

    Attributes:
        rho: the distance to the second place.
        interval: of so many updates the last one has a second pass.
    """

    rho: float
    interval: int = 1

    def replace_gradients(self, model: keras.Model, gradients: list[Any],
                          compute: Callable[[], Any]) -> list[Any]:
        """The gradients of a step, outside of the replicas.

        Args:
            model: the compiled model.
            gradients: of its trainable variables, the sum over the replicas; None for one that has none.
            compute: computes the gradients of the same batch at the present weights.
        """
        trained = [i for i, gradient in enumerate(gradients) if gradient is not None]
        variables = [model.trainable_variables[i] for i in trained]
        first = [gradients[i] for i in trained]

        def climb() -> list[Any]:
            norm = tf.linalg.global_norm(first)
            # with loss scaling a gradient may overflow; the optimizer then skips the step
            is_finite = tf.math.is_finite(norm)
            scale = tf.where(is_finite, self.rho / (norm + _EPSILON), 0.0)
            steps = [tf.where(is_finite, g * tf.cast(scale, g.dtype), 0.0) for g in first]
            before = [tf.identity(tf.convert_to_tensor(v)) for v in variables]
            # TensorFlow runs what reads and writes the same variable in the order of the program
            for variable, old, step in zip(variables, before, steps):
                variable.assign(old + tf.cast(step, old.dtype))
            second = compute()
            for variable, old in zip(variables, before):
                variable.assign(old)
            results = [model.distribute_strategy.experimental_local_results(second[i])[0] for i in trained]
            return [tf.where(is_finite, new, old) for new, old in zip(results, first)]

        if self.interval == 1:
            chosen = climb()
        else:
            steps = tf.cast(tf.convert_to_tensor(model.optimizer.iterations), tf.int64)
            chosen = tf.cond(steps % self.interval == self.interval - 1, climb, lambda: first)
        return [chosen[trained.index(i)] if i in trained else None for i in range(len(gradients))]


def make_sharpness(training: Training, micro_batches: int) -> SharpnessAwareness | None:
    """The sharpness awareness of a recipe, if it has one.

    Args:
        training: the recipe's training part.
        micro_batches: batches whose gradients make one update.

    Raises:
        ArgumentError: with micro-batches, and with another backend than TensorFlow.
    """
    if not training.sam_rho:
        return None
    if micro_batches > 1:
        raise ArgumentError("micro_batches", micro_batches, "1 with sam_rho, which needs the gradient of the "
                            "whole batch")
    if keras.config.backend() != "tensorflow":
        raise ArgumentError("sam_rho", training.sam_rho, f"0 with KERAS_BACKEND={keras.config.backend()}",
                            hint="TensorFlow has it")
    return SharpnessAwareness(float(training.sam_rho), training.sam_interval)
