"""SIGTERM: the step ends, the state is saved, the process exits with 0."""
from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

SECONDS = 8         # of the ten that schedulers commonly give


class Termination:
    """Notes a SIGTERM inside `with`, in the main thread; `asked` is whether there has been one."""

    def __init__(self, active: bool):
        self.asked, self.timer = False, threading.Timer(SECONDS, self.leave)
        self.timer.daemon = True
        self.active = active and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Termination:
        if self.active:
            self.before = signal.signal(signal.SIGTERM, self.note)
        return self

    def __exit__(self, *error: Any) -> None:
        self.timer.cancel()
        if self.active:
            signal.signal(signal.SIGTERM, self.before)

    def note(self, number: int, frame: Any) -> None:
        if not self.asked:
            self.asked = True
            self.timer.start()

    def leave(self) -> None:
        """A step or a first compilation takes too long: the last checkpoint, which is whole, has to do."""
        print("terminated within a step: the last checkpoint stays as it is", file=sys.stderr, flush=True)
        os._exit(0)
