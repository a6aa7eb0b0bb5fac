"""The operations of an augmentation string, on pixels in 0..255, float32; some also on any values.

Every draw is stateless, from a seed that belongs to the image (or the batch).  x is an image (height, width,
channels), seed an int32 tensor (2,).
"""
from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf

from . import color_jitter, composer_randaugment, policies, random_crops, random_erasing
from . import randaugment as keras_cv_policies
from .image_size import to_sides
from .random_crops import resize_pixels
from .seeds import fold_seed

# AlexNet's principal components of ImageNet's colours, as in fb.resnet.torch: deviations in 0..1, and RGB
# columns
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
_WHITE = 255.0
_MAX_PROPORTION = 16


def scale(x: tf.Tensor, seed: tf.Tensor, low: int, high: int, has_values: bool = False) -> tf.Tensor:
    """Resizes the shorter side to `low` to `high` pixels (arXiv:1409.1556).

    Of an image that is more than 16 times as long as wide, a random part that is 16 times as long is resized.
    """
    longest = _MAX_PROPORTION * tf.reduce_min(tf.shape(x)[:2])
    x = _random_window(x, fold_seed(seed, 1), tf.minimum(tf.shape(x)[:2], longest))
    short = tf.cast(tf.random.stateless_uniform([], seed, low, high + 1, tf.int32), tf.float32)
    sides = tf.cast(tf.shape(x)[:2], tf.float32)
    new = tf.cast(tf.round(sides * short / tf.reduce_min(sides)), tf.int32)
    return resize_pixels(x, new, has_values=has_values)


def resize(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int],
           has_values: bool = False) -> tf.Tensor:
    """Resizes to `size`, pixels on a side or (height, width), whatever the proportions."""
    return resize_pixels(x, to_sides(size), has_values=has_values)


def crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int], has_values: bool = False) -> tf.Tensor:
    """Cuts out a random rectangle of `size`; a smaller image is resized first."""
    sides = to_sides(size)
    # along a side that is too small the window is all of it, and is resized afterwards
    extent = tf.minimum(tf.shape(x)[:2], sides)
    x = tf.cast(_random_window(x, seed, extent), tf.float32)
    x = tf.cond(tf.reduce_any(extent < sides), lambda: resize_pixels(x, sides, has_values=has_values),
                lambda: x)
    return tf.ensure_shape(x, (*sides, x.shape[-1]))


def pad_crop(x: tf.Tensor, seed: tf.Tensor, size: int | tuple[int, int], pad: int,
             mode: str = "constant") -> tf.Tensor:
    """Cuts a random rectangle out of the image with a border of `pad` pixels: black, or mode "reflect"."""
    padded = tf.pad(x, [(pad, pad), (pad, pad), (0, 0)], mode.upper())
    return tf.cast(_random_window(padded, seed, to_sides(size)), tf.float32)


def flip(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Swaps left and right with probability 1/2."""
    # tf.reverse, as everywhere here: a slice with a step of -1 takes twenty times as long
    is_kept = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(is_kept, lambda: x, lambda: tf.reverse(x, [1]))


def jitter(x: tf.Tensor, seed: tf.Tensor, brightness: float, contrast: float = 0.0, saturation: float = 0.0,
           hue: float = 0.0) -> tf.Tensor:
    """Changes each by a factor of 1 - r to 1 + r, then turns the hue by up to `hue` half turns."""
    draws = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0))
    x = x * (1 + brightness * draws[0])
    if contrast:
        x = tf.image.adjust_contrast(x, 1 + contrast * draws[1])
    if saturation:
        gray = tf.image.rgb_to_grayscale(x)
        x = gray + (x - gray) * (1 + saturation * draws[2])
    x = tf.clip_by_value(x, 0.0, _WHITE)
    return tf.image.adjust_hue(x, hue * draws[3] / 2) if hue else x


def lighting(x: tf.Tensor, seed: tf.Tensor, deviation: float, clip: bool = True) -> tf.Tensor:
    """Shifts the colours along their principal components, as AlexNet.

    `clip` keeps the results in 0..255; fb.resnet.torch does not.
    """
    draws = tf.random.stateless_normal([3], seed, stddev=deviation) * _EIGENVALUES
    x = x + _WHITE * tf.linalg.matvec(tf.constant(_EIGENVECTORS), draws)
    return tf.clip_by_value(x, 0.0, _WHITE) if clip else x


def affine(x: tf.Tensor, seed: tf.Tensor, turn: float, shift: float = 0.0, scale: float = 0.0) -> tf.Tensor:
    """Turns by up to `turn` radians, shifts by a fraction of the side, scales by 1 - s to 1 + s.

    What comes in at the border is black.
    """
    turned, right, down, wide, high = tf.unstack(tf.random.stateless_uniform([5], seed, -1.0, 1.0))
    height, width = (tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(x)[:2]))
    cos, sin = tf.cos(turn * turned), tf.sin(turn * turned)
    a, b = cos * (1 + scale * wide), -sin * (1 + scale * high)
    c, d = sin * (1 + scale * wide), cos * (1 + scale * high)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros([])
    matrix = tf.stack([a, b, middle_x - a * middle_x - b * middle_y + shift * right * width,
                       c, d, middle_y - c * middle_x - d * middle_y + shift * down * height, zero, zero])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x[None], transforms=matrix[None], output_shape=tf.shape(x)[:2], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT")[0]


def randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float,
                deviation: float = 0.0) -> tf.Tensor:
    """Applies `number` operations of strength `magnitude` of 10, varied by `deviation`; by keras-cv
    (arXiv:1909.13719).
    """
    return keras_cv_policies.randaugment(x, seed, number, magnitude, deviation)


def trivialaugment(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one operation of any strength (arXiv:2103.10158, its wide space); by keras-cv."""
    return keras_cv_policies.trivialaugment(x, seed)


def erase(x: tf.Tensor, seed: tf.Tensor, probability: float, low: float = 0.02,
          high: float = 1 / 3) -> tf.Tensor:
    """Fills a rectangle of `low` to `high` of the area with the image's mean (arXiv:1708.04896).

    keras-cv has squares only.
    """
    draws = tf.unstack(tf.random.stateless_uniform([5], seed))
    sides = tf.cast(tf.shape(x)[:2], tf.float32)
    area = (low + (high - low) * draws[1]) * sides[0] * sides[1]
    ratio = tf.exp((2 * draws[2] - 1) * tf.math.log(10 / 3))
    extent = tf.minimum(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)]), sides)
    inside = make_box_mask((sides - extent) * tf.stack([draws[3], draws[4]]), extent, tf.shape(x))
    return tf.where(inside & (draws[0] < probability), tf.reduce_mean(x, (0, 1)), x)


