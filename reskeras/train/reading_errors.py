"""What TensorFlow says of files that it cannot read, in one line."""
from __future__ import annotations

import re

import tensorflow as tf

# Of a data set whose files are damaged, missing or not allowed to be read
READING_ERRORS = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)


def explain_tensorflow_error(error: tf.errors.OpError) -> str:
    """The first line of an error's message that says something, without the names of operations."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|\[\[.*?\]\]", "", error.message or "")
    lines = [" ".join(line.split()).removesuffix(" name:") for line in message.splitlines()]
    return next((line for line in lines if line), type(error).__name__)[:200]
