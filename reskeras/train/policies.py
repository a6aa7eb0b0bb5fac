"""RandAugment, TrivialAugment and AutoAugment, each as one source draws and applies it.

First the operations and their strengths are drawn, then only the operations that were drawn run.  Pixels are
float32 (height, width, channels) in 0..255; a seed is int32 (2,).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from . import pixel_ops, tpu_pixel_ops
from .branches import Branches
from .seeds import draw_whole_numbers, fold_seed

# how a magnitude and a sign, which is 1 or -1, become a strength
Strength = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Draw:
    """What is done to an image.

    Attributes:
        which: the operation's place in its list; the list's length if none is applied.
        magnitude: in the source's unit.
        sign: 1 or -1.
    """

    which: tf.Tensor
    magnitude: tf.Tensor
    sign: tf.Tensor


def _translate_part_x(x: tf.Tensor, part: Any, interpolation: str, fill: tf.Tensor) -> tf.Tensor:
    """Shifts by a part of the width."""
    return pixel_ops.translate_x(x, part * tf.cast(tf.shape(x)[1], tf.float32), interpolation, fill)


def _translate_part_y(x: tf.Tensor, part: Any, interpolation: str, fill: tf.Tensor) -> tf.Tensor:
    """Shifts by a part of the height."""
    return pixel_ops.translate_y(x, part * tf.cast(tf.shape(x)[0], tf.float32), interpolation, fill)


def _translate_whole_x(x: tf.Tensor, part: Any, interpolation: str, fill: tf.Tensor) -> tf.Tensor:
    """Shifts by a part of the width, without the fraction of a pixel."""
    pixels = tf.cast(part * tf.cast(tf.shape(x)[1], tf.float32), tf.int32)
    return pixel_ops.translate_x(x, tf.cast(pixels, tf.float32), interpolation, fill)


def _translate_whole_y(x: tf.Tensor, part: Any, interpolation: str, fill: tf.Tensor) -> tf.Tensor:
    """Shifts by a part of the height, without the fraction of a pixel."""
    pixels = tf.cast(part * tf.cast(tf.shape(x)[0], tf.float32), tf.int32)
    return pixel_ops.translate_y(x, tf.cast(pixels, tf.float32), interpolation, fill)


# they take pixels, and a strength in their own unit; those that move pixels also interpolation and fill
_MOVES: dict[str, Callable[..., tf.Tensor]] = {
    "rotate": pixel_ops.rotate, "shear_x": pixel_ops.shear_x, "shear_y": pixel_ops.shear_y,
    "translate_x": pixel_ops.translate_x, "translate_y": pixel_ops.translate_y,
    "translate_part_x": _translate_part_x, "translate_part_y": _translate_part_y,
    "translate_whole_x": _translate_whole_x, "translate_whole_y": _translate_whole_y}
_PILLOW_OPERATIONS: dict[str, Callable[..., tf.Tensor]] = {
    **_MOVES, "identity": lambda x, v: x, "autocontrast": lambda x, v: pixel_ops.autocontrast(x),
    "equalize": lambda x, v: pixel_ops.equalize(x), "invert": lambda x, v: pixel_ops.invert(x),
    "posterize": pixel_ops.posterize, "solarize": pixel_ops.solarize, "solarize_add": pixel_ops.solarize_add,
    "color": pixel_ops.adjust_color, "contrast": pixel_ops.adjust_contrast,
    "brightness": pixel_ops.adjust_brightness, "sharpness": pixel_ops.adjust_sharpness}


def make_branches(strengths: dict[str, Strength], interpolation: str) -> Branches:
    """Functions of (pixels, magnitude, sign, fill) for the operations, and one that does nothing."""
    def make_branch(name: str, strength: Strength) -> Callable[..., tf.Tensor]:
        function = _PILLOW_OPERATIONS[name]
        if name in _MOVES:
            return lambda x, m, sign, fill: function(x, strength(m, sign), interpolation, fill)
        return lambda x, m, sign, fill: function(x, strength(m, sign))
    return Branches([*(make_branch(*item) for item in strengths.items()), lambda x, m, sign, fill: x])


def draw_sign(uniform: tf.Tensor) -> tf.Tensor:
    """Makes -1 or 1, equally often, of a number of 0 to 1."""
    return tf.where(uniform < 0.5, -1.0, 1.0)


def share_strength(strength: Strength, names: str) -> dict[str, Strength]:
    """The same strength for each of the names."""
    return dict.fromkeys(names.split(), strength)


# ---- timm's RandAugment, timm/data/auto_augment.py

_TIMM_COMMON: dict[str, Strength] = {
    **share_strength(lambda m, sign: m, "autocontrast equalize invert"),
    "rotate": lambda m, sign: 3.0 * m * sign,
    "solarize_add": lambda m, sign: tf.minimum(128.0, tf.floor(11.0 * m)),
    **share_strength(lambda m, sign: 0.03 * m * sign, "shear_x shear_y"),
    **share_strength(lambda m, sign: 0.045 * m * sign, "translate_part_x translate_part_y")}
# what a larger magnitude changes more
TIMM_INCREASING: dict[str, Strength] = {
    **_TIMM_COMMON,
    "posterize": lambda m, sign: 4 - tf.floor(0.4 * m),
    "solarize": lambda m, sign: 256 - tf.minimum(256.0, tf.floor(25.6 * m)),
    **share_strength(lambda m, sign: tf.maximum(0.1, 1 + 0.09 * m * sign),
                     "color contrast brightness sharpness")}
TIMM_FIXED: dict[str, Strength] = {
    **_TIMM_COMMON,
    "posterize": lambda m, sign: tf.floor(0.4 * m),
    "solarize": lambda m, sign: tf.minimum(256.0, tf.floor(25.6 * m)),
    **share_strength(lambda m, sign: 0.18 * m + 0.1, "color contrast brightness sharpness")}


def draw_timm(seed: tf.Tensor, magnitude: float, deviation: float, probability: float,
              largest: float = 10.0) -> Draw:
    """Draws one of timm's operations, and whether it is applied."""
    draws = tf.unstack(tf.random.stateless_uniform([3], seed))
    normal = tf.random.stateless_normal([], fold_seed(seed, 0))
    count = len(TIMM_INCREASING)
    which = tf.where(draws[0] < probability, draw_whole_numbers(draws[1], count), count)
    return Draw(which, tf.clip_by_value(magnitude + deviation * normal, 0.0, largest), draw_sign(draws[2]))


