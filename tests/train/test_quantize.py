"""fit with quantize="int8": ranges from the training images, two replicas, resuming to the bit."""
import keras
import numpy as np
import pytest
from two_devices import run_on_two_devices

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


CHILD = """
from reskeras.quantization.layers import FakeQuantize
for name, options in {"one": {}, "two": dict(strategy=mirrored),
                      "xla": dict(jit_compile=True)}.items():
    net = reskeras.fit("cifar_resnet20.digits", "digits", "digits", quantize="int8", epochs=1, verbose=0,
                       optimizer="sgd", learning_rate=1e-3, warmup=0, weight_decay=0.0, batch_size=512,
                       augmentation="", **options).model
    ranges = [layer for layer in net.layers if isinstance(layer, FakeQuantize) and layer.ranges == "average"]
    found[name + "/steps"] = np.array([np.asarray(layer.steps) for layer in ranges])
    found[name + "/high"] = np.concatenate([np.asarray(layer.maximum) for layer in ranges])
    found[name + "/weights"] = np.concatenate([np.ravel(w) for w in net.trainable_variables])
pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 1), "uint8")
start = reskeras.quantization_aware(reskeras.create("cifar_resnet20.digits"), pixels)
found["start"] = np.concatenate([np.ravel(w) for w in start.trainable_variables])
"""


@pytest.mark.slow
def test_two_replicas_and_xla(tmp_path):
    """Nearly the weights and ranges of one device; a range is the mean of the replicas' ranges."""
    found = run_on_two_devices(CHILD, tmp_path)
    moved = np.abs(found["one/weights"] - found["start"]).max()
    for name, tolerance in (("two", 0.01), ("xla", 0.001)):
        assert set(found[f"{name}/steps"]) == set(found["one/steps"]) == {2.0}
        np.testing.assert_allclose(found[f"{name}/high"], found["one/high"], rtol=tolerance)
        assert np.abs(found[f"{name}/weights"] - found["one/weights"]).max() < 0.3 * moved
