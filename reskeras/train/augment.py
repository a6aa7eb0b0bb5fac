"""Augmentation as one readable string: "inception_crop(224)|flip|randaugment(2, 9)|mixup(0.2)|cutmix(1.0)".

A function of another package, which is registered as "package>function" by
`keras.saving.register_keras_serializable`, has the name package.function there, and takes (image, seed).

Every draw is stateless, from a seed that belongs to the image (or the batch), so it repeats whatever runs
beside or before it.
"""
from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError
from ..images.decode import decode_image, read_header
from ..images.headers import has_16_bits, has_at_most, may_be_turned, read_sides
from ..images.limits import count_in_flight, get_image_limits
from ..images.python_calls import call_python
from ..images.values import decode_values
from . import randaugment
from .augment_ops import BATCH_OPERATIONS, OPERATIONS, alternating_flip, decode_rgb
from .augment_parsing import Operation, parse_operation, split_at_bars
from .image_size import Sides, to_sides
from .seeds import fold_seed

# takes the bytes of a JPEG
_DECODES_JPEG = {"inception_crop", "random_resized_crop", "tpu_crop", "torch7_crop"}
# all images have one size from then on
_FIXES_SIZE = {*_DECODES_JPEG, "resize", "crop", "pad_crop"}
# need no floats, which take four times as much memory
_TAKES_BYTES = {*_FIXES_SIZE, "scale", "flip", "resnest_autoaugment"}
_NEEDS_KERAS_CV = {"randaugment", "trivialaugment"}
_NEEDS_COLOUR = {"jitter", "lighting", "tpu_randaugment", *_NEEDS_KERAS_CV}
# take any number of channels, of any values, and not only pixels in 0..255
_TAKES_VALUES = {"inception_crop", "random_resized_crop", "torch7_crop", "scale", "resize", "crop",
                 "pad_crop", "flip", "alternating_flip", "affine", "erase", "random_erasing", "cutout",
                 *BATCH_OPERATIONS}
# 255 times torchvision's and timm's mean of 0.485, 0.456, 0.406
_IMAGENET_MEAN = (123.675, 116.28, 103.53)

Operations = list[tuple[int, Operation]]    # each with its number in the string


