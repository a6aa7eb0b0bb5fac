"""Random parts of an image, resized to one size: each function is that of one source.

The sources draw in different ways.  Of an image of 400 x 400 pixels the mean part is 0.48 of the area in
TensorFlow's way, and 0.40 in torchvision's.
"""
from __future__ import annotations

from typing import Any

import tensorflow as tf

from ..images.transform import MAX_SIDE
from .image_size import to_sides
from .seeds import draw_log_uniform, draw_whole_numbers

_WHITE = 255.0
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}     # TensorFlow's names
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_KEPT = 0.875                   # of the shorter side, where tensorflow/tpu's crop falls back to the middle
Window = tuple[Any, Any, Any, Any]      # top, left, height, width


def inception_crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int], area: float = 0.08,
                   has_values: bool = False) -> tf.Tensor:
    """Cuts out a random part of the image, resized to `size` (arXiv:1409.4842), in TensorFlow's way.

    Its area is `area` to 1 of the image's, its proportions 3:4 to 4:3.  Of a JPEG only that part is decoded.
    """
    begin, extent = _draw_box(_read_shape(x), seed, tf.zeros([1, 0, 4]), 0.0, area)
    window = begin[0], begin[1], extent[0], extent[1]
    return resize_pixels(_cut(x, window), to_sides(size), has_values=has_values)


def tpu_crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int]) -> tf.Tensor:
    """Cuts out a random part of 0.1 to 1 of the image's area, resized to `size`, as tensorflow/tpu.

    Its bicubic resize does not smooth.  What would be the whole image is a square from the middle.
    """
    shape = _read_shape(x)
    # 0.1 of the area, not 0.08: the box, here the whole image, must be covered by 0.1 at least
    begin, extent = _draw_box(shape, seed, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), 0.1, 0.08)
    shorter = tf.cast(tf.reduce_min(shape[:2]), tf.float32)
    side = min(to_sides(size))
    square = tf.maximum(tf.cast(side / (side + round(side * (1 / _KEPT - 1))) * shorter, tf.int32), 1)
    is_whole = tf.reduce_all(extent[:2] == shape[:2])
    begin = tf.where(is_whole, (shape[:2] - square + 1) // 2, begin[:2])
    extent = tf.where(is_whole, tf.stack([square, square]), extent[:2])
    x = _thin_out(_cut(x, (begin[0], begin[1], extent[0], extent[1])))
    x = tf.raw_ops.ResizeBicubic(images=x[None], size=to_sides(size))[0]
    return tf.clip_by_value(x, 0.0, _WHITE)


def random_resized_crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int], area: float = 0.08,
                        interpolation: str = "bilinear", has_values: bool = False) -> tf.Tensor:
    """Cuts out a random part of the image, resized to `size`, as torchvision and timm do.

    Its area is uniform in `area` to 1 of the image's, the logarithm of its proportions between those of 3:4
    and 4:3.  The pixels are whole numbers, if the image's are.
    """
    x = _cut(x, _draw_window(_read_shape(x), seed, area))
    x = resize_pixels(x, to_sides(size), interpolation, has_values)
    return x if has_values else tf.round(x)


def torch7_crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int]) -> tf.Tensor:
    """Cuts out a random part of the image, resized to `size`, as fb.resnet.torch's RandomSizedCrop.

    Its bicubic resize does not smooth, and its results may be below 0 and above 255.
    """
    x = tf.cast(_thin_out(_cut(x, _draw_torch7_window(_read_shape(x), seed))), tf.float32)
    steps = tf.maximum(tf.cast(tf.shape(x)[:2] - 1, tf.float32), 1e-3) / [
        max(side - 1, 1) for side in to_sides(size)]
    for axis in (0, 1):
        x = _continue_along_a_line(x, axis)
    # the centers of the first and the last pixel, which are now the second and the last but one, stay where
    # they are
    return tf.raw_ops.ScaleAndTranslate(
        images=x[None], size=to_sides(size), scale=1 / steps, translation=0.5 - 1.5 / steps,
        kernel_type="keyscubic", antialias=False)[0]


def _continue_along_a_line(x: tf.Tensor, axis: int) -> tf.Tensor:
    """One pixel more at both ends, on the line through the two beside it."""
    count = tf.shape(x)[axis]
    near = tf.minimum(1, count - 1)
    places = (0, near, count - 1, count - 1 - near)
    first, second, last, before = (tf.gather(x, [place], axis=axis) for place in places)
    return tf.concat([2 * first - second, x, 2 * last - before], axis)


def resize_pixels(x: tf.Tensor, size: Any, interpolation: str = "bilinear",
                  has_values: bool = False) -> tf.Tensor:
    """Resizes to (height, width), smoothing where the result is smaller; float32.

    Args:
        x: pixels (height, width, channels).
        size: (height, width), whole numbers or a tensor.
        interpolation: "bilinear" or "bicubic".
        has_values: whether the pixels are any numbers; otherwise the results are limited to 0..255.
    """
    height, width = tf.unstack(size) if tf.is_tensor(size) else size
    x, channels = _thin_out(x), x.shape[-1]
    x = _resize_height(x[None], height, interpolation)[0]
    # (channels, width, height): TensorFlow reverses all axes faster than it swaps the first two
    x = _resize_height(tf.transpose(x)[..., None], width, interpolation)[..., 0]
    x = tf.ensure_shape(tf.transpose(x), (*((None, None) if tf.is_tensor(size) else size), channels))
    return x if has_values else tf.clip_by_value(x, 0.0, _WHITE)


