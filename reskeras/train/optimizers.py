"""Optimizers with the weight decay of their papers.

It is in the gradient (He et al.), apart from it (AdamW), or in the trust ratio (LAMB).

Keras' SGD subtracts the decay from the weights directly, past the momentum; its Lamb, past the trust ratio.
Both differ from the papers wherever there is momentum, or a ratio other than 1.
"""
from __future__ import annotations

import math
from typing import Any, Sequence

import keras
from keras import ops

from .._keras_private import get_moments, get_variable_index
from .keras_objects import is_serialized, restore_object
from .training import Training


class WeightDecay:
    """A mixin for optimizers: which variables decay, and by how much in the gradient.

    Args:
        l2: added to the gradient, times the variable.
        decayed_weights: which variables decay, a value of the recipes' field of this name.
        rate_scales: a factor of the learning rate for each variable, in their order; () is the same rate for
            all.
    """

    def __init__(self, *args: Any, l2: float = 0.0, decayed_weights: str = "all",
                 rate_scales: Sequence[float] = (), **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.l2, self.decayed_weights, self.rate_scales = l2, decayed_weights, tuple(rate_scales)

    def build(self, variables: list[Any]) -> None:
        optimizer: Any = self
        if not optimizer.built:
            self.decays = [_HAS_DECAY[self.decayed_weights](v) for v in variables]
            optimizer.exclude_from_weight_decay(
                var_list=[v for v, decays in zip(variables, self.decays) if self.rate_scales or not decays])
        super().build(variables)                                    # type: ignore[misc]

    def has_decay(self, variable: Any) -> bool:
        """Whether a variable decays."""
        return self.decays[get_variable_index(self, variable)]

    def add_decay(self, gradient: Any, variable: Any) -> Any:
        """The gradient with the decay of its variable."""
        if not self.l2 or not self.has_decay(variable):
            return gradient
        return gradient + ops.convert_to_tensor(self.l2, gradient.dtype) * ops.cast(variable, gradient.dtype)

    def scale_rate(self, learning_rate: Any, variable: Any) -> Any:
        """The learning rate of a variable."""
        if not self.rate_scales:
            return learning_rate
        scale = self.rate_scales[get_variable_index(self, variable)]
        return ops.cast(learning_rate, variable.dtype) * ops.cast(scale, variable.dtype)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = self.add_decay(gradient, variable)
        rate = self.scale_rate(learning_rate, variable)
        super().update_step(gradient, variable, rate)               # type: ignore[misc]

    def finalize_variable_values(self, var_list: Any) -> None:
        """Does nothing: Keras would end each epoch, which is a `fit` of its own, with the averages."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2,                                  # type: ignore[misc]
                "decayed_weights": self.decayed_weights,
                **({"rate_scales": list(self.rate_scales)} if self.rate_scales else {})}

    @classmethod
    def from_config(cls, config: dict[str, Any], *args: Any) -> Any:
        config = dict(config)
        if "decay_all" in config:           # saved by an earlier version
            config["decayed_weights"] = "all" if config.pop("decay_all") else "kernels"
        return super().from_config(config, *args)                                       # type: ignore[misc]


_HAS_DECAY = {"all": lambda variable: True, "kernels": lambda variable: len(variable.shape) > 1,
              "all_but_normalization": lambda variable: variable.name not in ("gamma", "beta")}


@keras.saving.register_keras_serializable("reskeras")
class SGD(WeightDecay, keras.optimizers.SGD):
    """v = momentum v + g + l2 w;  w = w - rate v  (Nesterov: w - rate (g + l2 w + momentum v)).

    Args:
        learning_rate_in_velocity: whether instead v = momentum v - rate (g + l2 w);  w = w + v  (Nesterov:
            w + momentum v - rate (g + l2 w)), as in Keras.  The two differ after the rate has changed.
    """

    def __init__(self, *args: Any, learning_rate_in_velocity: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.learning_rate_in_velocity = learning_rate_in_velocity

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.learning_rate_in_velocity or not self.momentum:
            return super().update_step(gradient, variable, learning_rate)
        gradient = self.add_decay(ops.cast(gradient, variable.dtype), variable)
        velocity = self.momentums[get_variable_index(self, variable)]
        new = self.momentum * velocity + gradient
        self.assign(velocity, new)
        step = gradient + self.momentum * new if self.nesterov else new
        self.assign_sub(variable, ops.cast(self.scale_rate(learning_rate, variable), variable.dtype) * step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate_in_velocity": self.learning_rate_in_velocity}


@keras.saving.register_keras_serializable("reskeras")
class Lars(SGD):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888), as MLPerf's reference has it.

    The gradient with its decay, g + l2 w, is multiplied by c ||w|| / (||g|| + l2 ||w|| + epsilon), and then
    goes into the momentum of `SGD`.  What does not decay is not adapted, nor are zeros.

    Args:
        trust_coefficient: c.
        epsilon: added to the norms.
        **kwargs: as of `SGD`, which it is with a ratio of 1.
    """

    def __init__(self, *args: Any, trust_coefficient: float = 0.001, epsilon: float = 0.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.trust_coefficient, self.trust_epsilon = trust_coefficient, epsilon

    def add_decay(self, gradient: Any, variable: Any) -> Any:
        """The gradient with its decay, times the ratio."""
        decayed = super().add_decay(gradient, variable)
        if not self.has_decay(variable):
            return decayed
        weight, slope = (ops.norm(ops.reshape(ops.cast(x, gradient.dtype), [-1]))
                         for x in (variable, gradient))
        norms = slope + self.l2 * weight + self.trust_epsilon
        is_adapted = (weight > 0) & (slope > 0)
        ratio = ops.where(is_adapted, self.trust_coefficient * weight / ops.where(norms > 0, norms, 1), 1.0)
        return ops.cast(ratio, gradient.dtype) * decayed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trust_coefficient": self.trust_coefficient,
                "epsilon": self.trust_epsilon}


class _Moments:
    """A mixin for Keras' Adam: the update that the moments of the gradient give.

    In the n-th update Keras' epsilon counts as epsilon / sqrt(1 - beta_2 ** n), 32 times as much in the first
    one: Keras adds it to the root of the second moment before it corrects the moment for beginning with zero.

    Args:
        corrects_root: whether epsilon is added after the correction, as in the papers and in PyTorch.
    """

    def __init__(self, *args: Any, corrects_root: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.corrects_root = corrects_root

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        optimizer: Any = self
        update = _adapt_gradient(optimizer, optimizer.add_decay(gradient, variable), variable)
        rate = ops.cast(optimizer.scale_rate(learning_rate, variable), variable.dtype)
        optimizer.assign_sub(variable, rate * update)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "corrects_root": self.corrects_root}    # type: ignore[misc]


def _adapt_gradient(optimizer: Any, gradient: Any, variable: Any) -> Any:
    """Updates the moments of a gradient.  Returns: the first one, divided by the second one's root."""
    dtype = variable.dtype
    m, v = get_moments(optimizer, variable)
    gradient = ops.cast(gradient, dtype)
    optimizer.assign_add(m, (gradient - m) * (1 - optimizer.beta_1))
    optimizer.assign_add(v, (ops.square(gradient) - v) * (1 - optimizer.beta_2))
    # 1 - beta ** n, without the cancellation that costs float32 five of its seven digits
    first, second = (-ops.expm1(ops.cast(optimizer.iterations + 1, dtype) * math.log(beta))
                     for beta in (optimizer.beta_1, optimizer.beta_2))
    epsilon = optimizer.epsilon if optimizer.corrects_root else optimizer.epsilon / ops.sqrt(second)
    return m / first / (ops.sqrt(v / second) + epsilon)


@keras.saving.register_keras_serializable("reskeras")
class Adam(_Moments, WeightDecay, keras.optimizers.Adam):
    """Adam (arXiv:1412.6980), with the decay in the gradient."""


@keras.saving.register_keras_serializable("reskeras")
class AdamW(_Moments, WeightDecay, keras.optimizers.AdamW):
    """AdamW (arXiv:1711.05101): the decay is rate * weight_decay * w, apart from the gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.rate_scales and self.has_decay(variable):       # Keras would take the same rate for all
            decay = ops.cast(self.scale_rate(learning_rate, variable) * self.weight_decay, variable.dtype)
            self.assign_sub(variable, ops.convert_to_tensor(variable) * decay)
        super().update_step(gradient, variable, learning_rate)


@keras.saving.register_keras_serializable("reskeras")
class Lamb(_Moments, WeightDecay, keras.optimizers.Lamb):
    """LAMB (arXiv:1904.00962, algorithm 2): the trust ratio compares the norm of update and decay together.

    What does not decay is not adapted, as in timm and tensorflow-addons.

    Args:
        weight_decay: times the variable, it is added to the update.
    """

    def __init__(self, *args: Any, weight_decay: float | None = None, **kwargs: Any):
        super().__init__(*args, corrects_root=True, **kwargs)
        self.decay = weight_decay or 0.0

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        update = _adapt_gradient(self, gradient, variable)
        ratio = ops.ones([], dtype)
        if self.decay and self.has_decay(variable):
            update = update + self.decay * variable
            weight, change = ops.norm(ops.reshape(variable, [-1])), ops.norm(ops.reshape(update, [-1]))
            quotient = weight / ops.where(change > 0, change, 1)
            ratio = ops.where((weight > 0) & (change > 0), quotient, ratio)
        rate = ops.cast(self.scale_rate(learning_rate, variable), dtype)
        self.assign_sub(variable, ratio * rate * update)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "weight_decay": self.decay}
        del config["corrects_root"]
        return config


def _make_sgd(training: Training, **options: Any) -> SGD:
    options |= {"momentum": float(training.momentum), "l2": training.weight_decay,
                "learning_rate_in_velocity": training.learning_rate_in_velocity}
    if training.optimizer == "lars":
        return Lars(trust_coefficient=training.trust_coefficient, epsilon=training.epsilon, **options)
    return SGD(nesterov=training.optimizer == "nesterov", **options)


def _read_epsilon(training: Training) -> dict[str, Any]:
    return {"epsilon": training.epsilon, "corrects_root": True} if training.epsilon else {}


_OPTIMIZERS = {
    "sgd": _make_sgd, "nesterov": _make_sgd, "lars": _make_sgd,
    "adam": lambda training, **options: Adam(l2=training.weight_decay, **_read_epsilon(training), **options),
    "adamw": lambda training, **options: AdamW(weight_decay=training.weight_decay, **_read_epsilon(training),
                                               **options),
    "lamb": lambda training, **options: Lamb(weight_decay=training.weight_decay,
                                             epsilon=training.epsilon or 1e-6, **options)}


def make_optimizer(training: Training, learning_rate: Any, micro_batches: int = 1,
                   rate_scales: Sequence[float] = ()) -> keras.optimizers.Optimizer:
    """Makes the recipe's optimizer.

    Args:
        training: the recipe's training part.
        learning_rate: a number or a schedule.
        micro_batches: batches whose gradients make one update.
        rate_scales: a factor of the learning rate for each trained variable, see `layer_rates`.
    """
    options: dict[str, Any] = {"learning_rate": learning_rate}
    if micro_batches > 1:
        options["gradient_accumulation_steps"] = micro_batches
    if is_serialized(training.optimizer):
        if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            options["learning_rate"] = keras.saving.serialize_keras_object(learning_rate)
        return restore_object("optimizer", training.optimizer, keras.optimizers.Optimizer, **options)
    options |= {"decayed_weights": training.decayed_weights, "rate_scales": rate_scales}
    options |= {name: value for name in ("global_clipnorm", "clipnorm", "clipvalue")
                if (value := getattr(training, name))}
    if training.ema_momentum and training.ema_rule == "keras":
        # Keras averages after each batch, of which only one in `micro_batches` changes anything: the same
        # horizon
        options |= {"use_ema": True, "ema_momentum": training.ema_momentum ** (1 / micro_batches)}
    return _OPTIMIZERS[str(training.optimizer)](training, **options)


def get_averages(optimizer: Any) -> list[Any]:
    """The averages that Keras' optimizer computes, in the order of the variables that it trains.

    Returns:
        [] without averaging, and before the first update: Keras' averages are zeros until then, for instance
        in an epoch in which every step overflows.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    has_averages = inner.use_ema and int(inner.iterations)
    return [v for v in inner.variables if v.name.endswith("_average")] if has_averages else []
