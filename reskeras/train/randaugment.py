"""RandAugment and TrivialAugment: our draws, keras-cv's operations on pixels.

Its RandAugment draws from state, so that it repeats neither in a parallel map nor after a skip, and its Equalization loops over
channels; so which operation and how strong is drawn here, and equalize, posterize and brightness, a line or two each, are ours.
"""
from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any, Callable

import tensorflow as tf

WHITE, GREY = (0, 255), 128.0


@functools.cache
def layers() -> Any:
    """keras-cv's layers.  Raises: ImportError that says what to install."""
    try:
        from keras_cv import layers as cv
    except ImportError as error:
        raise ImportError("randaugment and trivialaugment are keras-cv's, which is not installed: "
                          "pip install \"reskeras[train]\"") from error
    edge: dict[str, Any] = {"fill_mode": "constant", "fill_value": GREY}
    return SimpleNamespace(
        autocontrast=cv.AutoContrast(WHITE), solarize=cv.Solarization(WHITE), color=cv.RandomColorDegeneration(0.5),
        contrast=cv.RandomContrast(WHITE, 0.5), sharpness=cv.RandomSharpness(0.5, WHITE), shear=cv.RandomShear(0.1, 0.1, **edge),
        translate=cv.RandomTranslation(0.1, 0.1, **edge), rotate=cv.RandomRotation(0.1, **edge))


def shear(x: tf.Tensor, v: tf.Tensor, axis: str) -> tf.Tensor:
    other = {"x": "y", "y": "x"}[axis]
    return layers().shear.augment_images(x, {f"shear_{axis}": v[None, None], f"shear_{other}": None})


def translate(x: tf.Tensor, v: tf.Tensor, axis: str) -> tf.Tensor:
    v, none = v[None, None], tf.zeros((1, 1))
    across, down = (v, none) if axis == "x" else (none, v)
    return layers().translate.augment_images(x, {"width_translations": across, "height_translations": down})


def equalize(x: tf.Tensor) -> tf.Tensor:
    """Each channel's grey levels spread evenly, as Pillow's ImageOps.equalize."""
    def line(channel: tf.Tensor) -> tf.Tensor:
        level = tf.cast(channel, tf.int32)
        histogram = tf.histogram_fixed_width(level, WHITE, 256)
        last = histogram[tf.reduce_max(level)]
        step = (tf.reduce_sum(histogram) - last) // 255
        table = (tf.cumsum(histogram, exclusive=True) + step // 2) // tf.maximum(step, 1)
        return tf.where(step == 0, channel, tf.cast(tf.gather(tf.clip_by_value(table, 0, 255), level), tf.float32))
    return tf.stack([line(channel) for channel in tf.unstack(x, axis=-1)], -1)


def posterize(x: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    step = 2 ** (8 - tf.round(bits))
    return tf.floor(x / step) * step


Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
OPS: dict[str, Change] = {          # (1, height, width, 3) and a strength in its own units
    "identity": lambda x, v: x,
    "autocontrast": lambda x, v: layers().autocontrast.augment_images(x),
    "equalize": lambda x, v: equalize(x),
    "solarize": lambda x, v: layers().solarize.augment_images(x, {"thresholds": v, "additions": 0.0}),
    "solarize_add": lambda x, v: tf.where(x < GREY, tf.clip_by_value(x + v, 0, 255), x),
    "posterize": posterize,
    "color": lambda x, v: layers().color.augment_images(x, 1 - v),      # 1 is the image, 0 is grey
    "contrast": lambda x, v: layers().contrast.augment_images(x, v),
    "brightness": lambda x, v: tf.clip_by_value(x * v, 0, 255),
    "sharpness": lambda x, v: layers().sharpness.augment_images(x, 1 - v),
    "shear_x": functools.partial(shear, axis="x"),
    "shear_y": functools.partial(shear, axis="y"),
    "translate_x": functools.partial(translate, axis="x"),
    "translate_y": functools.partial(translate, axis="y"),
    "rotate": lambda x, v: layers().rotate.augment_images(x, {"angles": v[None]}),
}
Strength = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Space = dict[str, Strength]         # (magnitude of 0..1, a sign) -> strength


def factors(most: float, names: str) -> Space:
    return {name: lambda m, sign: 1 + most * m * sign for name in names.split()}


def shifts(most: float, names: str) -> Space:
    return {name: lambda m, sign: most * m * sign for name in names.split()}


# arXiv:1909.13719, in timm's increasing form; a magnitude beyond 10 goes on where that has a meaning
RAND: Space = {
    "autocontrast": lambda m, sign: m, "equalize": lambda m, sign: m,
    "posterize": lambda m, sign: 4 - tf.floor(4 * tf.minimum(m, 1)) + tf.cast(m >= 1, tf.float32),     # one bit is left
    "solarize": lambda m, sign: 256 * (1 - tf.minimum(m, 1)), "solarize_add": lambda m, sign: 110 * m,
    **factors(0.9, "color contrast brightness sharpness"), **shifts(0.3, "shear_x shear_y"),
    **shifts(0.45, "translate_x translate_y"), **shifts(math.radians(30), "rotate")}
# arXiv:2103.10158, its wide space as torchvision has it; 32 pixels are of 224
TRIVIAL: Space = {
    "identity": lambda m, sign: m, "autocontrast": lambda m, sign: m, "equalize": lambda m, sign: m,
    "posterize": lambda m, sign: 8 - 6 * m, "solarize": lambda m, sign: 255 * (1 - m),
    **factors(0.99, "color contrast brightness sharpness"), **shifts(0.99, "shear_x shear_y"),
    **shifts(32 / 224, "translate_x translate_y"), **shifts(math.radians(135), "rotate")}


def one_of(space: Space, x: tf.Tensor, seed: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """One operation of the space, each as often, on (height, width, 3) of 0..255."""
    draws = tf.random.stateless_uniform([2], seed)
    which = tf.cast(draws[0] * len(space), tf.int32)
    sign = tf.where(draws[1] < 0.5, -1.0, 1.0)
    shape = x.shape
    x = tf.switch_case(which, [lambda op=OPS[name], v=strength: tf.ensure_shape(op(x[None], v(magnitude, sign))[0], shape)
                               for name, strength in space.items()])
    return tf.ensure_shape(x, shape)


def randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float, deviation: float) -> tf.Tensor:
    for i in range(number):
        own = tf.random.experimental.stateless_fold_in(seed, i)
        m = magnitude / 10 + deviation / 10 * tf.random.stateless_normal([], tf.random.experimental.stateless_fold_in(own, 0))
        x = one_of(RAND, x, own, tf.maximum(m, 0.0))
    return x


def trivialaugment(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    level = tf.random.stateless_uniform([], tf.random.experimental.stateless_fold_in(seed, 0), 0, 31, tf.int32)
    return one_of(TRIVIAL, x, seed, tf.cast(level, tf.float32) / 30)
