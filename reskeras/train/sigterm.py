"""SIGTERM and Ctrl-C: the step ends, the state is saved, and the process says how to go on."""
from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from ..terminal import print_text
from .run_folder import RunFolder

_SECONDS = 8         # of the ten that schedulers commonly give
_AGAIN = b"\nthe step ends, and the state is saved; press Ctrl-C again to end at once\n"


class StopSignalHandler:
    """Notes a SIGTERM or a Ctrl-C inside `with`, in the main thread.

    A second Ctrl-C is a KeyboardInterrupt at once, and so is the first where the program has a handler of its
    own.

    Args:
        run: the folder in which the training can be resumed; without one the signals have their usual effect.

    Attributes:
        is_requested: whether there has been a signal.
        word: what it did to the training.
    """

    def __init__(self, run: RunFolder | None):
        self.is_requested, self.word = False, "terminated"
        self._timer = threading.Timer(_SECONDS, self._exit)
        self._timer.daemon = True
        self._command = run.resume_command if run else ""
        self._is_active = bool(run) and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> StopSignalHandler:
        if self._is_active:
            self._previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._handle_sigterm)}
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._handle_interrupt)
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self._timer.cancel()
        if self._is_active:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def make_exit(self) -> BaseException:
        """What ends the training after a signal: SystemExit with 0, or KeyboardInterrupt."""
        return SystemExit(0) if self.word == "terminated" else KeyboardInterrupt()

    def _handle_sigterm(self, number: int, frame: Any) -> None:
        if not self.is_requested:
            self.is_requested = True
            self._timer.start()

    def _handle_interrupt(self, number: int, frame: Any) -> None:
        # os.write, because `print` may be what the signal interrupted
        if self.is_requested:
            os.write(2, f"\ninterrupted; the last checkpoint is kept; to resume: {self._command}\n".encode())
            raise KeyboardInterrupt
        self.is_requested, self.word = True, "interrupted"
        os.write(2, _AGAIN)

    def _exit(self) -> None:
        """Ends the process within a step that takes too long; the previous checkpoint remains."""
        print_text("terminated within a step: the previous checkpoint is kept", file=sys.stderr)
        os._exit(0)
