"""The values of options: how the text that the shell gives becomes an argument of the library call."""
from __future__ import annotations

import argparse
import ast
from typing import Any


def parse_int(text: str) -> int:
    """Parses "224".  Raises: ArgumentTypeError."""
    try:
        return int(text)
    except ValueError:
        raise _error(text, "a whole number") from None


def parse_number(text: str) -> float:
    """Parses "0.2".  Raises: ArgumentTypeError."""
    try:
        return float(text)
    except ValueError:
        raise _error(text, "a number") from None


def parse_size(text: str) -> int | tuple[int, int]:
    """Parses "224", or "224x192" as (height, width).  Raises: ArgumentTypeError."""
    try:
        sides = [int(side) for side in text.split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise _error(text, "PIXELS or HEIGHTxWIDTH, such as 224 or 224x192")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def parse_names(text: str) -> list[str]:
    """Parses "fold_bn,fold_pad".  Raises: ArgumentTypeError if there is no name between two commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise _error(text, "names with a comma between them")
    return names


def parse_value(text: str) -> Any:
    """Parses a number, a tuple or True as Python writes it; any other text stays as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _error(text: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
