"""Fake quantization: floats rounded to the levels that an integer would have, with a gradient.

A tensor of `bits` bits has 2 ** bits levels from `low` to `high`, and zero is one of them: the range is
shifted a little, so that it is (Jacob et al. 2018, arXiv:1712.05877, section 3).  Values outside are clipped.
The gradient of rounding is 1 inside of the range; outside it goes to the end that a value is clipped to.

On TensorFlow one op computes it (`fake_quant_with_min_max_vars`), which the TFLite converter knows; on other
backends `keras.ops` compute the same.
"""
from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

MIN_WIDTH = 1e-6        # of a range: a tensor that is always zero has none
# A channel of a kernel gets levels as if it had a weight of this share of the largest weight.  The levels of
# a channel that is almost zero would be so fine that its bias is too large for 32 bits.
LEAST_SHARE = 2.0 ** -10


def fake_quantize(x: Any, low: Any, high: Any, bits: int = 8) -> Any:
    """Rounds a tensor to the levels of its range.

    Args:
        x: float32 or float64.
        low: the lower end of the range, at most 0.
        high: its upper end, at least 0.
        bits: the bits of an integer.

    Returns:
        A tensor of the same type and shape.
    """
    high = ops.maximum(high, low + MIN_WIDTH)
    if keras.config.backend() == "tensorflow" and x.dtype == "float32":
        import tensorflow as tf
        return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits)
    return _fake_quantize_by_ops(x, low, high, bits)


def fake_quantize_kernel(kernel: Any, bits: int = 8, per_channel: bool = True) -> Any:
    """Rounds a kernel to levels that are symmetric around zero, as many above it as below.

    The largest weight is the last level, so that no weight is clipped.

    Args:
        kernel: float32 (..., channels).
        bits: the bits of an integer; one of its 2 ** bits values is not used.
        per_channel: whether each channel has its own levels.
    """
    ends = find_kernel_ends(kernel, per_channel)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf
        quantize = (tf.quantization.fake_quant_with_min_max_vars_per_channel if per_channel
                    else tf.quantization.fake_quant_with_min_max_vars)
        return quantize(kernel, -ends, ends, num_bits=bits, narrow_range=True)
    return _fake_quantize_by_ops(kernel, -ends, ends, bits, narrow_range=True)


def find_kernel_ends(kernel: Any, per_channel: bool = True) -> Any:
    """The largest magnitude that the levels of a kernel reach: one, or one for each channel.

    Args:
        kernel: float32 (..., channels).
        per_channel: whether each channel has its own levels.
    """
    largest = ops.max(ops.abs(kernel))
    ends = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1))) if per_channel else largest
    return ops.maximum(ends, ops.maximum(largest * LEAST_SHARE, MIN_WIDTH))


def _fake_quantize_by_ops(x: Any, low: Any, high: Any, bits: int, narrow_range: bool = False) -> Any:
    """As TensorFlow's op, on any backend.

    Args:
        x: float32.
        low: the lower end of the range; may have one for each channel.
        high: the upper end.
        bits: the bits of an integer.
        narrow_range: whether the lowest integer is not used.
    """
    first, last = float(narrow_range), 2.0 ** bits - 1
    scale = (high - low) / (last - first)
    zero_point = ops.clip(ops.floor(first - low / scale + 0.5), first, last)
    # stop_gradient: an end gets the gradients of what is clipped to it, and none by way of the scale
    step = ops.stop_gradient(scale)
    bottom = low + ops.stop_gradient((first - zero_point) * scale - low)
    top = high + ops.stop_gradient((last - zero_point) * scale - high)
    clipped = ops.where(x < bottom, bottom, ops.where(x > top, top, x))
    level = ops.floor((clipped - bottom) / step + 0.5)
    return clipped + ops.stop_gradient(level * step + bottom - clipped)


def compute_scale_and_zero_point(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    """The scale and the zero point of the integers from -2 ** (bits - 1) on, for a range.

    Args:
        low: the lower end, at most 0.
        high: the upper end, at least 0.
        bits: the bits of an integer.
    """
    high = max(float(high), float(np.float32(low) + np.float32(MIN_WIDTH)))
    first, last = -2 ** (bits - 1), 2 ** (bits - 1) - 1
    scale = (high - float(low)) / (last - first)
    return float(np.float32(scale)), int(np.clip(np.floor(first - low / scale + 0.5), first, last))


def compute_kernel_scales(kernel: np.ndarray, bits: int = 8, per_channel: bool = True) -> np.ndarray:
    """The scales of the symmetric integers of a kernel: one, or one for each channel.

    Args:
        kernel: float32 (..., channels).
        bits: the bits of an integer.
        per_channel: whether each channel has its own.
    """
    largest = np.abs(kernel).max()
    ends = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) if per_channel else largest[None]
    ends = np.maximum(ends, np.maximum(largest * np.float32(LEAST_SHARE), np.float32(MIN_WIDTH)))
    return np.asarray(ends / (2 ** (bits - 1) - 1), "float32")
