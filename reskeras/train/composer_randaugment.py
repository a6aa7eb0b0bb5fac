"""RandAugment as MosaicML's composer draws and applies it: algorithms/utils/augmentation_primitives.py.

Pixels are float32 (height, width, channels) in 0..255; a seed is int32 (2,).
"""
from __future__ import annotations

import tensorflow as tf

from . import pixel_ops
from .policies import Draw, Strength, draw_sign, make_branches, share_strength
from .seeds import draw_whole_numbers, fold_seed


def make_composer_strengths(severity: float) -> dict[str, Strength]:
    """The operations of its set "all", and how a uniform number of 0 to 1 and a sign become a strength."""
    def level(u: tf.Tensor) -> tf.Tensor:
        return 0.1 + (severity - 0.1) * u

    def factor(u: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        """1 to `severity`, or 1 - 0.09 `severity` to 1, equally often."""
        return tf.where(sign > 0, 1 + (severity - 1) * u, 1 - 0.09 * severity * u)

    def brightness(u: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
        value = factor(u, sign)
        return tf.where(value > 1, 0.75 * value, value)

    return {
        **share_strength(lambda u, sign: u, "autocontrast equalize"),
        "posterize": lambda u, sign: 4 - tf.floor(level(u) * 4 / 10),
        "rotate": lambda u, sign: sign * tf.floor(level(u) * 30 / 10),
        "solarize": lambda u, sign: 256 - tf.floor(level(u) * 256 / 10),
        **share_strength(lambda u, sign: sign * level(u) * 0.3 / 10, "shear_x shear_y"),
        **share_strength(lambda u, sign: sign * level(u) / 30, "translate_whole_x translate_whole_y"),
        **share_strength(factor, "color contrast sharpness"),
        "brightness": brightness}


def draw_composer(seed: tf.Tensor, count: int) -> Draw:
    """Draws one of `count` operations; its magnitude is a uniform number of 0 to 1."""
    draws = tf.unstack(tf.random.stateless_uniform([3], seed))
    return Draw(draw_whole_numbers(draws[0], count), draws[1], draw_sign(draws[2]))


def composer_randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float) -> tf.Tensor:
    """Applies `number` operations of any strength up to `magnitude` of 10, as MosaicML's composer.

    These are its depth and severity.  What comes in at the border is black.
    """
    strengths = make_composer_strengths(magnitude)
    x, branches = pixel_ops.to_whole_numbers(x), make_branches(strengths, "bilinear")
    for i in range(number):
        draw = draw_composer(fold_seed(seed, i), len(strengths))
        x = branches.run(draw.which, x, draw.magnitude, draw.sign, tf.zeros([x.shape[-1]]))
    return x