def timm_randaugment(x: tf.Tensor, seed: tf.Tensor, mean: tuple[float, ...], number: int = 2,
                     magnitude: float = 9.0, deviation: float = 0.0, probability: float = 0.5,
                     increasing: bool = True, interpolation: str = "bicubic",
                     largest: float = 10.0) -> tf.Tensor:
    """Applies `number` operations, each with `probability`, as timm: "rand-m9-n2-p0.5-mstd0.5-inc1" is
    timm_randaugment(2, 9, 0.5).

    The magnitude, of 0 to `largest`, varies by `deviation`.  What comes in at the border has the mean color.
    """
    x, fill = pixel_ops.to_whole_numbers(x), tf.round(pixel_ops.make_color(x, mean))
    branches = make_branches(TIMM_INCREASING if increasing else TIMM_FIXED, interpolation)
    for i in range(number):
        draw = draw_timm(fold_seed(seed, i), magnitude, deviation, probability, largest)
        x = branches.run(draw.which, x, draw.magnitude, draw.sign, fill)
    return x


# ---- torchvision's TrivialAugmentWide, torchvision/transforms/autoaugment.py

_BINS = 31


def _read_bin(values: Any) -> Strength:
    """Strengths by the number of their bin."""
    table = np.asarray(values, "float32")
    return lambda m, sign: tf.gather(table, tf.cast(m, tf.int32)) * sign


TRIVIALAUGMENT: dict[str, Strength] = {
    "identity": lambda m, sign: m,
    **share_strength(_read_bin(np.linspace(0, 0.99, _BINS)), "shear_x shear_y"),
    # whole pixels; the opposite direction to Pillow's matrix
    **share_strength(_read_bin(-np.floor(np.linspace(0, 32, _BINS))), "translate_x translate_y"),
    "rotate": _read_bin(np.linspace(0, 135, _BINS)),
    **share_strength(lambda m, sign: 1 + _read_bin(np.linspace(0, 0.99, _BINS))(m, sign),
                     "brightness color contrast sharpness"),
    "posterize": lambda m, sign: _read_bin(8 - np.round(np.arange(_BINS) / 5))(m, 1.0),
    "solarize": lambda m, sign: _read_bin(np.linspace(255, 0, _BINS))(m, 1.0),
    **share_strength(lambda m, sign: m, "autocontrast equalize")}


