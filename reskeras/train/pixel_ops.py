"""What Pillow's operations do to pixels, in TensorFlow.

Pixels are whole numbers in 0..255, as float32 (height, width, 1 or 3); so are the results.  As Pillow does,
results of arithmetic are cut off after the decimal point, not rounded.
"""
from __future__ import annotations

import math
from typing import Any, Sequence

import tensorflow as tf

from .seeds import draw_whole_numbers

_WHITE = 255.0
_LUMA = (19595.0, 38470.0, 7471.0)      # weights of red, green, blue for gray (ITU-R 601), unit 1/65536
_ALMOST = 1e-3      # Pillow computes in 64 bits: what is a whole number there may be a little less in 32 bits
Matrix = Sequence[Any]      # (a, b, c, d, e, f): the pixel (x, y) is taken from (ax + by + c, dx + ey + f)


def to_whole_numbers(x: tf.Tensor) -> tf.Tensor:
    """The nearest whole numbers in 0..255, float32."""
    return tf.round(tf.clip_by_value(tf.cast(x, tf.float32), 0.0, _WHITE))


def make_color(x: tf.Tensor, color: tuple[float, ...]) -> tf.Tensor:
    """A color with as many channels as `x`: (channels,)."""
    channels = x.shape[-1]
    return tf.constant(color if len(color) == channels else [sum(color) / len(color)] * channels, tf.float32)


def _to_gray(x: tf.Tensor) -> tf.Tensor:
    """Gray levels, (height, width, 1), as Pillow's mode "L"."""
    if x.shape[-1] == 1:
        return x
    # exact: all sums are whole numbers below 2 ** 24
    return tf.floor((tf.tensordot(x, tf.constant(_LUMA)[:, None], 1) + 2 ** 15) / 2 ** 16)


def blend(start: Any, end: Any, factor: Any) -> tf.Tensor:
    """`start` for factor 0, `end` for factor 1; beyond them for other factors."""
    return tf.floor(tf.clip_by_value(start + factor * (end - start), 0.0, _WHITE))


