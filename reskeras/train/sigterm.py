"""SIGTERM: the step ends, the state is saved, the process exits with 0."""
from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from ..terminal import print_text

_SECONDS = 8         # of the ten that schedulers commonly give


class SigtermHandler:
    """Notes a SIGTERM inside `with`, in the main thread.

    Args:
        is_active: whether to do so; else the signal has its usual effect.

    Attributes:
        is_requested: whether there has been a SIGTERM.
    """

    def __init__(self, is_active: bool):
        self.is_requested, self._timer = False, threading.Timer(_SECONDS, self._exit)
        self._timer.daemon = True
        self._is_active = is_active and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> SigtermHandler:
        if self._is_active:
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *error: Any) -> None:
        self._timer.cancel()
        if self._is_active:
            signal.signal(signal.SIGTERM, self._previous)

    def _handle(self, number: int, frame: Any) -> None:
        if not self.is_requested:
            self.is_requested = True
            self._timer.start()

    def _exit(self) -> None:
        """Ends the process within a step that takes too long; the previous checkpoint remains."""
        print_text("terminated within a step: the previous checkpoint is kept", file=sys.stderr)
        os._exit(0)
