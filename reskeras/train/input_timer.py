"""How long a training waits for its input."""
from __future__ import annotations

import time
from typing import Any

import tensorflow as tf


class InputTimer:
    """Measures how long the training steps wait for their batches.

    It writes down when each batch leaves the input pipeline; a batch that leaves it after the step began was
    waited for.  So it measures the same whether the step pulls the batch or something has fetched it ahead.
    If the host runs ahead of the device, it measures the waiting of the host.

    Args:
        capacity: batches that may be between pipeline and step.
    """

    def __init__(self, capacity: int = 1024):
        with tf.device("CPU"):
            self._times = tf.Variable(tf.zeros([capacity], tf.float64), trainable=False)
        self._capacity = capacity
        self.begin_epoch()

    def begin_epoch(self, skip_first_step: bool = False) -> None:
        """Starts to measure an epoch.

        Args:
            skip_first_step: whether to start with the second step, because the first one compiles.
        """
        self._skip_first_step = skip_first_step
        self._start, self._waited, self._images, self._step = time.time(), 0.0, 0, 0

    def record_times(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """Passes the batches on and records their times; nothing may be prefetched after it."""
        def record(i: tf.Tensor, batch: Any) -> Any:
            # tf.timestamp is forbidden if operations are deterministic
            now = tf.ensure_shape(tf.numpy_function(time.time, [], tf.float64), [])
            written = self._times.scatter_nd_update([[i % self._capacity]], [now])
            with tf.control_dependencies([written]):
                return tf.nest.map_structure(tf.identity, batch)
        return data.enumerate().map(tf.autograph.experimental.do_not_convert(record))

    def begin_step(self) -> None:
        """Call it when a training step begins."""
        self._step_start = time.time()

    def end_step(self, images: int) -> None:
        """Call it when a training step has ended.

        Args:
            images: images in its batch.
        """
        self._waited += max(0.0, float(self._times[self._step % self._capacity]) - self._step_start)
        self._step, self._images = self._step + 1, self._images + images
        if self._skip_first_step:
            step = self._step
            self.begin_epoch()
            self._step = step

    def results(self) -> dict[str, float]:
        """Returns "images_per_s" and "waiting" (fraction of the time spent waiting) since the epoch began."""
        seconds = max(time.time() - self._start, 1e-9)
        return {"images_per_s": self._images / seconds, "waiting": min(self._waited / seconds, 1.0)}