def adjust_color(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """Gray for factor 0, the image for 1, more colors above."""
    return blend(_to_gray(x), x, factor)


def adjust_contrast(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """The mean gray level for factor 0, the image for 1, more contrast above."""
    return blend(tf.floor(tf.reduce_mean(_to_gray(x)) + 0.5), x, factor)


def adjust_brightness(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """Black for factor 0, the image for 1, brighter above."""
    return blend(0.0, x, factor)


def adjust_sharpness(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """A blurred image for factor 0, the image for 1, sharper above."""
    return blend(smooth(x, tf.round), x, factor)


def smooth(x: tf.Tensor, to_whole: Any) -> tf.Tensor:
    """The mean of 3 x 3 pixels, in which the middle counts five times; pixels at the border stay.

    Args:
        x: pixels.
        to_whole: makes whole numbers of the means.
    """
    height, width = tf.unstack(tf.shape(x)[:2])
    padded = tf.pad(x, [(1, 1), (1, 1), (0, 0)])
    columns = padded[:-2] + padded[1:-1] + padded[2:]
    means = to_whole((columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:] + 4 * x) / 13)
    row, column = tf.range(height)[:, None], tf.range(width)[None]
    is_inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return tf.where(is_inside[..., None], means, x)


def invert(x: tf.Tensor) -> tf.Tensor:
    """White becomes black."""
    return _WHITE - x


def solarize(x: tf.Tensor, threshold: Any) -> tf.Tensor:
    """Inverts the levels from `threshold` on."""
    return tf.where(x < threshold, x, _WHITE - x)


def solarize_add(x: tf.Tensor, addition: Any) -> tf.Tensor:
    """Adds to the levels below 128."""
    return tf.where(x < 128.0, tf.minimum(x + addition, _WHITE), x)


def posterize(x: tf.Tensor, bits: Any) -> tf.Tensor:
    """Keeps the first `bits` of 8 bits."""
    step = 2.0 ** (8.0 - bits)
    return tf.floor(x / step) * step


def autocontrast(x: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255."""
    low, high = tf.reduce_min(x, (0, 1)), tf.reduce_max(x, (0, 1))
    # in 64 bits as Pillow, because the results are cut off
    span = tf.cast(tf.maximum(high - low, 1.0), tf.float64)
    scale = 255.0 / span
    stretched = tf.cast(x, tf.float64) * scale - tf.cast(low, tf.float64) * scale
    stretched = tf.cast(tf.floor(tf.clip_by_value(stretched, 0.0, 255.0)), tf.float32)
    return tf.where(high > low, stretched, x)


def equalize(x: tf.Tensor) -> tf.Tensor:
    """Spreads the levels of each channel evenly."""
    shape, channels = tf.shape(x), x.shape[-1]
    # each channel has its own 256 places of one histogram, which is then one table; pixels are taken as rows
    # of numbers, because TensorFlow is slow where a number for each of three channels meets an image
    rows = tf.reshape(tf.cast(x, tf.int32), [shape[0], shape[1] * channels])
    place = rows + tf.tile(256 * tf.range(channels), [shape[1]])
    histogram = tf.reshape(tf.math.bincount(tf.reshape(place, [-1]), minlength=256 * channels,
                                            maxlength=256 * channels), (channels, 256))
    levels = tf.range(256)
    brightest = tf.gather(histogram, tf.reduce_max(tf.where(histogram > 0, levels, 0), 1), batch_dims=1)
    step = ((tf.reduce_sum(histogram, 1) - brightest) // 255)[:, None]
    table = (tf.cumsum(histogram, 1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, levels, tf.clip_by_value(table, 0, 255))
    equal = tf.gather(tf.cast(tf.reshape(table, [-1]), tf.float32), place)
    return tf.ensure_shape(tf.reshape(equal, shape), x.shape)


def cut_square(x: tf.Tensor, size: int, place: tf.Tensor, fill: tf.Tensor) -> tf.Tensor:
    """Fills a square with a color; parts of it may lie outside of the image.

    Args:
        x: pixels.
        size: its side; below and to the right of the middle pixel one pixel less if it is even.
        place: which pixel its middle is, (2,) in 0..1.
        fill: the color.
    """
    sides = tf.shape(x)[:2]
    begin = draw_whole_numbers(place, sides) - size // 2
    rows, columns = tf.range(sides[0])[:, None] - begin[0], tf.range(sides[1])[None] - begin[1]
    is_inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    return tf.where(is_inside[..., None], fill, x)


def shear_x(x: tf.Tensor, factor: Any, interpolation: str, fill: Any) -> tf.Tensor:
    """Shifts each row by `factor` times its number."""
    return _transform_affine(x, (1.0, factor, 0.0, 0.0, 1.0, 0.0), interpolation, fill)


def shear_y(x: tf.Tensor, factor: Any, interpolation: str, fill: Any) -> tf.Tensor:
    """Shifts each column by `factor` times its number."""
    return _transform_affine(x, (1.0, 0.0, 0.0, factor, 1.0, 0.0), interpolation, fill)


def translate_x(x: tf.Tensor, pixels: Any, interpolation: str, fill: Any) -> tf.Tensor:
    """Shifts to the left."""
    return _transform_affine(x, (1.0, 0.0, pixels, 0.0, 1.0, 0.0), interpolation, fill)


def translate_y(x: tf.Tensor, pixels: Any, interpolation: str, fill: Any) -> tf.Tensor:
    """Shifts up."""
    return _transform_affine(x, (1.0, 0.0, 0.0, 0.0, 1.0, pixels), interpolation, fill)


def rotate(x: tf.Tensor, degrees: Any, interpolation: str, fill: Any) -> tf.Tensor:
    """Turns around the middle, counterclockwise."""
    height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(x)[:2]))
    angle = -degrees * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _transform_affine(x, (cos, sin, width / 2 - cos * width / 2 - sin * height / 2,
                                -sin, cos, height / 2 + sin * width / 2 - cos * height / 2),
                            interpolation, fill)


def _transform_affine(x: tf.Tensor, matrix: Matrix, interpolation: str, fill: Any) -> tf.Tensor:
    """Takes each pixel from another place, as Pillow's `Image.transform`.

    Args:
        x: pixels.
        matrix: where the middle of a pixel is taken from; the first pixel's is (0.5, 0.5).
        interpolation: "nearest", "bilinear" or "bicubic"; the last is sharper than that of a resize.
        fill: the color of what comes from outside of the image.
    """
    height, width = tf.unstack(tf.shape(x)[:2])
    a, b, c, d, e, f = matrix
    across = tf.range(width, dtype=tf.float32)[None] + 0.5
    down = tf.range(height, dtype=tf.float32)[:, None] + 0.5
    from_x, from_y = a * across + b * down + c, d * across + e * down + f
    is_inside = ((from_x >= 0) & (from_x < tf.cast(width, tf.float32))
                 & (from_y >= 0) & (from_y < tf.cast(height, tf.float32)))
    if interpolation == "bicubic":
        values = _take_bicubic(x, from_x - 0.5, from_y - 0.5, moves_x=not _is_constant((a, b, c), (1, 0, 0)),
                               moves_y=not _is_constant((d, e, f), (0, 1, 0)))
        values = tf.clip_by_value(values, 0.0, _WHITE)
    else:
        zero = tf.zeros([])
        shifted = tf.stack([a + zero, b + zero, c + (a + b - 1) / 2, d + zero, e + zero, f + (d + e - 1) / 2,
                            zero, zero])
        values = tf.raw_ops.ImageProjectiveTransformV3(
            images=x[None], transforms=shifted[None], output_shape=tf.shape(x)[:2], fill_value=0.0,
            interpolation=interpolation.upper(), fill_mode="NEAREST")[0]
    return tf.where(is_inside[..., None], tf.floor(values + _ALMOST), fill)


def _is_constant(values: Sequence[Any], expected: Sequence[int]) -> bool:
    return all(not tf.is_tensor(v) and v == e for v, e in zip(values, expected))


def _take_bicubic(x: tf.Tensor, from_x: tf.Tensor, from_y: tf.Tensor, moves_x: bool,
                  moves_y: bool) -> tf.Tensor:
    """The values between pixels.  Along a direction in which nothing moves, one pixel is read, not four."""
    height, width = tf.unstack(tf.shape(x)[:2])
    pixels = tf.reshape(x, (-1, x.shape[-1]))
    left, top = tf.floor(from_x), tf.floor(from_y)

    def take(row: int, column: int) -> tf.Tensor:
        columns = tf.clip_by_value(tf.cast(left, tf.int32) + column, 0, width - 1)
        rows = tf.clip_by_value(tf.cast(top, tf.int32) + row, 0, height - 1)
        return tf.gather(pixels, rows * width + columns)

    def take_row(row: int) -> tf.Tensor:
        if not moves_x:
            return take(row, 0)
        return _interpolate_cubic([take(row, i) for i in (-1, 0, 1, 2)], (from_x - left)[..., None])
    if not moves_y:
        return take_row(0)
    return _interpolate_cubic([take_row(i) for i in (-1, 0, 1, 2)], (from_y - top)[..., None])


def _interpolate_cubic(values: Sequence[tf.Tensor], place: tf.Tensor) -> tf.Tensor:
    """Between the second (`place` 0) and the third (1) of four values, by Pillow's polynomial (a = -1)."""
    first, second, third, last = values
    return second + place * ((third - first) + place * (
        (2 * (first - second) + third - last) + place * (second - first + last - third)))
