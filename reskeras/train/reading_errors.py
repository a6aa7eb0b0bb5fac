"""What TensorFlow says of files that it cannot read, in one line."""
from __future__ import annotations

import re

import tensorflow as tf

from ..errors import make_printable

# Of a data set whose files are damaged, missing or not allowed to be read
READING_ERRORS = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)


def explain_tensorflow_error(error: tf.errors.OpError | UnicodeDecodeError) -> str:
    """The first line of an error's message that says something, without the names of operations.

    Args:
        error: TensorFlow's, or Python's where TensorFlow's message has bytes of the file that are no text.
    """
    if isinstance(error, UnicodeDecodeError):
        message = error.object.decode(errors="replace")
    else:
        message = error.message or ""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|\[\[.*?\]\]", "", message)
    lines = [" ".join(line.split()).removesuffix(" name:") for line in message.splitlines()]
    return make_printable(next((line for line in lines if line), type(error).__name__)[:200])
