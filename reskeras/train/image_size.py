"""The size of images, as recipes and augmentations have it: pixels on a side, or (height, width)."""
from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, to_whole_number

SIZE = "int | tuple[int, int]"          # the annotation of a field or argument that is a size
Sides = int | tuple[int, int]
EXPECTED_SIZE = "pixels on a side, or (height, width), such as 224, (224, 320) or \"224x320\""


def convert_size(name: str, value: Any) -> Sides:
    """Converts a size: a whole number, (height, width), or text such as "224x320"; a square is one number.

    Args:
        name: the argument, for the error.
        value: the value that was given.

    Raises:
        ArgumentError: for anything else.

    Example:
        >>> convert_size("size", "224x320")
        (224, 320)
    """
    sides: Any = value
    if isinstance(value, str):
        sides = [int(side) if side.strip().isdecimal() else 0 for side in value.split("x")]
    if isinstance(sides, float) and sides.is_integer():
        sides = int(sides)
    pair = sides if isinstance(sides, (tuple, list)) else (sides, sides)
    numbers = [to_whole_number(side) or 0 for side in pair]
    if len(numbers) != 2 or min(numbers) < 1:
        raise ArgumentError(name, value, EXPECTED_SIZE)
    height, width = numbers
    return height if height == width else (height, width)


def to_sides(size: Sides) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def describe_size(size: Sides) -> str:
    """The size in words: "224" or "224 x 320"."""
    return str(size) if isinstance(size, int) else f"{size[0]} x {size[1]}"
