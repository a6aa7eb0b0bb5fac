"""Keeps TensorFlow's log off the terminal, and shows our own warnings there."""
from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import warnings
from typing import Any, Iterator, TextIO

from ..errors import ExportError
from ..terminal import print_text

_terminal: int | None = None        # inside `quiet_tensorflow`: what the descriptor of stderr was before


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Inside the block, what TensorFlow's C++ code logs is not shown; no setting of Python reaches it.

    The log is shown if the block fails, except for the errors whose message says everything (ValueError,
    OSError, FloatingPointError, ExportError).
    """
    global _terminal
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        terminal = _terminal = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except (ValueError, OSError, FloatingPointError, ExportError):
            raise
        except Exception:
            log.seek(0)
            os.write(terminal, log.read())
            raise
        finally:
            sys.stderr.flush()
            _terminal = None
            os.dup2(terminal, 2)
            os.close(terminal)


@contextlib.contextmanager
def hide_retracing() -> Iterator[None]:
    """Inside the block TensorFlow does not warn that functions are traced often, as each training makes new
    ones.
    """
    logger = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


@contextlib.contextmanager
def show_own_warnings(program: str) -> Iterator[None]:
    """Inside the block, a warning of this package is one line on stderr, also inside `quiet_tensorflow`.

    Args:
        program: what the line begins with, such as "reskeras predict".
    """
    package = str(pathlib.Path(__file__).parents[1])

    def show(message: Any, category: Any, filename: str, *rest: Any, **options: Any) -> None:
        if not filename.startswith(package):
            show_others(message, category, filename, *rest, **options)
        elif _terminal is None:
            print_text(f"{program}: {message}", sys.stderr)
        else:
            with os.fdopen(os.dup(_terminal), "w", encoding="utf-8") as stream:
                print_text(f"{program}: {message}", stream)
    with warnings.catch_warnings():
        show_others, warnings.showwarning = warnings.showwarning, show
        yield


@contextlib.contextmanager
def open_terminal() -> Iterator[TextIO | None]:
    """Opens stderr as it is outside of `quiet_tensorflow`, to show progress; None if it is not a terminal."""
    with os.fdopen(os.dup(2 if _terminal is None else _terminal), "w", encoding="utf-8") as stream:
        yield stream if stream.isatty() else None
