"""Keeps TensorFlow's log off the terminal."""
from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import Iterator


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Inside the block, what TensorFlow's C++ code logs is not shown; no setting of Python reaches it.

    The log is shown where the block fails, except for the errors whose message says everything (ValueError,
    OSError).
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        terminal = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except (ValueError, OSError):
            raise
        except Exception:
            log.seek(0)
            os.write(terminal, log.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
