"""The one place that prints: text from files, such as labels, cannot control the terminal."""
from __future__ import annotations

import sys
from typing import TextIO

from .errors import make_printable


def print_text(text: object, file: TextIO | None = None) -> None:
    """Prints text, with escapes in place of characters that control a terminal (and in place of tabs).

    Characters that the stream's encoding does not have are printed as escapes, too.

    Args:
        text: lines of text, or anything else for its `str`.
        file: the stream; by default stdout.

    Example:
        >>> print_text("cat\\x1b[2J")
        cat\\x1b[2J
    """
    stream = file or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = "\n".join(map(make_printable, str(text).split("\n")))
    print(lines.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
