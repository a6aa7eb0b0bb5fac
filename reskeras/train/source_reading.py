"""The images of a source, one by one, as a dataset: in a given order, or as a stream."""
from __future__ import annotations

import numpy as np
import tensorflow as tf

from ..file_reading import read_bytes
from .indexed_images import IndexedImages
from .source import DataSource

_SHUFFLE_BUFFER = 16_384                # records of a stream that are shuffled among each other
_SHUFFLE_BYTES = 2 ** 29                # and how large they may be together, if they are pixels
_UNKNOWN_SIDE = 512                     # of pixels of any size, for this estimate


def read_in_order(source: DataSource, order: np.ndarray) -> tf.data.Dataset:
    """The images of a source that is not a stream.

    Args:
        source: files, pixels in memory, or images that are read by their numbers.
        order: (index in the source, repetition number), int64 (N, 2).

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


def read_file(path: tf.Tensor, is_remote: bool) -> tf.Tensor:
    """The bytes of a file, in a graph of tf.data.

    Args:
        path: a scalar string tensor.
        is_remote: whether the path may be a URL, which TensorFlow does not read.
    """
    if not is_remote:
        return tf.io.read_file(path)
    data = tf.numpy_function(lambda name: read_bytes(name.decode()), [path], tf.string, stateful=False)
    return tf.ensure_shape(data, [])


def _count_shuffled(source: DataSource, batch_size: int) -> int:
    """How many records of a stream are shuffled among each other: fewer if they are pixels, not files."""
    spec = source.pixel_spec
    if spec is None:
        return _SHUFFLE_BUFFER
    size = int(np.prod([side or _UNKNOWN_SIDE for side in spec[0]])) * np.dtype(spec[1]).itemsize
    return min(max(_SHUFFLE_BYTES // size, batch_size), _SHUFFLE_BUFFER)
