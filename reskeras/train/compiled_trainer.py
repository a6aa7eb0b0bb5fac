"""The model that trains: with the optimizer, the loss and the metrics of a phase."""
from __future__ import annotations

import contextlib
from typing import Any, Sequence

from . import strategy as strategies
from .averages import make_averages
from .classifier import find_final_activation
from .distillation import make_distillation_loss
from .layer_rates import list_rate_scales
from .losses import make_loss
from .metrics import build_metrics, make_metrics
from .optimizers import make_optimizer
from .sharpness import make_sharpness
from .training_config import TrainingConfig


def compile_trainer(config: TrainingConfig, learning_rate: Any,
                    layers: Sequence[Any]) -> tuple[Any, list[Any], Any]:
    """Compiles the model for a phase, in the scope of the strategy.

    Args:
        config: what is trained.
        learning_rate: a number or a schedule.
        layers: the layers of the model, also those of models inside it.

    Returns:
        (a model that shares the variables of the one that is trained, the metrics, the recipe's optimizer,
        which Keras may have put into one that scales the loss).

    Raises:
        ArgumentError: if XLA was requested and cannot be used.
    """
    training = config.training
    with config.strategy.scope() if config.strategy else contextlib.nullcontext():
        trainer = strategies.distributable(config.model)
        # Keras scales the loss if the dtype policy of the model is mixed_float16; a functional or loaded
        # model does not know its policy, so that of its first layer with weights is taken
        trainer.dtype_policy = next(layer.dtype_policy for layer in layers if layer.weights)
        scales = list_rate_scales(config.model, training.layer_decay, trainer.trainable_variables)
        optimizer = make_optimizer(training, learning_rate, config.micro_batches, scales)
        activation = find_final_activation(config.model)
        metrics = make_metrics(config.task, activation, config.extra_metrics)
        dtype = trainer.dtype_policy.compute_dtype
        loss = make_loss(training, activation, dtype, config.task)
        trainer.teacher = config.teacher
        if config.teacher is not None:
            loss = make_distillation_loss(training, loss, activation, config.task.kind, dtype)
        trainer.compile(optimizer, loss, metrics=metrics, jit_compile=config.jit_compile)
        build_metrics(trainer, config.extra_metrics)
        trainer.optimizer.build(trainer.trainable_variables)
        trainer.sharpness = make_sharpness(training, config.micro_batches)
        trainer.weight_averages = make_averages(training, config.model, config.steps_per_epoch,
                                                config.micro_batches)
    return trainer, metrics, optimizer
