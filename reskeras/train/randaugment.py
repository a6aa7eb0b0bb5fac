"""RandAugment and TrivialAugment: our random draws, keras-cv's operations on pixels.

keras-cv's RandAugment draws from a state, so that it repeats neither in a parallel map nor after skipped
batches, and its Equalization loops over channels.  So the operation and its strength are drawn here.  Only
rotate is still keras-cv's code: `fast_pixels.py` and `pixel_ops.py` compute the others in less time.
"""
from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any, Callable

import tensorflow as tf

from . import fast_pixels, pixel_ops
from .branches import Branches

_GREY = 128.0


@functools.cache
def keras_cv_layers() -> Any:
    """keras-cv's layers.  Raises: ImportError if it is not installed; it says what to install."""
    try:
        from keras_cv import layers as cv
    except ImportError as error:
        raise ImportError("randaugment and trivialaugment need keras-cv, which is not installed: pip install "
                          "\"reskeras[train]\"") from error
    try:
        tf.random.get_global_generator()
    except RuntimeError:
        # TensorFlow makes none if operations are deterministic; the layers ask for it, but draw nothing here
        tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    border: dict[str, Any] = {"fill_mode": "constant", "fill_value": _GREY}
    return SimpleNamespace(rotate=cv.RandomRotation(0.1, **border))


def _posterize(x: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    step = 2 ** (8 - tf.round(bits))
    return tf.floor(x / step) * step


PixelFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# pixels (1, height, width, 3) and a strength in the operation's own unit
OPERATIONS: dict[str, PixelFunction] = {
    "identity": lambda x, v: x,
    "autocontrast": lambda x, v: fast_pixels.autocontrast(x),
    "equalize": lambda x, v: pixel_ops.equalize(x[0])[None],
    "solarize": fast_pixels.solarize,
    "solarize_add": fast_pixels.solarize_add,
    "posterize": _posterize,
    "color": fast_pixels.change_color,      # 1 is the image, 0 is gray
    "contrast": fast_pixels.change_contrast,
    "brightness": lambda x, v: tf.clip_by_value(x * v, 0, 255),
    "sharpness": fast_pixels.sharpen,
    "shear_x": functools.partial(fast_pixels.shear, axis=2),
    "shear_y": functools.partial(fast_pixels.shear, axis=1),
    "translate_x": functools.partial(fast_pixels.translate, axis=2),
    "translate_y": functools.partial(fast_pixels.translate, axis=1),
    "rotate": lambda x, v: keras_cv_layers().rotate.augment_images(x, {"angles": v[None]}),
}
# operation -> a function of (magnitude in 0..1, a sign) that is its strength
Space = dict[str, PixelFunction]


def _factors(most: float, names: str) -> Space:
    """Strengths of 1 - most to 1 + most."""
    return {name: lambda m, sign: 1 + most * m * sign for name in names.split()}


def _offsets(most: float, names: str) -> Space:
    """Strengths of -most to most."""
    return {name: lambda m, sign: most * m * sign for name in names.split()}


# arXiv:1909.13719, in timm's increasing form; a magnitude above 10 is used as it is if that has a meaning
RANDAUGMENT_SPACE: Space = {
    "autocontrast": lambda m, sign: m, "equalize": lambda m, sign: m,
    # at least one bit is left
    "posterize": lambda m, sign: 4 - tf.floor(4 * tf.minimum(m, 1)) + tf.cast(m >= 1, tf.float32),
    "solarize": lambda m, sign: 256 * (1 - tf.minimum(m, 1)), "solarize_add": lambda m, sign: 110 * m,
    **_factors(0.9, "color contrast brightness sharpness"), **_offsets(0.3, "shear_x shear_y"),
    **_offsets(0.45, "translate_x translate_y"), **_offsets(math.radians(30), "rotate")}
# arXiv:2103.10158, its wide space as torchvision has it; 32 pixels are of 224
TRIVIALAUGMENT_SPACE: Space = {
    "identity": lambda m, sign: m, "autocontrast": lambda m, sign: m, "equalize": lambda m, sign: m,
    "posterize": lambda m, sign: 8 - 6 * m, "solarize": lambda m, sign: 255 * (1 - m),
    **_factors(0.99, "color contrast brightness sharpness"), **_offsets(0.99, "shear_x shear_y"),
    **_offsets(32 / 224, "translate_x translate_y"), **_offsets(math.radians(135), "rotate")}


def _make_branches(space: Space) -> Branches:
    """Functions of (pixels, magnitude in 0..1, sign) for the operations of a space."""
    def make_branch(name: str, strength: PixelFunction) -> Callable[..., tf.Tensor]:
        return lambda x, magnitude, sign: OPERATIONS[name](x[None], strength(magnitude, sign))[0]
    return Branches([make_branch(*item) for item in space.items()])


def _apply_one(branches: Branches, x: tf.Tensor, seed: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """Applies one random operation; each is as likely.

    Args:
        branches: the operations.
        x: pixels in 0..255, (height, width, 3).
        seed: int32 (2,).
        magnitude: 0 to 1.
    """
    draws = tf.random.stateless_uniform([2], seed)
    which = tf.cast(draws[0] * len(branches), tf.int32)
    return branches.run(which, x, magnitude, tf.where(draws[1] < 0.5, -1.0, 1.0))


def randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float, deviation: float) -> tf.Tensor:
    """Applies `number` operations of strength `magnitude` of 10, with standard deviation `deviation`."""
    branches = _make_branches(RANDAUGMENT_SPACE)
    for i in range(number):
        operation_seed = tf.random.experimental.stateless_fold_in(seed, i)
        normal = tf.random.stateless_normal([], tf.random.experimental.stateless_fold_in(operation_seed, 0))
        strength = magnitude / 10 + deviation / 10 * normal
        x = _apply_one(branches, x, operation_seed, tf.maximum(strength, 0.0))
    return x


def trivialaugment(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one operation of any strength, of 31 levels."""
    level_seed = tf.random.experimental.stateless_fold_in(seed, 0)
    level = tf.random.stateless_uniform([], level_seed, 0, 31, tf.int32)
    return _apply_one(_make_branches(TRIVIALAUGMENT_SPACE), x, seed, tf.cast(level, tf.float32) / 30)