@dataclass(frozen=True)
class Augmentation:
    """The operations on an image, and then on a batch; pixels are float32, where 0 is black and 255 white.

    Attributes:
        bits: of images of 16 bits, as in `Preprocessing`.
        mean: the mean color of the data set in 0..255, which some operations fill with.
        has_values: whether images are taken by value, with as many channels as `mean`, and not as pixels.
        alternates_flip: whether each image is flipped in every other epoch, which depends on its number.
    """

    text: str
    image_operations: tuple[Operation, ...]
    batch_operations: tuple[Operation, ...]
    bits: int = 0
    mean: tuple[float, ...] = _IMAGENET_MEAN
    has_values: bool = False
    alternates_flip: bool = False

    @property
    def size(self) -> Sides | None:
        """Pixels on a side after the operations, or (height, width); None if they do not fix it."""
        sizes = [op.arguments["size"] for op in self.image_operations if op.name in _FIXES_SIZE]
        return sizes[-1] if sizes else None

    @property
    def mixes_labels(self) -> bool:
        """Whether labels become probabilities of classes."""
        return bool(self.batch_operations)

    @property
    def has_two_parts(self) -> bool:
        """Whether `decode_image` makes images of one size, and there is something left for `finish_image`."""
        return 0 < self._first_count < len(self.image_operations)

    @tf.autograph.experimental.do_not_convert
    def augment_image(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image.

        Args:
            x: the bytes of a file, or pixels (height, width, channels) in 0..255.
            seed: int32 (2,).

        Raises:
            ValueError: for an operation on colours if there is one channel.
        """
        if x.dtype == tf.string:
            return self.finish_image(self.decode_image(x, seed), seed)
        return self._finish(x, seed, list(enumerate(self.image_operations)))

    def decode_image(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The first part of `augment_image` for the bytes of a file, which fails if it is damaged."""
        if self.has_values:
            return call_python(lambda data: decode_values(data, len(self.mean)), [x], tf.float32,
                               "decode_values", {"channels": len(self.mean)}, (None, None, len(self.mean)))
        # what these operations leave of a large image is small
        first = list(enumerate(self.image_operations))[:self._first_count]
        is_small = has_at_most(read_sides(x), get_image_limits().max_small_pixels)
        x = tf.cond(is_small & ~has_16_bits(x) & ~may_be_turned(x),
                    lambda: self._decode(x, seed, first),
                    lambda: call_python(self.decode_large, [x, seed], tf.float32, "decode_large", {
                        "text": self.text, "bits": self.bits, "mean": self.mean}))
        sides = to_sides(first[-1][1].arguments["size"]) if first else (None, None)
        return tf.ensure_shape(x, (*sides, 3))

    def finish_image(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The rest of `augment_image`, for what `decode_image` returns."""
        return self._finish(x, seed, list(enumerate(self.image_operations))[self._first_count:])

    def _finish(self, x: tf.Tensor, seed: tf.Tensor, operations: Operations) -> tf.Tensor:
        x = tf.cast(self._apply(x, seed, operations), tf.float32)
        return tf.ensure_shape(x, (*to_sides(self.size), x.shape[-1])) if self.size else x

    def check_channels(self, channels: int) -> None:
        """Checks that the operations take images of so many channels.

        Raises:
            ArgumentError: for an operation that takes only pixels of colors in 0..255.
        """
        for operation in (*self.image_operations, *self.batch_operations):
            is_ours = operation.name in OPERATIONS      # of others nothing is known
            needs_pixels = is_ours and operation.name not in _TAKES_VALUES
            if needs_pixels and (self.has_values or channels not in (1, 3)) \
                    or operation.name in _NEEDS_COLOUR and channels != 3:
                raise ArgumentError(
                    "augmentation", self.text, f"no {operation.name}, which takes RGB images of 8 bits only, "
                    f"for images of {channels} channels" + (" by value" if self.has_values else ""),
                    hint="these take any channels: " + ", ".join(sorted(_TAKES_VALUES)))

    def _decode(self, data: tf.Tensor, seed: tf.Tensor, operations: Operations) -> tf.Tensor:
        """Decodes a file, and applies the first operations."""
        if operations and operations[0][1].name in _DECODES_JPEG:
            x = tf.cond(tf.io.is_jpeg(data), lambda: self._apply(data, seed, operations[:1]),
                        lambda: self._apply(decode_rgb(data), seed, operations[:1]))
            return tf.cast(self._apply(x, seed, operations[1:]), tf.float32)
        return tf.cast(self._apply(decode_rgb(data), seed, operations), tf.float32)

    @property
    def _first_count(self) -> int:
        """How many operations `decode_image` applies: those until all images have one size."""
        if self.has_values:
            return 0
        names = [operation.name in _FIXES_SIZE for operation in self.image_operations]
        return names.index(True) + 1 if True in names else 0

    def decode_large(self, data: bytes | np.ndarray, seed: np.ndarray) -> np.ndarray:
        """Decodes a file that may be large, and applies the operations that make it small.

        It waits while too many pixels are in flight.

        Pillow decodes GIF and WebP files, which may have many frames, as it reads the first one only; TIFF
        and HEIC files, which TensorFlow does not read; and PNG files of 16 bits, of which it keeps 8.
        """
        operations = list(enumerate(self.image_operations))[:self._first_count]
        data = data if isinstance(data, bytes) else data.item()     # an array if it is not called in a graph
        image = read_header(data)
        with count_in_flight(image.width * image.height), tf.device("CPU"):
            sides = read_sides(tf.constant(data))
            is_allowed = has_at_most(sides, get_image_limits().max_pixels)
            if is_allowed and not has_16_bits(data) and not may_be_turned(data):
                return self._decode(tf.constant(data), tf.constant(seed), operations).numpy()
            pixels = tf.constant(decode_image(data, self.bits))
            return tf.cast(self._apply(pixels, tf.constant(seed), operations), tf.float32).numpy()

    def _apply(self, x: tf.Tensor, seed: tf.Tensor, operations: Operations) -> tf.Tensor:
        """Applies operations to pixels, bytes or float32; what comes out of the first ones is float32."""
        for i, operation in operations:
            if operation.name in _NEEDS_COLOUR and x.shape[-1] != 3:
                raise ValueError(f"{self.text!r}: {operation.name} needs colours, but these images have "
                                 f"{x.shape[-1]} channel")
            x = x if operation.name in _TAKES_BYTES else tf.cast(x, tf.float32)
            x = operation(x, fold_seed(seed, i), mean=self.mean, has_values=self.has_values)
        return x

    def flip_in_turns(self, x: tf.Tensor, indices: tf.Tensor, seed: int, epoch: int) -> tf.Tensor:
        """Applies `alternating_flip`, if there is one, to images that `augment_image` has made.

        Args:
            x: images, (N, height, width, channels).
            indices: the number of each image in its source, (N,).
            seed: the random seed of the training.
            epoch: its number.
        """
        return alternating_flip(x, seed, indices, epoch) if self.alternates_flip else x

    @tf.autograph.experimental.do_not_convert
    def augment_batch(self, x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies one of the batch operations, which are equally likely.

        Args:
            x: images, (N, height, width, channels).
            y: labels, (N, classes).
            seed: int32 (2,).
        """
        if not self.batch_operations:
            return x, y
        which = tf.random.stateless_uniform([], fold_seed(seed, 0), 0, len(self.batch_operations), tf.int32)
        operation_seed = fold_seed(seed, 1)
        return tf.switch_case(which, [lambda op=op: op(x, y, operation_seed) for op in self.batch_operations])


def parse_augmentation(text: str | Augmentation) -> Augmentation:
    """The operations of a string, which are separated by "|" and have literal arguments.

    Raises:
        ValueError: for an unknown operation or argument; the message suggests the nearest name.
        ImportError: if an operation needs keras-cv, which is not installed.

    Example:
        >>> parse_augmentation("inception_crop(224)|flip").size
        224
    """
    if isinstance(text, Augmentation):
        return text
    try:
        nodes = split_at_bars(ast.parse(text.strip(), mode="eval").body) if text.strip() else []
    except SyntaxError as error:
        raise ValueError(f"{text!r}: expected operations separated by |, such as "
                         "'inception_crop(224)|flip'") from error
    operations = [parse_operation(node, text) for node in nodes]
    in_turns = [op for op in operations if op.name == alternating_flip.__name__]
    on_batches = [op for op in operations if op.name in BATCH_OPERATIONS]
    on_images = [op for op in operations if op not in in_turns + on_batches]
    if operations != on_images + in_turns + on_batches:
        first = "alternating_flip must come after the operations on an image; " if in_turns else ""
        raise ValueError(f"{text!r}: {first}{' and '.join(BATCH_OPERATIONS)} work on batches and must come "
                         "last")
    if len(in_turns) > 1:
        raise ValueError(f"{text!r}: expected one alternating_flip, because two do nothing")
    if any(op.name in _NEEDS_KERAS_CV for op in operations):
        randaugment.keras_cv_layers()       # an ImportError now, not while a graph is traced
    return Augmentation(text, tuple(on_images), tuple(on_batches), alternates_flip=bool(in_turns))
