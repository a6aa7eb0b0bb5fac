"""The roundings of TFLite's reference kernels, in floats.

An integer kernel adds up integers, multiplies the sum by a fixed-point number m * 2 ** e (0.5 <= m < 1), and
rounds twice: to a 2 ** -e-th of a step of the result, then to a whole step, halves away from zero.  Each
rounding once differs from both now and then, at a half; the differences grow from layer to layer.
"""
from __future__ import annotations

import math
from typing import Any

import keras

_PARTS_OF_AVERAGE = 4096.0      # an average of integers is a multiple of this part, or is not near a half


def round_sums(x: Any, unit: Any, scale: Any, count: int = 1) -> Any:
    """Rounds sums of integers to steps of the result.

    Args:
        x: the sums as floats, which are whole multiples of their unit but for the error of floats.
        unit: what 1 of the sums is worth; a number, or one for each channel.
        scale: the size of a step.
        count: over how many integers a mean is; its fixed-point number has the exponent of `unit` * `count`
            divided by `scale`, less the whole part of this number's logarithm.

    Returns:
        The number of steps, without the zero point.
    """
    ratio = unit / scale
    exponent = keras.ops.floor(keras.ops.log2(ratio * count)) + 1 - math.floor(math.log2(count))
    # a power of two, exactly
    parts = keras.ops.maximum(keras.ops.round(keras.ops.power(keras.ops.cast(2, x.dtype), -exponent)), 1)
    sums = round_half_away(x / unit)
    return round_half_away(round_half_away(sums * (ratio * parts)) / parts)


def round_average(x: Any, scale: Any, zero_point: Any) -> Any:
    """Rounds averages of integers of the same scale: the integers themselves, halves away from their zero.

    Args:
        x: the averages as floats.
        scale: the size of a step.
        zero_point: the integer that means zero.

    Returns:
        The number of steps, without the zero point.
    """
    steps = round_half_away(x / scale * _PARTS_OF_AVERAGE) / _PARTS_OF_AVERAGE
    return round_half_away(steps + zero_point) - zero_point


def round_half_away(x: Any) -> Any:
    """Rounds to whole numbers, halves away from zero.

    Args:
        x: floats.
    """
    return keras.ops.sign(x) * keras.ops.floor(keras.ops.abs(x) + 0.5)
