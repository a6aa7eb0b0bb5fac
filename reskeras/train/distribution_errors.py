"""Errors under a `tf.distribute` strategy: what a model cannot be compiled with, and lost workers."""
from __future__ import annotations

import contextlib
import re
from typing import Any, Iterator

import keras
import tensorflow as tf
from keras import tree

from ..errors import ArgumentError, LostWorkerError

_MEANS = ("sum_over_batch_size", "mean")     # reductions of a loss that are a mean over samples


def check_loss(loss: Any, strategy: tf.distribute.Strategy) -> None:
    """Checks that a loss is a mean over samples; only then are the shares of the replicas known.

    Raises:
        ArgumentError: for a loss that cannot be distributed.
    """
    for one in tree.flatten(loss):
        reduction = getattr(one, "reduction", _MEANS[0])
        if strategy.num_replicas_in_sync > 1 and reduction not in _MEANS:
            raise ArgumentError(f"{one.name}: reduction", reduction, f"{_MEANS[0]!r}, the mean over the "
                                f"global batch, on {strategy.num_replicas_in_sync} replicas")


def check_optimizer(optimizer: Any, strategy: tf.distribute.Strategy) -> None:
    """Checks that an optimizer was made in the scope of a strategy.  Raises: ValueError if it was not."""
    # a variable from its constructor
    steps = getattr(optimizer, "inner_optimizer", optimizer).variables[0]
    optimizer_strategy = getattr(steps.value, "distribute_strategy", None)
    if strategy.num_replicas_in_sync > 1 and optimizer_strategy is not strategy:
        raise ValueError(f"optimizer {optimizer.name}: made outside of the model's strategy; make it inside "
                         "of `with model.distribute_strategy.scope():`")


def check_compilable(model: keras.Model, run_eagerly: bool) -> None:
    """Checks that XLA can compile a model.  Raises: ArgumentError if it would not be used, or cannot."""
    if run_eagerly:
        raise ArgumentError("jit_compile", True, "False with run_eagerly=True, because XLA compiles graphs")
    unsupported = [layer.name for layer in model.layers if not layer.supports_jit]
    if unsupported:
        raise ArgumentError("jit_compile", True,
                            f"False, because XLA cannot compile {', '.join(unsupported)}")
    synchronized = [layer.name for layer in model.layers if getattr(layer, "synchronized", False)]
    if synchronized and model.distribute_strategy.num_replicas_in_sync > 1:
        raise ArgumentError("jit_compile", True, "False, because XLA compiles each replica separately, but "
                            f"{synchronized[0]} needs the samples of the others within the forward pass",
                            hint="or choose 'batch' or 'group' as the net's `norm`")


@contextlib.contextmanager
def explain_lost_worker() -> Iterator[None]:
    """Context manager around a training run: says in one line that another worker was lost.

    Raises:
        LostWorkerError: if another worker has stopped, or did not answer in time.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError) as error:
        message = re.sub(r"\{\{.*?\}\}", "", error.message)     # the operation, which is of this worker
        tasks = dict.fromkeys(re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", message))
        named = f" ({', '.join(f'{job} task:{number}' for job, number in tasks)})" if tasks else ""
        raise LostWorkerError(f"another worker was lost{named}, or did not answer in time; start all workers "
                              "again to resume from the last checkpoint") from error
