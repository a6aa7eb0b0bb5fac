"""Random rectangles that are filled, as torchvision and timm do, and the square of Cutout."""
from __future__ import annotations

import tensorflow as tf

from .pixel_ops import cut_square, make_color
from .seeds import draw_log_uniform, draw_whole_numbers

_ATTEMPTS = 10


def random_erasing(x: tf.Tensor, seed: tf.Tensor, mean: tuple[float, ...], probability: float,
                   low: float = 0.02, high: float = 0.33, smallest_ratio: float = 0.3,
                   largest_ratio: float = 3.3) -> tf.Tensor:
    """Fills a rectangle with the mean color, which becomes 0 when pixels are normalized (arXiv:1708.04896).

    As torchvision's RandomErasing: its area is `low` to `high` of the image's, its proportions are
    `smallest_ratio` to `largest_ratio`; timm's are random_erasing(p, 0.02, 1/3, 0.3, 1/0.3).
    """
    draws = tf.random.stateless_uniform([5, _ATTEMPTS], seed)
    shape = tf.shape(x)[:2]
    sides = tf.cast(shape, tf.float32)
    area = (low + (high - low) * draws[0]) * sides[0] * sides[1]
    ratio = draw_log_uniform(draws[1], smallest_ratio, largest_ratio)
    extents = tf.cast(tf.round(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)])), tf.int32)
    is_inside = tf.reduce_all(extents < shape[:, None], 0)
    first = tf.argmax(is_inside, output_type=tf.int32)
    extent = extents[:, first]
    begin = draw_whole_numbers(draws[2:4, first], shape - extent + 1)
    is_used = is_inside[first] & (draws[4, 0] < probability)
    end = begin + tf.where(is_used, extent, 0)
    rows, columns = tf.range(shape[0])[:, None], tf.range(shape[1])[None]
    is_erased = (rows >= begin[0]) & (rows < end[0]) & (columns >= begin[1]) & (columns < end[1])
    return tf.where(is_erased[..., None], make_color(x, mean), x)


def cutout(x: tf.Tensor, seed: tf.Tensor, mean: tuple[float, ...], size: int) -> tf.Tensor:
    """Fills a square of `size` pixels around any pixel with the mean color, which becomes 0 when pixels are
    normalized; parts may lie outside of the image (arXiv:1708.04552).
    """
    return cut_square(x, size, tf.random.stateless_uniform([2], seed), make_color(x, mean))
