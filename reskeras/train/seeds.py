"""Random numbers that depend on a seed alone, so that each image is augmented in the same way in each run."""
from __future__ import annotations

from typing import Any

import tensorflow as tf


def fold_seed(seed: tf.Tensor, number: Any) -> tf.Tensor:
    """Makes a new seed of `seed` and a number."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def draw_whole_numbers(uniform: tf.Tensor, count: Any) -> tf.Tensor:
    """Turns numbers of 0 to 1, without 1, into whole numbers (int32) of 0 to `count` - 1."""
    return tf.cast(uniform * tf.cast(count, tf.float32), tf.int32)


def draw_log_uniform(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Turns numbers of 0 to 1 into numbers of `low` to `high` whose logarithms are uniform."""
    return tf.exp(tf.math.log(low) + (tf.math.log(high) - tf.math.log(low)) * uniform)
