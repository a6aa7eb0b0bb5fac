"""The checks of a `Preprocessing`'s values, which may come from a file that is damaged or made to harm."""
from __future__ import annotations

from typing import Sequence

import numpy as np

from ..errors import ArgumentError, check_number, check_whole_number

# Keras' name of a scaling -> default mean and deviation: for pixels in 0..1 (torch, tf), for BGR in 0..255
# (caffe), for the values as they are (values); raw pixels are not scaled
PIXEL_SCALINGS = {"torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                  "tf": ((0.5,) * 3, (0.5,) * 3), "raw": ((0.0,) * 3, (1.0,) * 3),
                  "values": ((0.0,) * 3, (1.0,) * 3),
                  "caffe": ((103.939, 116.779, 123.68), (1.0,) * 3)}


def check_sizes(**sizes: Sequence[int]) -> None:
    """Raises: ArgumentError unless each argument is (height, width) in whole pixels."""
    for name, size in sizes.items():
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ArgumentError(name, size, "(height, width) in pixels")
        for side in size:
            check_whole_number(name, side)


def check_scaling(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises: ArgumentError unless both have a number for each channel, and no deviation is 0."""
    if not mean or len(mean) != len(std):
        raise ArgumentError("mean", mean, "a number for each channel, such as three for RGB, and the same "
                            f"count in std={std}")
    for name, values in (("mean", mean), ("std", std)):
        for value in values:
            check_number(name, value)
    if not all(std):
        raise ArgumentError("std", std, "numbers other than 0, because pixels are divided by them")


def check_pixels(pixels: np.ndarray, has_values: bool) -> np.ndarray:
    """Checks an array of one image or of several, and returns it.

    Args:
        pixels: (height, width, channels), or a batch of these.
        has_values: whether any type of numbers is allowed, and not only uint8.

    Raises:
        TypeError: for another type.
        ValueError: for another shape.
    """
    if pixels.dtype != "uint8" and not (has_values and pixels.dtype.kind in "uif"):
        raise TypeError(f"pixels of type {pixels.dtype}: expected uint8, 0 to 255; for floats "
                        "that already have the net's size, use reskeras.preprocess_input; to prepare images "
                        "by their own values, use Preprocessing(pixels=\"values\")")
    if pixels.ndim not in (3, 4) or not all(pixels.shape):
        raise ValueError(f"pixels of shape {pixels.shape}: expected images "
                         "(N, height, width, channels) or one image (height, width, channels)")
    return pixels


def check_fractions(**fractions: float) -> None:
    """Raises: ArgumentError unless each argument is in (0, 1]."""
    for name, fraction in fractions.items():
        if not 0 < check_number(name, fraction, expected="a fraction in (0, 1]") <= 1:
            raise ArgumentError(name, fraction, "a fraction in (0, 1]")


def check_bits(bits: int) -> None:
    """Raises: ArgumentError unless it is 0, or the bits of values that files hold in 16."""
    if bits != 0 and check_whole_number("bits", bits) not in range(9, 17):
        raise ArgumentError("bits", bits, "9 to 16, or 0 for as many as the largest value of each image has")
