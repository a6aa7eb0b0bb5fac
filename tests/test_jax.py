"""Under KERAS_BACKEND=jax, nets compute, are optimized and train as under TensorFlow.

Run as a script, it writes the nets' weights and outputs, in a process of its own backend.
"""
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import small_training
from tiny import NETS, images, tiny, trained

import reskeras
from reskeras.variants import VARIANTS

ROOT = Path(reskeras.__file__).parents[1]


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
    return run(tmp_path_factory.mktemp("tensorflow") / "nets.npz", __file__, KERAS_BACKEND="tensorflow")


def run(path, script, *arguments, **environment):
    """The arrays that a script writes to a path."""
    done = subprocess.run([sys.executable, script, path, *arguments], text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
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


@pytest.mark.parametrize("variant", ["seresnet18v1", "resnest50"])
def test_is_optimized(variant):
    model = trained(tiny(variant))
    optimized, report = reskeras.optimize(model)
    assert not report.refusal and report.check.max_relative_difference < 1e-12
    assert len(optimized.layers) < len(model.layers) and keras.config.floatx() == "float32"
    assert keras.ops.convert_to_tensor(np.zeros(1, "float64")).dtype == "float32"


def test_training_for_int8(tmp_path):
    """The net is trained here; TensorFlow loads it, and rounds to the same integers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 4, 3)).repeat(4, 1).repeat(4, 2).astype("float32")
    model = reskeras.quantization_aware(reskeras.CifarResNet20(
        weights=None, depths=(1, 1, 1), input_shape=(16, 16, 3), classes=5), x, average_steps=2)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    losses = model.fit(x, np.arange(40) % 5, epochs=4, batch_size=40, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "net.keras")
    np.save(tmp_path / "x.npy", x)
    script = tmp_path / "predict.py"
    script.write_text("import sys, numpy, reskeras\n"
                      "model, x = reskeras.load(sys.argv[2]), numpy.load(sys.argv[3])\n"
                      "numpy.savez(sys.argv[1], scores=model.predict(x, verbose=0))\n")
    expected = run(tmp_path / "scores.npz", script, tmp_path / "net.keras", tmp_path / "x.npy",
                   KERAS_BACKEND="tensorflow")["scores"]
    assert np.median(np.abs(model.predict(x, verbose=0) - expected)) < 1e-6 * expected.max()


def test_needs_no_tensorflow_to_predict(tmp_path):
    script = Path(__file__).with_name("without_tensorflow.py")
    done = subprocess.run([sys.executable, script, tmp_path / "image.png"], text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "works without TensorFlow" in done.stdout, done.stderr[-3000:]


@pytest.fixture(scope="module")
def results():
    return small_training.train_all()


def compare(results, expected, tolerance):
    """Losses, accuracies and weights agree; those of 16 bits within their rounding."""
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        allowed = 0.1 if name.startswith("mixed") else tolerance
        assert np.abs(results[name] - value).max() <= allowed * max(np.abs(value).max(), 0.1), name


def test_training_equals_tensorflow(results, tmp_path):
    expected = run(tmp_path / "run.npz", small_training.__file__, KERAS_BACKEND="tensorflow")
    compare(results, expected, 0.02)


@pytest.mark.parametrize("devices", [2, 8])
def test_training_on_several_devices_equals_one(devices, results, tmp_path):
    arrays = run(tmp_path / "run.npz", small_training.__file__, str(devices), "micro_batches",
                 XLA_FLAGS="--xla_force_host_platform_device_count=8")
    compare(arrays, {name: results[name] for name in arrays}, 0.02)


class Stop(keras.callbacks.Callback):
    """Interrupts a training in its second epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 3 and self.model.optimizer.iterations > 2:
            raise RuntimeError("interrupted")


@pytest.mark.parametrize("case", ["micro_batches", "mixed_float16"])
def test_resumes_to_the_bit(case, results, tmp_path):
    net = small_training.make_net("mixed_float16" if case == "mixed_float16" else "float32")
    options = dict(small_training.CASES[case], output=tmp_path / "run", save_every=1)
    with pytest.raises(RuntimeError, match="interrupted"):
        small_training.train(net, callbacks=[Stop()], **options)
    history = small_training.train(small_training.make_net(net.layers[1].dtype_policy.name),
                                   resume=tmp_path / "run", **small_training.CASES[case])
    for i, weight in enumerate(history.model.get_weights()):
        np.testing.assert_array_equal(weight, results[f"{case}/{i}"])
    assert (tmp_path / "run" / "best.keras").is_file()


def test_says_which_strategies_there_are():
    with pytest.raises(ValueError, match=r"^strategy='mirrored': .*KERAS_BACKEND=jax; .*DataParallel"):
        small_training.train(small_training.make_net(), strategy="mirrored")
