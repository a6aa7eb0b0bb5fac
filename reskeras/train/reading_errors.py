"""What is wrong with files that cannot be read, in one line."""
from __future__ import annotations

import re
from typing import Sequence

import tensorflow as tf

from ..errors import make_printable
from ..file_reading import read_bytes
from ..images.decode import decode_image
from ..images.values import decode_values
from ..remote_paths import exists

# Of a data set whose files are damaged, missing or not allowed to be read
READING_ERRORS = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)
_MAX_EXPLAINED = 10         # so many images are opened again, to say what is wrong with them


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
    lines = [line for line in lines if line] or [type(error).__name__]
    # of a function that was traced, the lines of its Python come before
    return make_printable(lines[-1 if lines[0] == "Graph execution error:" else 0][:200])


def describe_unreadable(names: Sequence[str]) -> str:
    """The names of images that cannot be read, and what is wrong with the first ones.

    Args:
        names: paths, or the names of images that are no files.
    """
    texts = []
    for name in names[:_MAX_EXPLAINED]:
        reason = _explain(name)
        texts.append(make_printable(f"{name} ({reason})" if reason else name))
    rest = len(names) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest else "")


def _explain(name: str) -> str:
    """What is wrong with an image; "" if it is no file, or can be read by now."""
    try:
        if not exists(name):
            return ""
        data = read_bytes(name)
        decode_values(data) if data.startswith(b"\x93NUMPY") else decode_image(data)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError as error:
        return str(error).removeprefix(f"{name} ")
    return ""
