"""Random layers on several replicas: from the same seed each replica draws its own numbers."""
from __future__ import annotations

from typing import Any

import tensorflow as tf

SEED_NAME = "seed_generator_state"      # Keras' name of the state that dropout draws from
_KEY_FACTOR = 0x9E3779B9                # an odd number whose multiples are far from seeds such as 1, 2, 3


def make_replica_key(context: tf.distribute.ReplicaContext) -> Any:
    """The key of a replica for `mix_key`; the key of the first replica is 0."""
    return tf.cast(context.replica_id_in_sync_group, tf.int64) * _KEY_FACTOR


def mix_key(seed: Any, key: Any) -> Any:
    """Combines a seed of shape (2,) with a key.

    Two calls with the same key give the first seed back.  Key 0 (first replica) changes nothing.
    """
    return tf.bitwise.bitwise_xor(seed, tf.cast(tf.stack([key, tf.zeros_like(key)]), seed.dtype))
