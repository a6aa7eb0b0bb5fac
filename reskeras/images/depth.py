"""Pixels of up to 16 bits as bytes.

Files have 8 or 16 bits for each value, and many sensors 10, 12 or 14, which are stored in 16.
"""
from __future__ import annotations

import functools
import warnings

import numpy as np

# Of what a file of 16 bits may hold; 16 is the last resort
DEPTHS = (8, 10, 12, 14)


def convert_to_bytes(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Scales values of `bits` bits to 0 ... 255; larger values become 255."""
    scaled: np.ndarray = np.minimum(pixels >> max(bits - 8, 0), 255).astype("uint8")
    return scaled


def choose_bits(largest: int) -> int:
    """How many bits an image has whose largest value is this one: 8, 10, 12, 14 or 16.

    Says once for each number of bits, as a warning, what was chosen if it is not 16.
    """
    bits = next((depth for depth in DEPTHS if largest < 2 ** depth), 16)
    if bits < 16:
        _announce(bits)
    return bits


@functools.cache
def _announce(bits: int) -> None:
    warnings.warn(f"images of 16 bits whose largest value is below {2 ** bits:,} are taken for {bits} bits: "
                  f"0 ... {2 ** bits - 1:,} becomes 0 ... 255; "
                  "dataclasses.replace(reskeras.get_preprocessing(model), bits=16) as `preprocessing` reads "
                  "all images as 16 bits, and bits=12 as 12", stacklevel=2)
