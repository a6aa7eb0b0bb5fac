"""Converts pixels of up to 16 bits to bytes.

An image file has 8 or 16 bits for each value.  Many sensors have 10, 12 or 14 bits, which are stored in 16.
"""
from __future__ import annotations

import functools
import warnings

import numpy as np

# How many bits the values in a file of 16 bits may use; if none of these fits, they use 16
DEPTHS = (8, 10, 12, 14)


def convert_to_bytes(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Scales values of `bits` bits to 0 ... 255; larger values become 255."""
    scaled: np.ndarray = np.minimum(pixels >> max(bits - 8, 0), 255).astype("uint8")
    return scaled


def choose_bits(largest: int) -> int:
    """How many bits an image has, from its largest value: 8, 10, 12, 14 or 16.

    If it chooses less than 16, a warning says so, once for each number of bits.
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
