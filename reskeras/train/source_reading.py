"""The images of a source, one by one, as a dataset: in a given order, or as a stream."""
from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError
from ..file_reading import read_bytes
from ..images.python_calls import call_python
from ..remote_paths import to_url
from .augment import Augmentation
from .indexed_images import IndexedImages
from .image_functions import ImageFunctions
from .seeds import fold_seed
from .source import DataSource

_SHUFFLE_BUFFER = 16_384                # records of a stream that are shuffled among each other
_SHUFFLE_BYTES = 2 ** 29                # and how large they may be together, if they are pixels
_UNKNOWN_SIDE = 512                     # of pixels of any size, for this estimate
_COMPARED_LABELS = 64                   # the first ones of a stream, read twice


def check_stream(source: DataSource, augmentation: Augmentation, repeats: int) -> None:
    """Checks that a stream can be trained on with these arguments.

    `alternating_flip` knows an image by its place in the stream.  Labels show whether the order changes;
    pixels may differ each time, as a dataset may augment them itself.

    Args:
        source: the stream.
        augmentation: what is done to its images.
        repeats: how many times each drawn image is used in an epoch.

    Raises:
        ArgumentError: for repeats, and for `alternating_flip` if the first labels come in another order when
            they are read again.
    """
    assert source.stream is not None
    if repeats > 1:
        raise ArgumentError("augmentation_repeats", repeats,
                            f"1, because {source.name} is a stream, and not files or arrays")
    if not augmentation.alternates_flip or source.label_offset is not None:     # TFRecord files: our order
        return
    labels = source.stream().map(lambda _, label, *weight: label).take(_COMPARED_LABELS)
    first, second = (list(labels.as_numpy_iterator()) for _ in range(2))
    if not np.array_equal(first, second):
        raise ArgumentError(
            "augmentation", augmentation.text, f"no alternating_flip, because {source.name} gives its images "
            "in another order each time, so that none is known again in the next epoch",
            hint="use flip instead, or leave out .shuffle(), because the training shuffles the images itself")


def read_in_order(source: DataSource, order: Any) -> tf.data.Dataset:
    """The images of a source that is not a stream.

    Args:
        source: files, pixels in memory, or images that are read by their numbers.
        order: (index in the source, repetition number), int64 (N, 2), an array or a tensor.

    Returns:
        A dataset of (index, repetition, bytes or pixels, (label,) or (label, weight)).  Of files it has the
        paths; `read_file` reads them.
    """
    images = source.images if isinstance(source.images, IndexedImages) else tf.constant(source.images)
    targets = [tf.constant(part) for part in (source.labels, source.weights) if part is not None]

    def read(index: tf.Tensor) -> tf.Tensor:
        return images.gather(index) if isinstance(images, IndexedImages) else tf.gather(images, index)
    return tf.data.Dataset.from_tensor_slices(order).map(
        lambda row: (row[0], row[1], read(row[0]), tuple(tf.gather(part, row[0]) for part in targets)))


def read_stream(source: DataSource, worker: int, workers: int, seed: int | None,
                batch_size: int) -> tf.data.Dataset:
    """A worker's part of the images of a stream.

    Args:
        source: the stream.
        worker: the number of the worker, from 0 on.
        workers: how many there are.
        seed: the random seed of the order; None does not shuffle.
        batch_size: at least so many images are shuffled among each other.

    Returns:
        A dataset of (index, 0, bytes or pixels, (label,) or (label, weight)).
    """
    assert source.stream is not None
    data = source.stream().enumerate().shard(workers, worker)
    if seed is not None:
        data = data.shuffle(_count_shuffled(source, batch_size), seed=seed)
    return data.map(lambda index, example: (index, tf.zeros([], tf.int64), example[0], example[1:]))