def _resize_height(x: tf.Tensor, height: tf.Tensor, interpolation: str) -> tf.Tensor:
    """Resizes (N, old height, width, channels) to `height`, smoothing where that is smaller.

    `tf.image.resize` computes the same numbers, but one pixel after the other.  Here a row is given as one
    pixel of many channels, which TensorFlow computes together: both directions take 0.4 of the time.
    """
    images, old, width, channels = tf.unstack(tf.shape(x))
    scale = tf.cast(height, tf.float32) / tf.cast(old, tf.float32)
    rows = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(x, [images, old, 1, width * channels]), size=[height, 1],
        scale=tf.stack([scale, 1.0]), translation=tf.zeros([2]), kernel_type=_KERNELS[interpolation],
        antialias=True)
    return tf.reshape(rows, [images, height, width, channels])


def _thin_out(x: tf.Tensor) -> tf.Tensor:
    """Of a side that is longer than any photo's, every k-th pixel is enough."""
    steps = tf.maximum(tf.shape(x)[:2] // MAX_SIDE, 1)
    return tf.ensure_shape(x[::steps[0], ::steps[1]], (None, None, x.shape[-1]))


def _read_shape(x: tf.Tensor) -> tf.Tensor:
    return tf.image.extract_jpeg_shape(x) if x.dtype == tf.string else tf.shape(x)


def _cut(x: tf.Tensor, window: Window) -> tf.Tensor:
    """The window's pixels; of a JPEG's bytes only these are decoded."""
    if x.dtype == tf.string:
        return tf.image.decode_and_crop_jpeg(x, tf.stack(window), channels=3)
    return tf.image.crop_to_bounding_box(x, *window)


def _draw_box(shape: tf.Tensor, seed: tf.Tensor, boxes: tf.Tensor, covered: float,
              area: float) -> tuple[tf.Tensor, tf.Tensor]:
    """TensorFlow's own draw: (top, left, 0) and (height, width, -1)."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape, boxes, seed, aspect_ratio_range=_RATIO, area_range=(area, 1.0), min_object_covered=covered,
        max_attempts=_ATTEMPTS, use_image_if_no_bounding_boxes=True)
    return begin, extent


def _draw_window(shape: tf.Tensor, seed: tf.Tensor, area: float) -> Window:
    """The first of ten windows that is inside of the image; otherwise as much of the middle as the
    proportions allow.
    """
    draws = tf.random.stateless_uniform([4, _ATTEMPTS], seed)
    ratio = draw_log_uniform(draws[1], *_RATIO)
    sides = tf.cast(shape[:2], tf.float32)
    target = (area + (1 - area) * draws[0]) * sides[0] * sides[1]
    # the proportions of the middle: those of the image, or the nearest that are allowed
    nearest = tf.clip_by_value(sides[1] / sides[0], *_RATIO)
    middle = tf.round(tf.minimum(sides, tf.stack([sides[1] / nearest, sides[0] * nearest])))
    return _choose_window(tf.sqrt(target / ratio), tf.sqrt(target * ratio), draws[2:], shape, middle)


def _draw_torch7_window(shape: tf.Tensor, seed: tf.Tensor) -> Window:
    """As `_draw_window`: the proportions, not their logarithm, are uniform, and height and width are swapped
    half of the time; the middle is a square.
    """
    draws = tf.random.stateless_uniform([5, _ATTEMPTS], seed)
    ratio = _RATIO[0] + (_RATIO[1] - _RATIO[0]) * draws[1]
    ratio = tf.where(draws[4] < 0.5, 1 / ratio, ratio)
    sides = tf.cast(shape[:2], tf.float32)
    target = (0.08 + 0.92 * draws[0]) * sides[0] * sides[1]
    middle = tf.fill([2], tf.reduce_min(sides))
    return _choose_window(tf.sqrt(target / ratio), tf.sqrt(target * ratio), draws[2:4], shape, middle)


def _choose_window(heights: tf.Tensor, widths: tf.Tensor, places: tf.Tensor, shape: tf.Tensor,
                   middle: tf.Tensor) -> Window:
    """The first window that is inside of the image, or the middle.

    Args:
        heights: of each attempt, float32.
        widths: of each attempt.
        places: of each attempt, (2, attempts) in 0..1.
        shape: of the image.
        middle: (height, width) if no attempt is inside.
    """
    extents = tf.cast(tf.round(tf.stack([heights, widths])), tf.int32)
    is_inside = tf.reduce_all((extents > 0) & (extents <= shape[:2, None]), 0)
    first = tf.argmax(is_inside, output_type=tf.int32)
    is_middle = ~is_inside[first]
    extent = tf.where(is_middle, tf.maximum(tf.cast(middle, tf.int32), 1), extents[:, first])
    rest = shape[:2] - extent
    begin = tf.where(is_middle, rest // 2, draw_whole_numbers(places[:, first], rest + 1))
    return begin[0], begin[1], extent[0], extent[1]
