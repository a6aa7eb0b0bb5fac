"""How long a training waits for its input."""
from __future__ import annotations

import time
from typing import Any

import tensorflow as tf


class Clock:
    """Stamps each batch as it comes out of the pipeline: what comes after the step has begun was waited for.

    By that it counts the same whether the step pulls the batch or something has fetched it ahead.  Where the host runs ahead of
    the device it counts the host's waiting.
    """

    def __init__(self, room: int = 1024):
        with tf.device("CPU"):
            self.stamps = tf.Variable(tf.zeros([room], tf.float64), trainable=False)
        self.room = room
        self.begin()

    def begin(self, cold: bool = False) -> None:
        """A new epoch; a `cold` one begins with its second batch, since the first one compiles."""
        self.cold = cold
        self.start, self.waited, self.images, self.step = time.time(), 0.0, 0, 0

    def stamped(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches; nothing may be prefetched behind it."""
        def stamp(i: tf.Tensor, batch: Any) -> Any:
            # tf.timestamp is forbidden where operations are deterministic
            now = tf.ensure_shape(tf.numpy_function(time.time, [], tf.float64), [])
            written = self.stamps.scatter_nd_update([[i % self.room]], [now])
            with tf.control_dependencies([written]):
                return tf.nest.map_structure(tf.identity, batch)
        return data.enumerate().map(tf.autograph.experimental.do_not_convert(stamp))

    def step_begins(self) -> None:
        self.now = time.time()

    def step_ends(self, images: int) -> None:
        self.waited += max(0.0, float(self.stamps[self.step % self.room]) - self.now)
        self.step, self.images = self.step + 1, self.images + images
        if self.cold:
            step = self.step
            self.begin()
            self.step = step

    @property
    def found(self) -> dict[str, float]:
        """Images per second and the share of the time that was spent waiting, since the epoch began."""
        seconds = max(time.time() - self.start, 1e-9)
        return {"images_per_s": self.images / seconds, "waiting": min(self.waited / seconds, 1.0)}
