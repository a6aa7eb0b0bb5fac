"""Python functions inside of tf.data: of this process, or of the processes of a tf.data service.

A function belongs to the process in which its graph was made, so a graph that is sent has names instead.
"""
from __future__ import annotations

import contextlib
import contextvars
import json
from typing import Any, Callable, Iterator, Mapping

from .._keras_private import register_python_function
from ..json_writer import to_json

SENT_CALL = "reskeras"          # what TensorFlow looks up in the process that runs the graph
_is_sent = contextvars.ContextVar("is_sent", default=False)


@contextlib.contextmanager
def make_graphs_to_send() -> Iterator[None]:
    """Inside the block, graphs are made for other processes, which have called `answer_calls`."""
    token = _is_sent.set(True)
    try:
        yield
    finally:
        _is_sent.reset(token)


def call_python(function: Callable[..., Any], inputs: list[Any], types: Any, name: str,
                settings: Mapping[str, Any], shape: Any = None, stateful: bool = True) -> Any:
    """As `tf.numpy_function`; in a graph to send, a call of a named function.

    Args:
        function: of the inputs as arrays or bytes.
        inputs: tensors.
        types: of the output, or a tuple of those of several.
        name: of the function in `answer_calls`.
        settings: its keywords, which JSON can hold.
        shape: of each output, if it is known.
        stateful: as of `tf.numpy_function`.
    """
    import tensorflow as tf
    every_type = list(types) if isinstance(types, tuple) else [types]
    if _is_sent.get():
        call = tf.constant(to_json([name, dict(settings)]))
        outputs = tf.raw_ops.PyFuncStateless(input=[call, *inputs], token=SENT_CALL, Tout=every_type)
    else:
        outputs = tf.numpy_function(function, inputs, every_type, stateful=stateful)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]      # one, when called eagerly
    for output in outputs:
        output.set_shape(shape)
    return tuple(outputs) if isinstance(types, tuple) else outputs[0]


def answer_calls(functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Lets this process run graphs that `make_graphs_to_send` made.

    Args:
        functions: the name of each, and a function of its inputs and settings.

    Returns:
        What TensorFlow calls, as long as somebody keeps it.
    """
    def answer(call: bytes, *inputs: Any) -> Any:
        name, settings = json.loads(call)
        return functions[name](*inputs, **settings)
    register_python_function(SENT_CALL, answer)
    return answer
