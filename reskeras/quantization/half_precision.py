"""Which tensors do not fit into float16, in which GPU delegates compute, whatever the file's type."""
from __future__ import annotations

from typing import Mapping

from .range_choice import Range

LARGEST = 65504.0           # the largest float16
SMALLEST = 2.0 ** -24       # the smallest above zero; a tensor below it becomes zero


def find_beyond_half(ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """The tensors that overflow in float16, or of which nothing is left.

    Args:
        ranges: the smallest and the largest value of each tensor, by its name.

    Returns:
        "NAME reaches 1.2e+05" for each, in the order of the tensors.
    """
    largest = {name: max(-low, high) for name, (low, high) in ranges.items()}
    return tuple(f"{name} reaches {value:.2g}" for name, value in largest.items()
                 if value > LARGEST or 0 < value < SMALLEST)
