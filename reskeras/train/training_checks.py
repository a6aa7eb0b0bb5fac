"""Which values of a recipe's training part fit together.  Imports no framework."""
from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from .epoch_sizes import check_sizes_of_epochs
from .keras_objects import describe_object, is_serialized

# what an optimizer that is given as an object has of its own, and the values that mean "not used"
OPTIMIZER_FIELDS: dict[str, Any] = {
    "momentum": 0.0, "learning_rate_in_velocity": False, "epsilon": 0.0, "weight_decay": 0.0,
    "decayed_weights": "all", "trust_coefficient": 0.001,
    "clipnorm": 0.0, "global_clipnorm": 0.0, "clipvalue": 0.0, "layer_decay": 0.0}
# what a schedule that is given as an object replaces
SCHEDULE_FIELDS: dict[str, Any] = {
    "learning_rate_scaling": "none", "schedule": "constant", "milestones": (), "warmup": 0}


def check_training(training: Any) -> None:
    """Checks that the fields of a `Training` fit together.

    Raises:
        ArgumentError: for the first field that does not.
    """
    if bool(training.epochs) == bool(training.steps):
        raise ArgumentError("epochs", training.epochs, f"either epochs or steps (now {training.steps}) above "
                            "0, not both")
    if training.warmup >= (length := training.epochs or training.steps):
        raise ArgumentError("warmup", training.warmup, "a warm-up that is shorter than the training, which "
                            f"has {length} {training.unit}", hint="set both")
    if training.schedule == "plateau" and training.patience < 1:
        raise ArgumentError("patience", training.patience, "at least 1, because the schedule 'plateau' needs "
                            "the number of epochs without progress that make a plateau, such as 5")
    if training.schedule == "wsd" and len(training.milestones) != 1:
        raise ArgumentError("milestones", training.milestones, "one for the schedule 'wsd', where the rate "
                            "begins to fall", hint="such as (80,)")
    if training.schedule == "triangular" and not training.warmup:
        raise ArgumentError("warmup", training.warmup, "the length of the rise of the schedule 'triangular'",
                            hint="or give schedule='polynomial' with power=1")
    check_sizes_of_epochs(training)
    if not training.temperature:
        raise ArgumentError("temperature", training.temperature, "a number above 0")
    if training.alpha > 1:
        raise ArgumentError("alpha", training.alpha, "a fraction of the loss, in [0, 1]")
    _check_averages(training)
    _check_optimizer(training)
    _check_learning_rate(training)
    if not training.early_stopping and training.restore_best_weights:
        raise ArgumentError("restore_best_weights", True, "False without early_stopping",
                            hint="give early_stopping=5, for instance")


def _check_averages(training: Any) -> None:
    if training.ema_momentum >= 1:
        raise ArgumentError("ema_momentum", training.ema_momentum, "less than 1, such as 0.9999; with 1 the "
                            "average would never change")
    if training.ema_rule == "keras" and training.ema_steps > 1:
        raise ArgumentError("ema_steps", training.ema_steps, "1, because ema_rule='keras' averages after "
                            "each update")
    if training.ema_rule == "keras" and training.ema_momentum and is_serialized(training.optimizer):
        raise ArgumentError("ema_rule", "keras", "another rule with an optimizer that is an object, such as "
                            "'constant'")


def _check_optimizer(training: Any) -> None:
    clips = [name for name in ("clipnorm", "global_clipnorm", "clipvalue") if getattr(training, name)]
    if len(clips) > 1:
        raise ArgumentError(clips[1], getattr(training, clips[1]), f"0 with {clips[0]}, because gradients "
                            "are clipped in one way only")
    if training.layer_decay > 1:
        raise ArgumentError("layer_decay", training.layer_decay, "a factor of at most 1, such as 0.75")
    if not is_serialized(training.optimizer):
        return
    text = describe_object(training.optimizer)
    for name, unused in OPTIMIZER_FIELDS.items():
        if getattr(training, name) != unused:
            raise ArgumentError(name, getattr(training, name), f"none with the optimizer {text}, which has "
                                "its own", hint="layer_decay is for the optimizers of a recipe"
                                if name == "layer_decay" else f"give {name} to the optimizer, if it takes it")
    config = training.optimizer["config"]
    if training.optimizer["class_name"] == "LossScaleOptimizer":
        raise ArgumentError("optimizer", text, "the inner optimizer; dtype='mixed_float16' scales the loss")
    if "learning_rate" not in config:
        raise ArgumentError("optimizer", text, "an optimizer whose configuration has its learning_rate")
    if config.get("use_ema"):
        raise ArgumentError("optimizer", text, "one without use_ema", hint="give ema_momentum and ema_rule")
    if config.get("gradient_accumulation_steps"):
        raise ArgumentError("optimizer", text, "one without gradient_accumulation_steps",
                            hint="give micro_batches")


def _check_learning_rate(training: Any) -> None:
    if not is_serialized(training.learning_rate):
        return
    text = describe_object(training.learning_rate)
    for name, unused in SCHEDULE_FIELDS.items():
        if getattr(training, name) != unused:
            raise ArgumentError(name, getattr(training, name), f"{unused!r} with learning_rate={text}, which "
                                "is a schedule of its own")
    if training.head_epochs and not training.head_learning_rate:
        raise ArgumentError("head_learning_rate", 0, f"the rate of the epochs that train the classifier, "
                            f"because learning_rate is {text}")
