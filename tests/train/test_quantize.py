"""fit with quantize="int8": ranges from the training images, two replicas, resuming to the bit."""
import keras
import numpy as np
import pytest

import reskeras
from reskeras.quantization.layers import FakeQuantize
from reskeras.quantization.model import is_quantization_aware

OVERRIDES = {"optimizer": "adam", "learning_rate": 1e-5, "warmup": 0, "weight_decay": 0.0, "batch_size": 512}


def train(**arguments):
    return reskeras.fit("cifar_resnet20.digits", "digits", "digits", quantize="int8", overrides=OVERRIDES,
                        verbose=0, **arguments)


def read_weights(model):
    return [np.asarray(variable) for variable in model.variables]


def test_resumes_to_the_bit(tmp_path):
    expected = read_weights(train(epochs=2, output=tmp_path / "whole", deterministic=True).model)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(epochs=2, output=tmp_path / "cut", deterministic=True, callbacks=[Stop()])
    resumed = reskeras.fit(resume=tmp_path / "cut", verbose=0).model
    assert is_quantization_aware(resumed) and resumed.metadata.labels
    for ours, theirs in zip(read_weights(resumed), expected):
        np.testing.assert_array_equal(ours, theirs)
    steps = [float(layer.steps) for layer in resumed.layers
             if isinstance(layer, FakeQuantize) and layer.ranges == "average"]
    assert steps and set(steps) == {4.0}        # two epochs of two batches


@pytest.mark.slow
def test_two_replicas():
    """The ranges are the mean of the replicas' ranges, and the weights nearly those of one device."""
    import tensorflow as tf
    if len(tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("this process has one device")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one, two = (read_weights(train(epochs=1, strategy=s).model) for s in ("none", strategy))
    for a, b in zip(one, two):
        assert np.abs(a - b).max() <= 0.05 * max(1, np.abs(a).max())
