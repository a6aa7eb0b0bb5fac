"""What is done to each image, in two parts: the first fails for a damaged file, the second cannot fail."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import tensorflow as tf

from .augment import Augmentation


@dataclass(frozen=True)
class ImageFunctions:
    """Functions of an image and its random seed, traced when they are first called.

    Attributes:
        process: from the bytes of a file, or from pixels, to an image as the net takes it.
        read: the first part of `process` for the bytes of a file; it returns pixels of one size.
        finish: the second part; None if `read` is all.
    """

    process: tf.types.experimental.GenericFunction
    read: tf.types.experimental.GenericFunction
    finish: tf.types.experimental.GenericFunction | None = None


def trace_image_functions(augmentation: Augmentation | None,
                          prepare: Callable[[tf.Tensor], tf.Tensor] | None) -> ImageFunctions:
    """The functions of an augmentation, or of `prepare` for evaluation."""
    def trace(function: Callable[[Any, Any], Any]) -> tf.types.experimental.GenericFunction:
        return tf.function(tf.autograph.experimental.do_not_convert(function))
    if augmentation is not None and augmentation.has_two_parts:
        return ImageFunctions(trace(augmentation.augment_image), trace(augmentation.decode_image),
                              trace(augmentation.finish_image))
    if augmentation is not None:
        process = trace(augmentation.augment_image)
    else:
        assert prepare is not None
        process = trace(lambda x, seed: prepare(x))
    return ImageFunctions(process, process)
