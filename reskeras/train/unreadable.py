"""The images of a source that cannot be read: counted while an epoch is read, and left out of it."""
from __future__ import annotations

from typing import Iterable

import tensorflow as tf

from .reading_errors import describe_unreadable
from .source import DataSource


class UnreadableImages:
    """Which images of a source cannot be read.

    Args:
        source: the images.
        limit: how many may be unreadable before it is an error.
        excluded: indices of those that are known from the start, which do not count.
    """

    def __init__(self, source: DataSource, limit: int, excluded: Iterable[int] = ()):
        self._source, self._limit, self._excluded = source, limit, set(excluded)
        self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._indices = tf.Variable(tf.zeros([limit + 1], tf.int64), trainable=False)

    @property
    def number(self) -> int:
        """How many were found so far, without those that are excluded."""
        return int(self._count)

    @property
    def indices(self) -> list[int]:
        """The indices of all that were found so far, and of those that are excluded."""
        with tf.init_scope():       # even while a function is traced
            indices = self._indices.numpy()[:int(self._count)]
            return sorted(self._excluded | set(indices.tolist()))

    @property
    def names(self) -> list[str]:
        """The names of the images in `indices`."""
        return [self._source.image_name(index) for index in self.indices]

    def describe(self) -> str:
        """The names of the images in `indices`, and what is wrong with the first ones."""
        return describe_unreadable(self.names)

    @tf.autograph.experimental.do_not_convert
    def record(self, is_readable: tf.Tensor, index: tf.Tensor, *image: tf.Tensor) -> tf.Tensor:
        """Returns `is_readable`.  If False, stores the index; an error if too many images are unreadable."""
        def store() -> tf.Tensor:
            count = self._count.assign_add(1)
            slot = tf.reshape(tf.minimum(count - 1, self._limit), [1, 1])
            indices = self._indices.scatter_nd_update(slot, index[None])
            is_allowed = tf.debugging.Assert(
                count <= self._limit, ["more unreadable images than max_unreadable =", self._limit,
                                       "indices in " + self._source.name, indices],
                summarize=self._limit + 1)
            with tf.control_dependencies([is_allowed]):
                return tf.constant(False)
        return tf.cond(is_readable, lambda: tf.constant(True), store)
