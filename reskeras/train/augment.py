"""Augmentation as one readable string: "inception_crop(224)|flip|randaugment(2, 9)|erase(0.25)|mixup(0.2)|cutmix(1.0)".

Every draw is stateless, from a seed that belongs to the image (or batch), so it repeats whatever runs beside or before it.
keras-cv's own draws do not repeat under a parallel map; its layers are used for what they do to pixels, in `policies`.
"""
from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import Any, Callable

import tensorflow as tf

from ..spec import nearest
from . import randaugment as policies
from .recipe import typed

# AlexNet's principal components of ImageNet's colours, as in fb.resnet.torch: deviations in 0..1, and RGB columns
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
WHITE = 255.0


def inception_crop(x: tf.Tensor, seed: tf.Tensor, size: int, area: float = 0.08) -> tf.Tensor:
    """A part of `area` to all of the image, of proportions 3:4 to 4:3 (arXiv:1409.4842), resized; JPEG is decoded there only."""
    shape = tf.image.extract_jpeg_shape(x) if x.dtype == tf.string else tf.shape(x)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape, tf.zeros([1, 0, 4]), seed, aspect_ratio_range=(3 / 4, 4 / 3), area_range=(area, 1.0), min_object_covered=0.0,
        max_attempts=10, use_image_if_no_bounding_boxes=True)
    if x.dtype == tf.string:
        x = tf.image.decode_and_crop_jpeg(x, tf.concat([begin[:2], extent[:2]], 0), channels=3)
    else:
        x = tf.image.crop_to_bounding_box(x, begin[0], begin[1], extent[0], extent[1])
    return resized(x, (size, size))


def scale(x: tf.Tensor, seed: tf.Tensor, low: int, high: int) -> tf.Tensor:
    """The shorter side `low` to `high` pixels (arXiv:1409.1556)."""
    short = tf.cast(tf.random.stateless_uniform([], seed, low, high + 1, tf.int32), tf.float32)
    sides = tf.cast(tf.shape(x)[:2], tf.float32)
    return resized(x, tf.cast(tf.round(sides * short / tf.reduce_min(sides)), tf.int32))


