"""What the operations of tensorflow/tpu's efficientnet/autoaugment.py do to pixels, where it is not what
Pillow's do.

Pixels are whole numbers in 0..255, as float32 (height, width, 3); so are the results.
"""
from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from . import pixel_ops

_FILL = 128.0
_ALMOST = 1e-3      # the source's convolution cuts off numbers that are a little above or below a whole one


def to_whole_numbers(x: tf.Tensor) -> tf.Tensor:
    """Cuts off what is after the decimal point, as the source does; before, it has bfloat16 pixels."""
    x = tf.cast(tf.cast(x, tf.bfloat16), tf.float32)
    return tf.floor(tf.clip_by_value(x, 0.0, 255.0))


def adjust_color(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """Gray for factor 0, the image for 1, more colors above."""
    gray = tf.image.rgb_to_grayscale(tf.cast(x, tf.uint8))
    return pixel_ops.blend(tf.cast(gray, tf.float32), x, factor)


def adjust_contrast(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """A gray level for factor 0, the image for 1, more contrast above.

    The gray level is the number of pixels, divided by 256, at most 255; it is not the mean.
    """
    pixels = tf.cast(tf.reduce_prod(tf.shape(x)[:2]), tf.float32)
    return pixel_ops.blend(tf.floor(tf.minimum(pixels / 256, 255.0)), x, factor)


def adjust_sharpness(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """A blurred image for factor 0, the image for 1, sharper above."""
    return pixel_ops.blend(pixel_ops.smooth(x, lambda means: tf.floor(means + _ALMOST)), x, factor)


def autocontrast(x: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255."""
    low, high = tf.reduce_min(x, (0, 1)), tf.reduce_max(x, (0, 1))
    scale = 255.0 / tf.maximum(high - low, 1.0)
    stretched = tf.floor(tf.clip_by_value(x * scale - low * scale, 0.0, 255.0))
    return tf.where(high > low, stretched, x)


def solarize(x: tf.Tensor, threshold: int) -> tf.Tensor:
    """Inverts the levels from `threshold` on.

    A threshold above 255 is compared with bytes, so 256 of it are lost: 256 is 0, and inverts all levels.
    """
    return pixel_ops.solarize(x, float(threshold % 256))


def cutout(x: tf.Tensor, half: int, place: tf.Tensor) -> tf.Tensor:
    """Makes a square gray, with its middle at any pixel; parts may lie outside of the image.

    Args:
        x: pixels.
        half: half of the side.
        place: where the middle is, (2,) in 0..1.
    """
    return pixel_ops.cut_square(x, 2 * half, place, tf.constant(_FILL))


def shear_x(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """Shifts each row by `factor` times its number."""
    return _transform(x, (1.0, factor, 0.0, 0.0, 1.0, 0.0))


def shear_y(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """Shifts each column by `factor` times its number."""
    return _transform(x, (1.0, 0.0, 0.0, factor, 1.0, 0.0))


def translate_x(x: tf.Tensor, pixels: Any) -> tf.Tensor:
    """Shifts to the left."""
    return _transform(x, (1.0, 0.0, pixels, 0.0, 1.0, 0.0))


def translate_y(x: tf.Tensor, pixels: Any) -> tf.Tensor:
    """Shifts up."""
    return _transform(x, (1.0, 0.0, 0.0, 0.0, 1.0, pixels))


def rotate(x: tf.Tensor, degrees: Any) -> tf.Tensor:
    """Turns around the middle pixel."""
    height, width = (tf.cast(side - 1, tf.float32) for side in tf.unstack(tf.shape(x)[:2]))
    angle = degrees * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _transform(x, (cos, -sin, (width - (cos * width - sin * height)) / 2,
                          sin, cos, (height - (sin * width + cos * height)) / 2))


def _transform(x: tf.Tensor, matrix: tuple[Any, ...]) -> tf.Tensor:
    """Takes each pixel from the nearest to another place, from gray outside of the image."""
    numbers = tf.stack([tf.cast(number, tf.float32) for number in (*matrix, 0.0, 0.0)])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x[None], transforms=numbers[None], output_shape=tf.shape(x)[:2], fill_value=_FILL,
        interpolation="NEAREST", fill_mode="CONSTANT")[0]
