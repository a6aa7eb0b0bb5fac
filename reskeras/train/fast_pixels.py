"""Operations of RandAugment and TrivialAugment in the way that TensorFlow computes fastest on one core.

They are those of keras-cv, up to rounding.  TensorFlow is slow where it chooses between two values of each
pixel, and where a number for each of three channels meets an image.  So an image is taken as rows of width *
3 numbers here, and a choice is a product with 0 or 1.
"""
from __future__ import annotations

import tensorflow as tf

_WHITE, _MIDDLE = 255.0, 128.0
_LUMA = (0.2989, 0.5870, 0.1140)        # of red, green and blue in gray, as in tf.image


def autocontrast(x: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255; a channel of one value stays.

    Here and below x is (1, height, width, 3) in 0..255.
    """
    rows = _to_rows(x)
    low = _reduce_channels(rows, tf.reduce_min)
    high = _reduce_channels(rows, tf.reduce_max)
    is_flat = high <= low
    scale = tf.where(is_flat, 1.0, _WHITE / tf.where(is_flat, 1.0, high - low))
    offset = tf.where(is_flat, 0.0, -low * scale)
    return _to_image(_repeat(scale, x) * rows + _repeat(offset, x), x)


def solarize(x: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts the values from `threshold` on."""
    return x + tf.cast(x >= threshold, x.dtype) * (_WHITE - 2 * x)


def solarize_add(x: tf.Tensor, addition: tf.Tensor) -> tf.Tensor:
    """Adds a number to the values of the darker half."""
    return x + tf.cast(x < _MIDDLE, x.dtype) * (tf.clip_by_value(x + addition, 0.0, _WHITE) - x)


def change_color(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Goes from gray (factor 0) to the image (1) and beyond."""
    mixed = factor * tf.eye(3) + (1 - factor) * tf.constant([_LUMA] * 3)
    return _to_image(tf.matmul(tf.reshape(x, (-1, 3)), mixed, transpose_b=True), x)


def change_contrast(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Goes from each channel's mean (factor 0) to the image (1) and beyond."""
    rows = _to_rows(x)
    mean = _reduce_channels(rows, tf.reduce_mean)
    return _to_image(rows * factor + _repeat(mean * (1 - factor), x), x)


def sharpen(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Goes from a blurred image (factor 0) to the image (1) and beyond; the border does not change."""
    rows = _to_rows(x)
    sums = rows[:-2] + rows[1:-1] + rows[2:]
    sums = sums[:, :-6] + sums[:, 3:-3] + sums[:, 6:]
    inner = rows[1:-1, 3:-3]
    change = (1 - factor) * ((sums + 4 * inner) / 13 - inner)
    return _to_image(rows + tf.pad(change, [(1, 1), (3, 3)]), x)


def translate(x: tf.Tensor, part: tf.Tensor, axis: int) -> tf.Tensor:
    """Moves the image by a part of its side; what comes in is gray.

    Args:
        x: (1, height, width, 3).
        part: of the side, positive to the right or down.
        axis: 1 moves along the height, 2 along the width.
    """
    length = tf.shape(x)[axis]
    place = -part * tf.cast(length, tf.float32)         # the first pixel comes from here
    whole = tf.floor(place)
    share = place - whole
    first = tf.clip_by_value(tf.cast(whole, tf.int32), -length - 1, length)

    border = tf.stack([tf.maximum(-first, 0), tf.maximum(first + 1, 0)])
    padding = tf.one_hot(axis, 4, dtype=tf.int32)[:, None] * border
    padded = tf.pad(x, padding, constant_values=_MIDDLE)
    begin = tf.one_hot(axis, 4, dtype=tf.int32)
    here, next_ = (tf.slice(padded, begin * (tf.maximum(first, 0) + step), tf.shape(x)) for step in (0, 1))
    return tf.ensure_shape(here * (1 - share) + next_ * share, x.shape)


def shear(x: tf.Tensor, factor: tf.Tensor, axis: int) -> tf.Tensor:
    """Takes line number n of the image from `factor` * n further along `axis`; what comes in is gray.

    TensorFlow's projective transform computes the same, but finds the place of each value by itself.

    Args:
        x: (1, height, width, 3).
        factor: positive to the left or up.
        axis: 1 moves columns along the height, 2 moves rows along the width.
    """
    height, width = tf.unstack(tf.shape(x)[1:3])
    length, lines = (height, width) if axis == 1 else (width, height)
    place = factor * tf.range(lines, dtype=tf.float32)      # the first pixel of each line comes from here
    whole = tf.floor(place)
    share, end = place - whole, tf.cast(length, tf.float32)
    first = tf.cast(tf.clip_by_value(whole, -end - 1, end), tf.int32)
    # a line has one pixel more, so that each has a next one; all beyond the image are the gray at its border
    padded = tf.pad(x[0], [(int(axis == side),) * 2 for side in (1, 2)] + [(0, 0)], constant_values=_MIDDLE)
    along = tf.range(length + 1)
    if axis == 1:
        places = (tf.clip_by_value(first + along[:, None], -1, height) + 1) * width + tf.range(width)
        share = tf.repeat(share, 3)
    else:
        places = tf.clip_by_value(first[:, None] + along, -1, width) + 1
        places += (width + 2) * tf.range(height)[:, None]
        share = share[:, None]
    pixels = tf.gather(tf.reshape(padded, (-1, 3)), places)
    here, next_ = (pixels[:-1], pixels[1:]) if axis == 1 else (pixels[:, :-1], pixels[:, 1:])
    here, next_ = (tf.reshape(part, [height, width * 3]) for part in (here, next_))
    return tf.ensure_shape(tf.reshape(here + share * (next_ - here), tf.shape(x)), x.shape)


def _to_rows(x: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(x)
    return tf.reshape(x, [shape[1], shape[2] * 3])


def _to_image(rows: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """An image of the shape of `x`, in 0..255."""
    return tf.ensure_shape(tf.reshape(tf.clip_by_value(rows, 0.0, _WHITE), tf.shape(x)), x.shape)


def _reduce_channels(rows: tf.Tensor, reduce: tf.types.experimental.GenericFunction) -> tf.Tensor:
    """One number for each channel: first over the rows, which TensorFlow computes together."""
    return reduce(tf.reshape(reduce(rows, 0), (-1, 3)), 0)


def _repeat(channels: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Three numbers as a row of the image `x`."""
    return tf.tile(channels, [tf.shape(x)[2]])
