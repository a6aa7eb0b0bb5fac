"""Which Keras callbacks a training run takes, and with which recipes; checked before the first batch."""
from __future__ import annotations

import contextlib
import importlib.util
from typing import Any, Iterator, Sequence

import keras

from ..errors import ArgumentError
from .keras_objects import describe_object, is_serialized
from .training import Training

_SETS_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
# callback -> what to use instead
_REFUSED = {
    keras.callbacks.BackupAndRestore:
        "fit saves and resumes a training run itself, even within an epoch: give a folder as `output`, and "
        "later the same folder as `resume`",
    keras.callbacks.SwapEMAWeights:
        "fit itself validates and saves the averaged weights of a recipe with ema_momentum",
}


def check_callbacks(callbacks: Sequence[Any], training: Training) -> None:
    """Checks that the callbacks of a training run can do their work.

    Args:
        callbacks: what the user has given.
        training: the recipe's training part.

    Raises:
        ArgumentError: for what is no callback; for a callback that does what `fit` does itself; for one that
            sets the learning rate, if the recipe has a schedule, which sets it too.
        ImportError: for TensorBoard without its package.
    """
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise ArgumentError("callbacks", callback, "Keras callbacks, such as "
                                "[keras.callbacks.EarlyStopping('val_loss')]")
        for kind, hint in _REFUSED.items():
            if isinstance(callback, kind):
                raise ArgumentError("callbacks", name, "other callbacks", hint=hint)
        if isinstance(callback, keras.callbacks.TensorBoard) and not importlib.util.find_spec("tensorboard"):
            raise ImportError(f"the callback {name} needs tensorboard: pip install tensorboard; without it "
                              "fit writes TensorBoard's events into the folder `output`")
        if isinstance(callback, _SETS_RATE):
            if is_serialized(training.learning_rate):
                raise ArgumentError("learning_rate", describe_object(training.learning_rate), "a number with "
                                    f"the callback {name}, because only one of the two can set the rate")
            if training.schedule not in ("constant", "plateau"):
                raise ArgumentError("schedule", training.schedule, f"'constant' with the callback {name}, "
                                    "because only one of the two can set the learning rate",
                                    hint="give schedule='constant', or leave out the callback")
            if training.warmup:
                raise ArgumentError("warmup", training.warmup, f"0 with the callback {name}, because only "
                                    "one of the two can set the learning rate",
                                    hint="give warmup=0, or leave out the callback")


@contextlib.contextmanager
def explain_set_rate(training: Training) -> Iterator[None]:
    """Context manager around a training run: says what a callback of one's own needs that sets the rate.

    Such a callback cannot be told from others before it sets the rate.

    Raises:
        ArgumentError: if it did so although the recipe has a schedule.
    """
    try:
        yield
    except TypeError as error:
        if "learning rate is not settable" not in str(error):
            raise
        if is_serialized(training.learning_rate):
            raise ArgumentError("learning_rate", describe_object(training.learning_rate), "a number, because "
                                "a callback sets the learning rate too") from error
        name = "warmup" if training.schedule == "constant" else "schedule"
        expected = "0" if name == "warmup" else "'constant'"
        raise ArgumentError(name, getattr(training, name), f"{expected}, because a callback sets the "
                            "learning rate too",
                            hint=f"give {name}={expected}, or leave out the callback") from error


def ends_quietly(callbacks: Sequence[Any]) -> bool:
    """Whether a callback asks for the end of a training run without an error if its loss is not finite."""
    return any(isinstance(c, keras.callbacks.TerminateOnNaN) and not c.raise_error for c in callbacks)