def resize(x: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """The image without regard of its proportions."""
    return resized(x, (size, size))


def crop(x: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """A square anywhere; a smaller image is resized first."""
    x = tf.cast(x, tf.float32)
    sides = tf.shape(x)[:2]
    x = tf.cond(tf.reduce_min(sides) < size, lambda: resized(x, tf.maximum(sides, size)), lambda: x)
    return window(x, seed, size)


def pad_crop(x: tf.Tensor, seed: tf.Tensor, size: int, pad: int, mode: str = "constant") -> tf.Tensor:
    """A square anywhere in the image with a border: black, or "reflect"."""
    return window(tf.pad(tf.cast(x, tf.float32), [(pad, pad), (pad, pad), (0, 0)], mode.upper()), seed, size)


def flip(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Left and right change places in every second image."""
    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, x, x[:, ::-1])


def jitter(x: tf.Tensor, seed: tf.Tensor, brightness: float, contrast: float = 0.0, saturation: float = 0.0,
           hue: float = 0.0) -> tf.Tensor:
    """Each by a factor of 1 - r to 1 + r, hue turned by as much of a half turn; in this order."""
    draws = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0))
    x = x * (1 + brightness * draws[0])
    if contrast:
        x = tf.image.adjust_contrast(x, 1 + contrast * draws[1])
    if saturation:
        grey = tf.image.rgb_to_grayscale(x)
        x = grey + (x - grey) * (1 + saturation * draws[2])
    x = tf.clip_by_value(x, 0.0, WHITE)
    return tf.image.adjust_hue(x, hue * draws[3] / 2) if hue else x


def lighting(x: tf.Tensor, seed: tf.Tensor, deviation: float) -> tf.Tensor:
    """Colours shifted along their principal components, as AlexNet's."""
    draws = tf.random.stateless_normal([3], seed, stddev=deviation) * EIGENVALUES
    return tf.clip_by_value(x + WHITE * tf.linalg.matvec(tf.constant(EIGENVECTORS), draws), 0.0, WHITE)


def affine(x: tf.Tensor, seed: tf.Tensor, turn: float, shift: float = 0.0, scale: float = 0.0) -> tf.Tensor:
    """Turned by up to `turn` radians, shifted by a share of the side, scaled by 1 - s to 1 + s; black comes in at the edge."""
    turned, right, down, wide, high = tf.unstack(tf.random.stateless_uniform([5], seed, -1.0, 1.0))
    height, width = (tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(x)[:2]))
    cos, sin = tf.cos(turn * turned), tf.sin(turn * turned)
    a, b, c, d = cos * (1 + scale * wide), -sin * (1 + scale * high), sin * (1 + scale * wide), cos * (1 + scale * high)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros([])
    matrix = tf.stack([a, b, middle_x - a * middle_x - b * middle_y + shift * right * width,
                       c, d, middle_y - c * middle_x - d * middle_y + shift * down * height, zero, zero])
    return tf.raw_ops.ImageProjectiveTransformV3(images=x[None], transforms=matrix[None], output_shape=tf.shape(x)[:2],
                                                 fill_value=0.0, interpolation="BILINEAR", fill_mode="CONSTANT")[0]


def randaugment(x: tf.Tensor, seed: tf.Tensor, number: int, magnitude: float, deviation: float = 0.0) -> tf.Tensor:
    """`number` operations of strength `magnitude` of 10 (arXiv:1909.13719), which varies by `deviation`; by keras-cv."""
    return policies.randaugment(x, seed, number, magnitude, deviation)


def trivialaugment(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One operation of any strength (arXiv:2103.10158, its wide space); by keras-cv."""
    return policies.trivialaugment(x, seed)


def erase(x: tf.Tensor, seed: tf.Tensor, probability: float, low: float = 0.02, high: float = 1 / 3) -> tf.Tensor:
    """A rectangle of `low` to `high` of the area becomes the mean of its image (arXiv:1708.04896); keras-cv has only squares."""
    draws = tf.unstack(tf.random.stateless_uniform([5], seed))
    sides = tf.cast(tf.shape(x)[:2], tf.float32)
    area = (low + (high - low) * draws[1]) * sides[0] * sides[1]
    ratio = tf.exp((2 * draws[2] - 1) * tf.math.log(10 / 3))
    extent = tf.minimum(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)]), sides)
    inside = box((sides - extent) * tf.stack([draws[3], draws[4]]), extent, tf.shape(x))
    return tf.where(inside & (draws[0] < probability), tf.reduce_mean(x, (0, 1)), x)


def mixup(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Each image and its labels mixed with another one's by a share of Beta(alpha, alpha), one per batch (arXiv:1710.09412)."""
    share = beta(seed, alpha)
    return x * share + x[::-1] * (1 - share), y * share + y[::-1] * (1 - share)


def cutmix(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """A rectangle of each image is another one's, the labels mixed by its area (arXiv:1905.04899), one per batch."""
    sides = tf.cast(tf.shape(x)[1:3], tf.float32)
    extent = sides * tf.sqrt(1 - beta(seed, alpha))
    centre = sides * tf.random.stateless_uniform([2], folded(seed, 1))
    inside = box(centre - extent / 2, extent, tf.shape(x)[1:])
    share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32))
    return tf.where(inside, x[::-1], x), y * share + y[::-1] * (1 - share)


def beta(seed: tf.Tensor, alpha: float) -> tf.Tensor:
    a, b = tf.unstack(tf.random.stateless_gamma([2], seed, alpha) + 1e-30)      # two zeros would be no share
    return a / (a + b)


def box(begin: tf.Tensor, extent: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Where (height, width, 1) is inside a rectangle."""
    lines = [(tf.cast(tf.range(shape[i]), tf.float32) >= tf.round(begin[i]))
             & (tf.cast(tf.range(shape[i]), tf.float32) < tf.round(begin[i] + extent[i])) for i in (0, 1)]
    return (lines[0][:, None] & lines[1][None])[..., None]


def window(x: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    room = tf.shape(x)[:2] - size + 1
    corner = tf.cast(tf.random.stateless_uniform([2], seed) * tf.cast(room, tf.float32), tf.int32)
    return tf.image.crop_to_bounding_box(x, corner[0], corner[1], size, size)


def resized(x: tf.Tensor, size: Any) -> tf.Tensor:
    return tf.clip_by_value(tf.image.resize(x, size, antialias=True), 0.0, WHITE)


def folded(seed: tf.Tensor, number: Any) -> tf.Tensor:
    """Another seed, of `seed` and a number."""
    return tf.random.experimental.stateless_fold_in(seed, number)


IMAGE: dict[str, Callable[..., Any]] = {f.__name__: f for f in (
    inception_crop, scale, resize, crop, pad_crop, flip, jitter, lighting, affine, randaugment, trivialaugment, erase)}
BATCH: dict[str, Callable[..., Any]] = {f.__name__: f for f in (mixup, cutmix)}
FUSED = {"inception_crop"}                      # takes JPEG bytes
FIXED = {"inception_crop", "resize", "crop", "pad_crop"}       # all images of one size from then on
KERAS_CV = {"randaugment", "trivialaugment"}
COLOUR = {"jitter", "lighting", *KERAS_CV}


@dataclass(frozen=True)
class Op:
    """A word of the string, with its arguments."""
    name: str
    arguments: dict[str, Any]

    def __call__(self, *tensors: tf.Tensor) -> Any:
        return {**IMAGE, **BATCH}[self.name](*tensors, **self.arguments)


@dataclass(frozen=True)
class Pipeline:
    """What becomes of an image, and then of a batch; pixels are float32 in 0..255 throughout."""
    text: str
    images: tuple[Op, ...]
    batches: tuple[Op, ...]

    @property
    def size(self) -> int | None:
        """Pixels on a side, where an operation says so."""
        found = [op.arguments["size"] for op in self.images if op.name in FIXED]
        return found[-1] if found else None

    @property
    def soft(self) -> bool:
        """Whether labels are shares of classes."""
        return bool(self.batches)

    @tf.autograph.experimental.do_not_convert
    def image(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One image, the bytes of a file or pixels (height, width, channels) in 0..255, augmented."""
        ops = list(enumerate(self.images))
        if x.dtype == tf.string and ops and ops[0][1].name in FUSED:
            (i, first), ops = ops[0], ops[1:]
            own = folded(seed, i)
            x = tf.cond(tf.io.is_jpeg(x), lambda: first(x, own), lambda: first(decoded(x), own))
        elif x.dtype == tf.string:
            x = decoded(x)
        x = tf.cast(x, tf.float32)
        for i, op in ops:
            if op.name in COLOUR and x.shape[-1] != 3:
                raise ValueError(f"{self.text!r}: {op.name} is of colours, and these images have {x.shape[-1]} channel")
            x = op(x, folded(seed, i))
        return tf.ensure_shape(x, (self.size, self.size, x.shape[-1]))

    @tf.autograph.experimental.do_not_convert
    def batch(self, x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch, whose labels are shares of classes (N, classes): one of the batch operations, each as often."""
        if not self.batches:
            return x, y
        which = tf.random.stateless_uniform([], folded(seed, 0), 0, len(self.batches), tf.int32)
        own = folded(seed, 1)
        return tf.switch_case(which, [lambda op=op: op(x, y, own) for op in self.batches])


def decoded(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.io.decode_image(x, channels=3, expand_animations=False), (None, None, 3))


def parse(text: str | Pipeline) -> Pipeline:
    """The pipeline that a string says: operations with literal arguments, a "|" between them.

    Raises: ValueError for an unknown operation or argument, the message names the nearest; ImportError where an operation needs
        keras-cv and there is none.
    """
    if isinstance(text, Pipeline):
        return text
    try:
        ops = [op(node, text) for node in pieces(ast.parse(text.strip(), mode="eval").body)] if text.strip() else []
    except SyntaxError as error:
        raise ValueError(f"{text!r}: expected operations with a | between them, such as 'inception_crop(224)|flip'") from error
    names = [o.name for o in ops]
    images, batches = [o for o in ops if o.name in IMAGE], [o for o in ops if o.name in BATCH]
    if ops != images + batches:
        raise ValueError(f"{text!r}: {' and '.join(BATCH)} are of batches, and come last")
    for name in names:
        if name in KERAS_CV:
            policies.layers()       # an ImportError now, not within a graph
    return Pipeline(text, tuple(images), tuple(batches))


def pieces(node: ast.expr) -> list[ast.expr]:
    return [*pieces(node.left), node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) else [node]


def op(node: ast.expr, text: str) -> Op:
    """An operation, from its word or call."""
    call = node if isinstance(node, ast.Call) else None
    word = call.func if call else node
    if not isinstance(word, ast.Name):
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is no operation with literal arguments, such as crop(224)")
    known = {**IMAGE, **BATCH}
    if word.id not in known:
        raise ValueError(f"unknown operation {word.id!r}{nearest(word.id, known)}; the operations are {', '.join(known)}")
    parameters = {name: p for name, p in inspect.signature(known[word.id]).parameters.items() if name not in ("x", "y", "seed")}
    try:
        given = [ast.literal_eval(a) for a in call.args] if call else []
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except ValueError as error:
        raise ValueError(f"{ast.unparse(node)}: expected literal arguments, such as crop(224)") from error
    usage = f"expected {word.id}({', '.join(str(p).split(':')[0] + default(p) for p in parameters.values())})"
    for name in named:
        if name not in parameters:
            raise ValueError(f"{ast.unparse(node)}: unknown argument {name!r}{nearest(name, parameters)}; {usage}")
    arguments = dict(zip(parameters, given))
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in {*arguments, *named}]
    if missing or len(given) > len(parameters) or set(arguments) & set(named):
        raise ValueError(f"{ast.unparse(node)}: {usage}")
    arguments |= named
    for name, value in arguments.items():
        arguments[name] = checked(f"{word.id}: {name}", typed(f"{word.id}: {name}", value, str(parameters[name].annotation)))
    return Op(word.id, arguments)


def default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else f"={parameter.default!r}"


def checked(name: str, value: Any) -> Any:
    field = name.partition(": ")[2]
    if field in ("size", "low", "high", "number", "alpha") and not value > 0:
        raise ValueError(f"{name}={value!r}: expected a number above 0")
    if field in ("probability", "area") and not 0 <= value <= 1 or isinstance(value, (int, float)) and value < 0:
        raise ValueError(f"{name}={value!r}: expected a number of 0 to 1" if field in ("probability", "area")
                         else f"{name}={value!r}: expected a number of at least 0")
    if field == "mode" and value not in ("constant", "reflect"):
        raise ValueError(f"{name}={value!r}: expected constant or reflect{nearest(value, ('constant', 'reflect'))}")
    return value