def draw_trivialaugment(seed: tf.Tensor) -> Draw:
    """Draws one of torchvision's operations and a bin of 0 to 30."""
    draws = tf.unstack(tf.random.stateless_uniform([3], seed))
    return Draw(draw_whole_numbers(draws[0], len(TRIVIALAUGMENT)),
                tf.cast(draw_whole_numbers(draws[1], _BINS), tf.float32), draw_sign(draws[2]))


def trivialaugment_wide(x: tf.Tensor, seed: tf.Tensor, interpolation: str = "bilinear") -> tf.Tensor:
    """Applies one operation of any strength, as torchvision's TrivialAugmentWide (arXiv:2103.10158).

    It shifts by up to 32 pixels at any size; what comes in at the border is black.
    """
    x, draw = pixel_ops.to_whole_numbers(x), draw_trivialaugment(seed)
    return make_branches(TRIVIALAUGMENT, interpolation).run(
        draw.which, x, draw.magnitude, draw.sign, tf.zeros([x.shape[-1]]))


# ---- tensorflow/tpu's RandAugment, models/official/efficientnet/autoaugment.py

# the strength of a magnitude of 0 to 10, above as far as the operation allows; TensorFlow shifts a
# byte by 7 at most, so one bit is left
TPU_OPERATIONS: dict[str, tuple[Callable[..., tf.Tensor], Strength]] = {
    "autocontrast": (lambda x, v: tpu_pixel_ops.autocontrast(x), lambda m, sign: m),
    "equalize": (lambda x, v: pixel_ops.equalize(x), lambda m, sign: m),
    "invert": (lambda x, v: pixel_ops.invert(x), lambda m, sign: m),
    "rotate": (tpu_pixel_ops.rotate, lambda m, sign: m / 10 * 30 * sign),
    "posterize": (pixel_ops.posterize, lambda m, sign: min(max(int(m / 10 * 4), 1), 8)),
    "solarize": (tpu_pixel_ops.solarize, lambda m, sign: int(m / 10 * 256)),
    "color": (tpu_pixel_ops.adjust_color, lambda m, sign: m / 10 * 1.8 + 0.1),
    "contrast": (tpu_pixel_ops.adjust_contrast, lambda m, sign: m / 10 * 1.8 + 0.1),
    "brightness": (pixel_ops.adjust_brightness, lambda m, sign: m / 10 * 1.8 + 0.1),
    "sharpness": (tpu_pixel_ops.adjust_sharpness, lambda m, sign: m / 10 * 1.8 + 0.1),
    "shear_x": (tpu_pixel_ops.shear_x, lambda m, sign: m / 10 * 0.3 * sign),
    "shear_y": (tpu_pixel_ops.shear_y, lambda m, sign: m / 10 * 0.3 * sign),
    "translate_x": (tpu_pixel_ops.translate_x, lambda m, sign: m / 10 * 100 * sign),
    "translate_y": (tpu_pixel_ops.translate_y, lambda m, sign: m / 10 * 100 * sign),
    "cutout": (tpu_pixel_ops.cutout, lambda m, sign: int(m / 10 * 40)),
    "solarize_add": (pixel_ops.solarize_add, lambda m, sign: float(int(m / 10 * 110)))}


def draw_tpu(seed: tf.Tensor) -> Draw:
    """Draws one of tensorflow/tpu's operations; all have the magnitude of the policy."""
    draws = tf.unstack(tf.random.stateless_uniform([2], seed))
    return Draw(draw_whole_numbers(draws[0], len(TPU_OPERATIONS)), tf.zeros([]), draw_sign(draws[1]))


