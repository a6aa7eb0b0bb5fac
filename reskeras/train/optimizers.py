"""Optimizers with the weight decay of their papers.

It is in the gradient (He et al.), apart from it (AdamW), or in the trust ratio (LAMB).

Keras' SGD subtracts the decay from the weights directly, past the momentum; its Lamb, past the trust ratio.
Both differ from the papers wherever there is momentum, or a ratio other than 1.
"""
from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .._keras_private import get_moments, get_variable_index
from .training import Training


class WeightDecay:
    """A mixin for optimizers: which variables decay, and by how much in the gradient.

    Args:
        l2: added to the gradient, times the variable.
        decay_all: whether biases and the scales of normalization decay too, not only kernels.
    """

    def __init__(self, *args: Any, l2: float = 0.0, decay_all: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.l2, self.decay_all = l2, decay_all

    def build(self, variables: list[Any]) -> None:
        optimizer: Any = self
        if not optimizer.built:
            self.decays = [self.decay_all or len(v.shape) > 1 for v in variables]
            optimizer.exclude_from_weight_decay(
                var_list=[v for v, decays in zip(variables, self.decays) if not decays])
        super().build(variables)                                    # type: ignore[misc]

    def has_decay(self, variable: Any) -> bool:
        """Whether a variable decays."""
        return self.decays[get_variable_index(self, variable)]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.l2 and self.has_decay(variable):
            gradient = gradient + ops.cast(self.l2, gradient.dtype) * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)      # type: ignore[misc]

    def finalize_variable_values(self, var_list: Any) -> None:
        """Does nothing: Keras would end each epoch, which is a `fit` of its own, with the averages."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2, "decay_all": self.decay_all}     # type: ignore[misc]


@keras.saving.register_keras_serializable("reskeras")
class SGD(WeightDecay, keras.optimizers.SGD):
    """v = momentum v - rate (g + l2 w);  w = w + v  (Nesterov: w + momentum v - rate (g + l2 w))."""


@keras.saving.register_keras_serializable("reskeras")
class Adam(WeightDecay, keras.optimizers.Adam):
    """Adam (arXiv:1412.6980), with the decay in the gradient."""


@keras.saving.register_keras_serializable("reskeras")
class AdamW(WeightDecay, keras.optimizers.AdamW):
    """AdamW (arXiv:1711.05101): the decay is rate * weight_decay * w, apart from the gradient."""


@keras.saving.register_keras_serializable("reskeras")
class Lamb(WeightDecay, keras.optimizers.Lamb):
    """LAMB (arXiv:1904.00962, algorithm 2): the trust ratio compares the norm of update and decay together.

    What does not decay is not adapted, as in timm and tensorflow-addons.

    Args:
        weight_decay: times the variable, it is added to the update.
    """

    def __init__(self, *args: Any, weight_decay: float | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.decay = weight_decay or 0.0

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        m, v = get_moments(self, variable)
        gradient, step = ops.cast(gradient, dtype), ops.cast(self.iterations + 1, dtype)
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        update = (m / (1 - ops.power(ops.cast(self.beta_1, dtype), step))
                  / (ops.sqrt(v / (1 - ops.power(ops.cast(self.beta_2, dtype), step))) + self.epsilon))
        ratio = ops.ones([], dtype)
        if self.decay and self.has_decay(variable):
            update = update + self.decay * variable
            weight, change = ops.norm(ops.reshape(variable, [-1])), ops.norm(ops.reshape(update, [-1]))
            quotient = weight / ops.where(change > 0, change, 1)
            ratio = ops.where((weight > 0) & (change > 0), quotient, ratio)
        self.assign_sub(variable, ratio * ops.cast(learning_rate, dtype) * update)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_decay": self.decay}


def _make_sgd(training: Training, **options: Any) -> SGD:
    return SGD(momentum=float(training.momentum), l2=training.weight_decay,
               nesterov=training.optimizer == "nesterov", **options)


_OPTIMIZERS = {
    "sgd": _make_sgd, "nesterov": _make_sgd,
    "adam": lambda training, **options: Adam(l2=training.weight_decay, **options),
    "adamw": lambda training, **options: AdamW(weight_decay=training.weight_decay, **options),
    "lamb": lambda training, **options: Lamb(weight_decay=training.weight_decay, epsilon=1e-6, **options)}


def make_optimizer(training: Training, learning_rate: Any,
                   micro_batches: int = 1) -> keras.optimizers.Optimizer:
    """Makes the recipe's optimizer.

    Args:
        training: the recipe's training part.
        learning_rate: a number or a schedule.
        micro_batches: batches whose gradients make one update.
    """
    options: dict[str, Any] = {"learning_rate": learning_rate, "decay_all": training.decay_all_weights}
    if micro_batches > 1:
        options["gradient_accumulation_steps"] = micro_batches
    if training.ema_momentum:
        # Keras averages after each batch, of which only one in `micro_batches` changes anything: the same
        # horizon
        options |= {"use_ema": True, "ema_momentum": training.ema_momentum ** (1 / micro_batches)}
    return _OPTIMIZERS[training.optimizer](training, **options)


def get_averages(optimizer: Any) -> list[Any]:
    """The averaged weights, in the order of the variables that the optimizer trains.

    Returns:
        [] without averaging, and before the first update: Keras' averages are zeros until then, for instance
        in an epoch in which every step overflows.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    has_averages = inner.use_ema and int(inner.iterations)
    return [v for v in inner.variables if v.name.endswith("_average")] if has_averages else []
