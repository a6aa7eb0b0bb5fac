"""Under KERAS_BACKEND=jax, a net of every family computes what it computes under TensorFlow.

Run as a script, it writes the nets' weights and outputs, in a process of its own backend.
"""
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import images, tiny, trained

import reskeras
from reskeras.variants import VARIANTS

ROOT = Path(reskeras.__file__).parents[1]
NETS = {
    "plainnet18": {}, "resnet50": dict(output_stride=8), "resnetaa50d": {}, "resnetblur50": {},
    "resnet50v2": {},
    "resnetv2_50": {}, "resnetv2_50x1_bit": {}, "wide_resnet50_2": {}, "resnext50_32x4d": {},
    "seresnet18v1": {},
    "ecaresnet50t": {}, "skresnet18": {}, "resnest50": {}, "resnest50_fast_4s2x40d": {}, "resnetrs50": {},
    "inception_v4": {}, "cifar_resnet20": dict(drop_path_rate=0.2),
    "cifar_preresnet20": dict(shortcut="exclusive_gate"), "mlperf_tiny_resnet8": {},
}


def net(variant):
    return trained(tiny(variant, classifier_activation=None, **NETS[variant]))


def write(path):
    """Weights in the order of the model, and the logits of its images."""
    arrays = {}
    for variant in NETS:
        model = net(variant)
        arrays[f"{variant}/logits"] = keras.ops.convert_to_numpy(model(images(model)))
        arrays |= {f"{variant}/{i}": w for i, w in enumerate(model.get_weights())}
    np.savez(path, **arrays)


if __name__ == "__main__":
    write(sys.argv[1])
    sys.exit()

if keras.config.backend() != "jax":
    pytest.skip("for KERAS_BACKEND=jax", allow_module_level=True)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("tensorflow") / "nets.npz"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, __file__, path], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(path) as arrays:
        return dict(arrays)


def test_a_net_of_every_family():
    assert {VARIANTS[variant].family for variant in NETS} == {variant.family for variant in VARIANTS.values()}


@pytest.mark.parametrize("variant", NETS)
def test_equals_tensorflow(variant, stored):
    model = net(variant)
    model.set_weights([stored[f"{variant}/{i}"] for i in range(len(model.weights))])
    expected = stored[f"{variant}/logits"]
    got = model.predict_on_batch(images(model))
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("variant, fields", [
    ("resnext50_32x4d", dict(drop_path_rate=0.3, drop_block_rate=0.2)), ("resnest50", {}),
    ("resnetv2_50x1_bit", {})], ids=str)
def test_trains(variant, fields):
    model = tiny(variant, **fields)
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [np.array(v) for v in model.trainable_variables]
    assert np.isfinite(model.train_on_batch(images(model), np.arange(2)))
    changed = [not np.array_equal(b, v) for b, v in zip(before, model.trainable_variables)]
    assert np.mean(changed) > 0.7      # a dropped branch does not move


def test_saves(tmp_path):
    model = trained(tiny("skresnext50_32x4d", drop_path_rate=0.1))
    model.save(tmp_path / "net.keras")
    x = images(model)
    np.testing.assert_array_equal(reskeras.load(tmp_path / "net.keras").predict_on_batch(x),
                                  model.predict_on_batch(x))