def tpu_randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float) -> tf.Tensor:
    """Applies `number` operations of one magnitude, as tensorflow/tpu (EfficientNet, ResNet-RS).

    10 is the largest magnitude of the other sources; ResNet-RS uses 10 and 15.
    """
    def make_branch(name: str) -> Callable[..., tf.Tensor]:
        function, strength = TPU_OPERATIONS[name]
        if name == "cutout":
            return lambda x, sign, place: function(x, strength(magnitude, sign), place)
        return lambda x, sign, place: function(x, strength(magnitude, sign))

    x = tpu_pixel_ops.to_whole_numbers(x)
    branches = Branches([make_branch(name) for name in TPU_OPERATIONS])
    for i in range(number):
        operation_seed = fold_seed(seed, i)
        draw = draw_tpu(operation_seed)
        place = tf.random.stateless_uniform([2], fold_seed(operation_seed, 0))
        x = branches.run(draw.which, x, draw.sign, place)
    return x


# ---- AutoAugment's ImageNet policy as zhanghang1989/ResNeSt has it, resnest/gluon/data_utils.py

# pairs of (operation, probability, strength)
_Step = tuple[str, float, float]
RESNEST_POLICY: tuple[tuple[_Step, _Step], ...] = (
    (("posterize", 0.4, 1), ("rotate", 0.6, 27)), (("solarize", 0.6, 128), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)), (("posterize", 0.6, 2), ("posterize", 0.6, 2)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 154)), (("equalize", 0.4, 0), ("rotate", 0.8, 24)),
    (("solarize", 0.6, 180), ("equalize", 0.6, 0)), (("posterize", 0.8, 2), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 9), ("solarize", 0.6, 52)), (("equalize", 0.6, 0), ("posterize", 0.4, 2)),
    (("rotate", 0.8, 24), ("color", 0.4, 0.1)), (("rotate", 0.4, 27), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)), (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 0.82), ("contrast", 1.0, 1.54)), (("rotate", 0.8, 24), ("color", 1.0, 0.1)),
    (("color", 0.8, 1.54), ("solarize", 0.8, 77)), (("sharpness", 0.4, 1.36), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 0.15), ("equalize", 1.0, 0)), (("color", 0.4, 0.1), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 154)), (("solarize", 0.6, 128), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)), (("color", 0.6, 0.82), ("contrast", 1.0, 1.54)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)))
# of a larger image, which is cropped afterwards, every k-th pixel is enough: floats of all need much memory
_MOST_PIXELS = 2 ** 24
_RESNEST_STEPS = sorted({(name, strength) for pair in RESNEST_POLICY for name, _, strength in pair})


def draw_autoaugment(seed: tf.Tensor) -> list[Draw]:
    """Draws one of the pairs, and which of its two operations are applied."""
    draws = tf.random.stateless_uniform([5], seed)
    row = draw_whole_numbers(draws[0], len(RESNEST_POLICY))
    places = [[_RESNEST_STEPS.index((name, strength)) for name, _, strength in pair]
              for pair in RESNEST_POLICY]
    probabilities = [[probability for _, probability, _ in pair] for pair in RESNEST_POLICY]
    which = tf.where(draws[1:3] < tf.gather(tf.constant(probabilities), row),
                     tf.gather(tf.constant(places), row), len(_RESNEST_STEPS))
    return [Draw(which[i], tf.gather(tf.constant([float(strength) for _, strength in _RESNEST_STEPS] + [0.0]),
                                     which[i]), draw_sign(draws[3 + i])) for i in (0, 1)]


def resnest_autoaugment(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies up to two operations of AutoAugment's ImageNet policy (arXiv:1805.09501), as ResNeSt does.

    What comes in at the border is black.
    """
    def make_branch(name: str, strength: float) -> Callable[..., tf.Tensor]:
        interpolation = "nearest" if name == "rotate" else "bicubic"
        function = _PILLOW_OPERATIONS[name]
        if name in _MOVES:
            return lambda x, sign: function(x, strength * sign, interpolation, tf.zeros([x.shape[-1]]))
        return lambda x, sign: function(x, strength)

    pixels = tf.reduce_prod(tf.cast(tf.shape(x)[:2], tf.float32))
    step = tf.maximum(tf.cast(tf.sqrt(pixels / _MOST_PIXELS), tf.int32), 1)
    x = tf.ensure_shape(x[::step, ::step], (None, None, x.shape[-1]))
    x = pixel_ops.to_whole_numbers(x)
    branches = Branches([*(make_branch(*step) for step in _RESNEST_STEPS), lambda x, sign: x])
    for draw in draw_autoaugment(seed):
        x = branches.run(draw.which, x, draw.sign)
    return x
