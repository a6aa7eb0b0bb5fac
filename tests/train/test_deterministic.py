"""Trainings with `deterministic=True`, which applies to the rest of the process."""
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import stateful_random_ops

import reskeras
from reskeras.train import randaugment


def test_operations_of_keras_cv(monkeypatch):
    """Its layers ask for TensorFlow's global generator, which does not come by itself then."""
    pytest.importorskip("keras_cv")
    monkeypatch.setattr(stateful_random_ops, "global_generator", None)
    randaugment.keras_cv_layers.cache_clear()
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), "uint8")

    def train():
        return reskeras.fit(
            "cifar_resnet20", (images, np.arange(12) % 3), "cifar_he", strategy="none", verbose=0, seed=1,
            overrides=dict(size=8, augmentation="randaugment(1, 9, 0.5)", batch_size=6, epochs=1),
            model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), deterministic=True).model
    first = train()
    state = tf.random.get_global_generator().state.numpy()
    for own, other in zip(first.get_weights(), train().get_weights()):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(state, tf.random.get_global_generator().state)      # nothing was drawn
