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


def parse_ints(text: str) -> list[int]:
    """Parses "1,8,32".  Raises: ArgumentTypeError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise _error(text, "whole numbers with a comma between them") from None


def parse_value(text: str) -> Any:
    """Parses a number, a tuple or True as Python writes it; any other text stays as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def parse_class_weight(text: str) -> Any:
    """Parses "balanced", "cat=2,dog=0.5", or a dict as Python writes it.  Raises: ArgumentTypeError."""
    if "=" not in text:
        return parse_value(text)
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError:
        raise _error(text, "CLASS=WEIGHT,CLASS=WEIGHT, such as cat=2,dog=0.5") from None


def parse_calls(text: str) -> list[str]:
    """Parses "AUC,Precision(0.3, top_k=2)" at the commas outside of parentheses.  Raises: ArgumentTypeError.
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    names = [part.strip() for part in parts]
    if depth or not all(names):
        raise _error(text, "names or calls with a comma between them, such as AUC,Precision(0.3)")
    return names


def _error(text: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
