"""The checks of a `Preprocessing`'s values, which may come from a file that is damaged or made to harm."""
from __future__ import annotations

from typing import Sequence

from ..errors import ArgumentError, check_number, check_whole_number


def check_sizes(**sizes: Sequence[int]) -> None:
    """Raises: ArgumentError unless each argument is (height, width) in whole pixels."""
    for name, size in sizes.items():
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ArgumentError(name, size, "(height, width) in pixels")
        for side in size:
            check_whole_number(name, side)


def check_scaling(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises: ArgumentError unless both have one number for gray or three for RGB, and no deviation is 0."""
    if len(mean) not in (1, 3) or len(mean) != len(std):
        raise ArgumentError("mean", mean,
                            f"one number for gray or three for RGB, and the same count in std={std}")
    for name, values in (("mean", mean), ("std", std)):
        for value in values:
            check_number(name, value)
    if not all(std):
        raise ArgumentError("std", std, "numbers other than 0, because pixels are divided by them")


def check_fractions(**fractions: float) -> None:
    """Raises: ArgumentError unless each argument is in (0, 1]."""
    for name, fraction in fractions.items():
        if not 0 < check_number(name, fraction, expected="a fraction in (0, 1]") <= 1:
            raise ArgumentError(name, fraction, "a fraction in (0, 1]")


def check_bits(bits: int) -> None:
    """Raises: ArgumentError unless it is 0, or the bits of values that files hold in 16."""
    if bits != 0 and check_whole_number("bits", bits) not in range(9, 17):
        raise ArgumentError("bits", bits, "9 to 16, or 0 for as many as the largest value of each image has")