def mixup(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image and its labels with another image of the batch by a share of Beta(alpha, alpha).

    There is one share per batch (arXiv:1710.09412).  x is (N, height, width, channels), y (N, classes).
    """
    share = _draw_beta(seed, alpha)
    return x * share + _get_partners(x) * (1 - share), y * share + _get_partners(y) * (1 - share)


def cutmix(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Fills a rectangle of each image from another image; mixes the labels by its area (arXiv:1905.04899).

    There is one rectangle per batch.  x is (N, height, width, channels), y (N, classes).
    """
    sides = tf.cast(tf.shape(x)[1:3], tf.float32)
    extent = sides * tf.sqrt(1 - _draw_beta(seed, alpha))
    center = sides * tf.random.stateless_uniform([2], fold_seed(seed, 1))
    inside = make_box_mask(center - extent / 2, extent, tf.shape(x)[1:])
    share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32))
    return tf.where(inside, _get_partners(x), x), y * share + _get_partners(y) * (1 - share)


def _get_partners(x: tf.Tensor) -> tf.Tensor:
    """For each image or label of a batch the one that it is mixed with: the order is reversed."""
    return tf.reverse(x, [0])


def make_box_mask(begin: tf.Tensor, extent: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Returns which pixels are inside a rectangle: bool (height, width, 1).

    Args:
        begin: its top and left edge in pixels, (2,).
        extent: its height and width in pixels, (2,).
        shape: shape of the image: height, width, ...
    """
    lines = [(tf.cast(tf.range(shape[i]), tf.float32) >= tf.round(begin[i]))
             & (tf.cast(tf.range(shape[i]), tf.float32) < tf.round(begin[i] + extent[i])) for i in (0, 1)]
    return (lines[0][:, None] & lines[1][None])[..., None]


def decode_rgb(x: tf.Tensor) -> tf.Tensor:
    """The pixels of an image file's bytes, uint8 (height, width, 3)."""
    return tf.ensure_shape(tf.io.decode_image(x, channels=3, expand_animations=False), (None, None, 3))


def _draw_beta(seed: tf.Tensor, alpha: float) -> tf.Tensor:
    a, b = tf.unstack(tf.random.stateless_gamma([2], seed, alpha) + 1e-30)      # not 0 / (0 + 0)
    return a / (a + b)


def _random_window(x: tf.Tensor, seed: tf.Tensor, extent: Any) -> tf.Tensor:
    """Cuts out a window of that (height, width) at a random place."""
    places = tf.shape(x)[:2] - extent + 1
    corner = tf.cast(tf.random.stateless_uniform([2], seed) * tf.cast(places, tf.float32), tf.int32)
    return tf.image.crop_to_bounding_box(x, corner[0], corner[1], extent[0], extent[1])


def alternating_flip(x: tf.Tensor, seed: int, indices: tf.Tensor, epoch: int) -> tf.Tensor:
    """Flips half of all images left to right, and in the next epoch the others (arXiv:2404.00498, 3.6).

    Args:
        x: images, (N, height, width, channels).
        seed: the random seed of the training, which chooses the half.
        indices: the number of each image in its source, (N,).
        epoch: its number.
    """
    half = tf.strings.to_hash_bucket_fast(tf.strings.as_string(indices) + f" {seed}", 2)
    is_flipped = (half + epoch) % 2 == 1
    return tf.where(is_flipped[:, None, None, None], tf.reverse(x, [2]), x)


IMAGE_OPERATIONS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (
    random_crops.inception_crop, random_crops.random_resized_crop, random_crops.tpu_crop,
    random_crops.torch7_crop, scale, resize, crop, pad_crop, flip, jitter, color_jitter.color_jitter,
    color_jitter.torch7_jitter, lighting, affine, randaugment, trivialaugment, policies.timm_randaugment,
    policies.tpu_randaugment, policies.trivialaugment_wide, policies.resnest_autoaugment,
    composer_randaugment.composer_randaugment, erase, random_erasing.random_erasing, random_erasing.cutout)}
BATCH_OPERATIONS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (mixup, cutmix)}
OPERATIONS = {**IMAGE_OPERATIONS, alternating_flip.__name__: alternating_flip, **BATCH_OPERATIONS}
