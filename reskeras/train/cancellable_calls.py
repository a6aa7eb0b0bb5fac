"""Calls of TensorFlow's functions that another thread can end.

TensorFlow's own context manager is of the whole process: it also cancels what other threads call meanwhile,
such as training steps.
"""
from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf

from .._keras_private import get_cancellable_execution


def make_cancellation() -> Any:
    """What ends calls by its `start_cancel`."""
    return get_cancellable_execution()[0]()


def make_cancellable(function: Callable[[], Any], cancellation: Any) -> Callable[[], Any]:
    """A function whose calls a `make_cancellation` ends.

    Args:
        function: it is traced, with operations that may wait for a long time.
        cancellation: it ends calls that wait, with `tf.errors.CancelledError`, and all later ones.
    """
    concrete = tf.function(function).get_concrete_function()
    _, get_context, execute = get_cancellable_execution()
    context = get_context()
    options = context.function_call_options
    attributes = ("executor_type", options.executor_type or "",
                  "config_proto", options.config_proto_serialized)

    def call() -> Any:
        outputs = execute(tf.compat.as_str(concrete.name), len(concrete.outputs), concrete.captured_inputs,
                          attributes, context, cancellation)
        return tf.nest.pack_sequence_as(concrete.structured_outputs, outputs)
    return call
