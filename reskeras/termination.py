"""Lets SIGTERM end a program as SIGINT does: by an exception, so that temporary files are removed."""
from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any, Iterator

EXIT_CODE = 128 + signal.SIGTERM        # as shells report it


@contextlib.contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside the block SIGTERM raises SystemExit, so that `finally` blocks clean up, and the program ends.

    Changes nothing in a thread that is not the main thread, or if the program has its own handler of SIGTERM.

    Raises:
        SystemExit: with 143 as its code, after a SIGTERM.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    is_requested = False

    def handle(number: int, frame: Any) -> None:
        nonlocal is_requested
        is_requested = True
        raise SystemExit(EXIT_CODE)
    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if is_requested:        # native code may have replaced SystemExit by an error of its own
            raise SystemExit(EXIT_CODE)