def process_images(source: DataSource, data: tf.data.Dataset, functions: ImageFunctions, seed: tf.Tensor,
                   parallel: int, deterministic: bool = True) -> tf.data.Dataset:
    """Applies functions to what was read; an image that cannot be read is blank.

    Args:
        source: what `data` was read from.
        data: as of `read_in_order` and `read_stream`.
        functions: what is done to an image.
        seed: the random seed of the epoch.
        parallel: images at once.
        deterministic: whether they come in the order of `data`; otherwise as they get ready.

    Returns:
        A dataset of (whether it could be read, index, pixels, (label,) or (label, weight)).
    """
    has_files = source.has_files
    is_remote = has_files and any(map(to_url, source.images[:1]))

    def make_seed(index: tf.Tensor, repetition: tf.Tensor) -> tf.Tensor:
        return fold_seed(fold_seed(seed, index), repetition)

    @tf.autograph.experimental.do_not_convert
    def process(index: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor,
                target: tuple[tf.Tensor, ...]) -> tuple[Any, ...]:
        return tf.constant(True), index, functions.process(x, make_seed(index, repetition)), target
    if data.element_spec[2].dtype != tf.string:     # pixels, which can always be read
        return data.map(process, parallel, deterministic=deterministic)

    @tf.autograph.experimental.do_not_convert
    def read(index: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor,
             target: tuple[tf.Tensor, ...]) -> tuple[Any, ...]:
        x = read_file(x, is_remote) if has_files else x
        return tf.constant(True), index, repetition, functions.read(x, make_seed(index, repetition)), target
    pixels = functions.read.get_concrete_function(
        tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)).structured_outputs
    no_pixels = tf.zeros([side or 1 for side in pixels.shape], pixels.dtype)

    @tf.autograph.experimental.do_not_convert
    def read_or_blank(index: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor,
                      target: tuple[tf.Tensor, ...]) -> tf.data.Dataset:
        """One element: the image, or a blank image with the mark False if it cannot be read."""
        example = tf.data.Dataset.from_tensors((index, repetition, x, target))
        single_image = example.map(read).ignore_errors()
        blank = tf.constant(False), index, repetition, no_pixels, target
        return single_image.concatenate(tf.data.Dataset.from_tensors(blank)).take(1)

    @tf.autograph.experimental.do_not_convert
    def finish(is_readable: tf.Tensor, index: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor,
               target: tuple[tf.Tensor, ...]) -> tuple[Any, ...]:
        x = functions.finish(x, make_seed(index, repetition)) if functions.finish else x
        return is_readable, index, x, target
    # the data set of a single image takes the more time the more is done in it
    data = data.interleave(read_or_blank, cycle_length=16, num_parallel_calls=parallel,
                           deterministic=deterministic)
    return data.map(finish, parallel if functions.finish else None,
                    deterministic=deterministic if functions.finish else None)


def make_paths_absolute(source: DataSource) -> DataSource:
    """The same images, with paths for processes that run in other folders."""
    if not source.has_files or any(map(to_url, source.images[:1])):
        return source
    return replace(source, images=list(map(os.path.abspath, source.images)))


def read_file(path: tf.Tensor, is_remote: bool) -> tf.Tensor:
    """The bytes of a file, in a graph of tf.data.

    Args:
        path: a scalar string tensor.
        is_remote: whether the path may be a URL, which TensorFlow does not read.
    """
    if not is_remote:
        return tf.io.read_file(path)
    data = call_python(lambda name: read_bytes(name.decode()), [path], tf.string, "read_bytes", {}, [], False)
    return tf.ensure_shape(data, [])


def _count_shuffled(source: DataSource, batch_size: int) -> int:
    """How many records of a stream are shuffled among each other: fewer if they are pixels, not files."""
    spec = source.pixel_spec
    if spec is None:
        return _SHUFFLE_BUFFER
    size = int(np.prod([side or _UNKNOWN_SIDE for side in spec[0]])) * np.dtype(spec[1]).itemsize
    return min(max(_SHUFFLE_BYTES // size, batch_size), _SHUFFLE_BUFFER)
