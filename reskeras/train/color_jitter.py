"""Random changes of brightness, contrast, saturation and hue, in random order, as two sources do them."""
from __future__ import annotations

from typing import Callable

import tensorflow as tf

from . import pixel_ops
from .branches import Branches
from .seeds import fold_seed

Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]      # of pixels and the drawn factors
_LUMA = (0.299, 0.587, 0.114)       # weights of red, green, blue for gray, as Torch writes them


def color_jitter(x: tf.Tensor, seed: tf.Tensor, brightness: float, contrast: float = 0.0,
                 saturation: float = 0.0, hue: float = 0.0) -> tf.Tensor:
    """Changes each by a factor of 1 - r to 1 + r, and turns the hue by up to `hue` of a full turn, in random
    order, as torchvision's ColorJitter on a Pillow image.

    After each the pixels are whole numbers in 0..255.
    """
    x = pixel_ops.to_whole_numbers(x)
    factors = _draw_factors(seed, (brightness, contrast, saturation, hue))
    steps: list[Step] = []
    if brightness:
        steps.append(lambda x, factors: pixel_ops.adjust_brightness(x, factors[0]))
    if contrast:
        steps.append(lambda x, factors: pixel_ops.adjust_contrast(x, factors[1]))
    if saturation:
        steps.append(lambda x, factors: pixel_ops.adjust_color(x, factors[2]))
    if hue and x.shape[-1] == 3:
        # TensorFlow keeps hue, saturation and value as floats, Pillow as bytes
        steps.append(lambda x, factors: pixel_ops.to_whole_numbers(
            tf.image.adjust_hue(x / 255, factors[3] - 1) * 255))
    return _apply_in_random_order(x, factors, fold_seed(seed, 1), steps)


def torch7_jitter(x: tf.Tensor, seed: tf.Tensor, brightness: float, contrast: float = 0.0,
                  saturation: float = 0.0) -> tf.Tensor:
    """Changes each by a factor of 1 - r to 1 + r, in random order, as fb.resnet.torch's ColorJitter.

    Results may be below 0 and above 255.
    """
    factors = _draw_factors(seed, (brightness, contrast, saturation))

    def gray(x: tf.Tensor) -> tf.Tensor:
        return x if x.shape[-1] == 1 else tf.tensordot(x, tf.constant(_LUMA)[:, None], 1)

    def mix(x: tf.Tensor, other: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        return other + factor * (x - other)
    steps: list[Step] = []
    if brightness:
        steps.append(lambda x, factors: x * factors[0])
    if contrast:
        steps.append(lambda x, factors: mix(x, tf.reduce_mean(gray(x)), factors[1]))
    if saturation:
        steps.append(lambda x, factors: mix(x, gray(x), factors[2]))
    return _apply_in_random_order(x, factors, fold_seed(seed, 1), steps)


def _draw_factors(seed: tf.Tensor, ranges: tuple[float, ...]) -> tf.Tensor:
    """Draws a factor of 1 - r to 1 + r, but not below 0, for each range r."""
    low, high = [max(1 - r, 0.0) for r in ranges], [1 + r for r in ranges]
    return low + tf.random.stateless_uniform([len(ranges)], seed) * tf.subtract(high, low)


def _apply_in_random_order(x: tf.Tensor, factors: tf.Tensor, seed: tf.Tensor,
                           steps: list[Step]) -> tf.Tensor:
    if not steps:
        return x
    order, branches = tf.argsort(tf.random.stateless_uniform([len(steps)], seed)), Branches(steps)
    for i in range(len(steps)):
        x = branches.run(order[i], x, factors)
    return x
