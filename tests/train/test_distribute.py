"""Several devices and several processes train, evaluate and predict as one, whatever each has of a batch."""
import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras.train import strategy
from reskeras.train.strategy import (
    choose_strategy, describe_strategy, distributable, find_worker, distribute_batches)

SCRIPT = pathlib.Path(__file__).parent / "on_devices.py"
ROOT = pathlib.Path(__file__).parents[2]


def start(output, cases, cluster=(), index=0):
    """A process of `on_devices.py`."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env.pop("TF_CONFIG", None)
    if cluster:
        env["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": list(cluster)}, "task": {"type": "worker", "index": index}})
    return subprocess.Popen([sys.executable, SCRIPT, str(output), *cases], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def results(process, output):
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said[-3000:]
    return dict(np.load(output))


def cluster(number):
    """Free ports of this machine, as addresses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def workers(folder, cases, number=2):
    """Each worker's results, from processes that run together."""
    addresses, outputs = cluster(number), [folder / f"worker{i}.npz" for i in range(number)]
    processes = [start(output, cases, addresses, i) for i, output in enumerate(outputs)]
    return [results(process, output) for process, output in zip(processes, outputs)]


def check_same(
    found, case, reference, tolerance=1e-5, needed=("weights", "loss", "val_loss", "evaluate", "predict")):
    """Weights, what fit reported, evaluate and predict, relative to their own size or to 1."""
    names = [name.partition("/")[2] for name in reference if name.startswith(f"{case.partition('@')[0]}@1/")]
    assert set(needed) <= set(names)
    for name in names:
        one, many = reference[f"{case.partition('@')[0]}@1/{name}"], found[f"{case}/{name}"]
        assert np.isfinite(one).all()
        assert np.abs(one - many).max() <= tolerance * max(1, np.abs(one).max()), (case, name)
    assert found[f"{case}/moved"] > 0.05


def check_plain(found, case):
    """That it is as "plain", whole batches on one device."""
    renamed = {
        f"{case.partition('@')[0]}@1/{k.partition('/')[2]}": v
        for k, v in found.items()
        if k.startswith("plain@1/")}
    check_same(found, case, renamed)


def check_overflow(found, case):
    """That all leave the step out, and the scale halves; and that the next step is one."""
    assert found[f"{case}/scale"] == 2.0 ** 39 and found[f"{case}/unmoved"] == 0
    assert found[f"{case}/kept"] == 2.0 ** 8 and found[f"{case}/moved"] > 0.01


def test_replicas_train_as_one_device(tmp_path):
    """2 replicas of 22 samples in batches of 10, 10 and 2; in float32, see test_distributed_model.py."""
    output = tmp_path / "found.npz"
    cases = [
        "plain@1", "jit@2", "float16@1", "float16@2", "bfloat16@1", "bfloat16@2", "overflow_second@2",
        "drawn@2", "fit@1", "fit@2"]
    found = results(start(output, cases), output)
    check_plain(found, "jit@2")
    check_same(found, "float16@2", found, 1e-2)
    check_same(found, "bfloat16@2", found, 1e-2)
    check_overflow(found, "overflow_second@2")

    # `reskeras.fit` itself, stopped and gone on with: weights, losses and metrics of training and validation
    names = [name.partition("/")[2] for name in found if name.startswith("fit@1/")]
    assert {"weights", "loss", "accuracy", "val_loss", "val_accuracy"} <= set(names) and len(
        found["fit@1/val_loss"]) == 2
    for name in set(names) - {"images_per_s", "waiting"}:
        np.testing.assert_allclose(
            found[f"fit@2/{name}"], found[f"fit@1/{name}"], rtol=1e-5, atol=1e-5, err_msg=name)

    # dropout: one replica's draws are not the other's, nor the next step's; the seeds stay the same on both
    first, second = found["drawn@2/kept"].round()
    assert {*first} == {*second} == {0, 1, 2} and (first != second).any()
    np.testing.assert_array_equal(found["drawn@2/seeds"], [[7, 2]] * 2)


@pytest.mark.slow
def test_controls_of_a_training_work_as_on_one_device(tmp_path):
    """Layer decay, clipping, early stopping with its best weights, stopped amid an epoch and gone on with on
    two replicas; an optimizer and a schedule of Keras.
    """
    output = tmp_path / "found.npz"
    found = results(start(output, ["controls@1", "controls@2", "objects@1", "objects@2"]), output)
    for case in ("controls", "objects"):
        for name in ("weights", "loss", "val_loss", "learning_rate"):
            np.testing.assert_allclose(found[f"{case}@2/{name}"], found[f"{case}@1/{name}"], rtol=1e-4,
                                       atol=1e-5, err_msg=f"{case} {name}")
    assert len(found["objects@1/loss"]) == 2 and 2 <= len(found["controls@1/loss"]) < 5


@pytest.mark.slow
def test_more_replicas_train_as_one_device(tmp_path):
    """3 replicas have 4 + 3 + 3 of a batch, and of the last one 1 + 1 + none."""
    output = tmp_path / "found.npz"
    found = results(start(output, ["float32@1", "float32@3", "averaged@1", "averaged@2"]), output)
    check_same(found, "float32@3", found)
    check_same(found, "averaged@2", found)


@pytest.mark.slow
def test_the_optimizer_works_as_on_one_device(tmp_path):
    output = tmp_path / "found.npz"
    cases = [
        "plain@1", "accumulated@1", "accumulated@2", "jit@1", "synchronized@1", "synchronized@3",
        "by_keras@3", "unsynchronized@1", "unsynchronized@3", "overflow_first@1", "overflow_first@2",
        "overflow_second@1", "overflow_second@2", "decayed@2"]
    found = results(start(output, cases), output)

    # XLA, and gradients accumulated over two half batches: weights as of whole batches
    check_plain(found, "jit@1")
    for case in ("accumulated@1", "accumulated@2"):
        np.testing.assert_allclose(found[f"{case}/weights"], found["plain@1/weights"], atol=1e-5)
    check_same(found, "accumulated@2", found)

    # running statistics, of 4, 3 and 3 samples: the same everywhere; without synchronization the mean still
    # is one device's
    for norm, names in {
        "synchronized": ["moving_mean", "moving_variance"], "unsynchronized": ["moving_mean"]}.items():
        for name in names:
            one, three = found[f"{norm}@1/{name}"], found[f"{norm}@3/{name}"]
            # it began at 0
            assert len(three) == 3 and not np.ptp(three, axis=0).any() and np.abs(one).max() > 1e-3
            np.testing.assert_allclose(three[:1], one, atol=1e-6)
    assert not np.ptp(found["unsynchronized@3/moving_variance"], axis=0).any()
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(found[f"synchronized@3/{name}"], found[f"by_keras@3/{name}"], atol=1e-6)

    # an overflow of one replica, whichever
    for case in ("overflow_first", "overflow_second"):
        for devices in (1, 2):
            check_overflow(found, f"{case}@{devices}")
        np.testing.assert_allclose(
            found[f"{case}@2/weights"], found[f"{case}@1/weights"], rtol=1e-2, atol=1e-4)

    # weight decay 0.5 at learning rate 0.1
    decayed = {
        name.partition("/")[2]: value for name, value in found.items() if name.startswith("decayed@2/")}
    assert len(decayed) == 6
    for name, factor in decayed.items():
        np.testing.assert_allclose(factor, 0.95 if name.startswith("kernel") else 1, rtol=1e-6)


def test_workers_train_as_one_process_and_resume_where_one_was_lost(tmp_path):
    """Two processes, with a last batch of which the second has nothing in validation; the second one dies in
    the second epoch, which ends the first; both go on from the checkpoint of the first epoch to the weights,
    losses and metrics of one process.
    """
    addresses, outputs = cluster(2), [tmp_path / "worker0.npz", tmp_path / "worker1.npz"]
    processes = [start(output, cases, addresses, i) for i, (output, cases) in enumerate(
        zip(outputs, (["float32@1", "lost@2"], ["lost@2"])))]
    found = results(processes[0], outputs[0])
    processes[1].communicate(timeout=60)
    assert processes[1].returncode == 9
    assert "another worker was lost" in str(found["lost@2/error"]) and "checkpoint" in str(
        found["lost@2/error"])
    assert "task:1" in str(found["lost@2/error"])       # which one
    assert found["lost@2/seconds"] < 90
    assert (tmp_path / "first.weights.h5").exists()
    history = ("loss", "accuracy", "val_loss", "val_accuracy")
    for name in history:
        np.testing.assert_allclose(
            found[f"lost@2/{name}"], found[f"float32@1/{name}"][:1], rtol=1e-5, atol=1e-5, err_msg=name)
    both = workers(tmp_path, ["lost@2"])
    assert min(one["lost@2/left"] for one in both) > max(one["lost@2/arrived"] for one in both)
    for resumed in both:
        for name in history:
            np.testing.assert_allclose(
                resumed[f"lost@2/{name}"], found[f"float32@1/{name}"][1:], rtol=1e-5, atol=1e-5, err_msg=name)
        for name in ("weights", "evaluate", "predict"):
            np.testing.assert_allclose(
                resumed[f"lost@2/{name}"], found[f"float32@1/{name}"], rtol=1e-5, atol=1e-5, err_msg=name)
        assert resumed["lost@2/union"].tolist() == [1]      # of no number and one


@pytest.mark.slow
def test_workers_train_as_one_process_in_mixed_precision_and_with_xla(tmp_path):
    cases = ["float32", "float16", "jit"]
    reference = results(start(tmp_path / "one.npz", [f"{case}@1" for case in cases]), tmp_path / "one.npz")
    for found in workers(tmp_path, [f"{case}@2" for case in cases]):
        check_same(found, "float32@2", reference)
        check_same(found, "float16@2", reference, 1e-2)
        check_same(found, "jit@2", reference)


# In this process, on one device


@pytest.fixture
def model():
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))


def test_shares_variables_and_leaves_the_model(model):
    same = distributable(model)
    assert all(mine is its for mine, its in zip(same.weights, model.weights)) and len(same.weights) == len(
        model.weights)
    assert distributable(same) is same and not model.compiled
    x = np.ones((3, 4, 4, 1), "float32")
    np.testing.assert_array_equal(same.predict(x, verbose=0), model.predict(x, verbose=0))
    same.compile("sgd", "mse")
    assert not same.jit_compile
    assert same.train_on_batch(x, np.ones((3, 2))) > same.test_on_batch(x, np.ones((3, 2)))
    np.testing.assert_array_equal(same.predict_on_batch(x), model.predict_on_batch(x))


def test_trains_as_keras_does_on_one_device(model):
    x, y = np.random.default_rng(0).normal(size=(10, 4, 4, 1)), np.ones((10, 2))
    weight = np.arange(10.0)
    same, other = distributable(model), keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    for one in (same, other):
        one.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"], weighted_metrics=["mae"])
        one.history = one.fit(x, y, sample_weight=weight, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for name, values in other.history.history.items():
        np.testing.assert_allclose(same.history.history[name], values, rtol=1e-5)
    np.testing.assert_allclose(np.ravel(model.get_weights()[0]), np.ravel(other.get_weights()[0]), atol=1e-6)


def test_names_of_strategies(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert choose_strategy("none") is choose_strategy(None) is choose_strategy("auto") is None
    own = tf.distribute.OneDeviceStrategy("CPU:0")
    assert choose_strategy(own) is own
    assert isinstance(choose_strategy("mirrored"), tf.distribute.MirroredStrategy)
    with pytest.raises(ValueError, match="expected one of auto, none, mirrored, .*; did you mean 'mirrored'"):
        choose_strategy("miror")
    with pytest.raises(ValueError, match="expected workers in .* TF_CONFIG, for example {\"cluster\""):
        choose_strategy("multi_worker")
    with pytest.raises(RuntimeError, match="no TPU can be reached.*choose 'auto'"):
        choose_strategy("tpu")
    monkeypatch.setenv("TF_CONFIG", "worker=host0")
    with pytest.raises(ValueError, match="TF_CONFIG='worker=host0': expected for example"):
        choose_strategy("auto")


def test_auto_reads_tf_config(monkeypatch):
    monkeypatch.setattr(strategy, "_make_multi_worker", lambda timeout: "many")
    monkeypatch.setenv(
        "TF_CONFIG",
        json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}))
    assert choose_strategy("auto") == "many"
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}))
    assert choose_strategy("auto") is None


def test_says_what_runs(model):
    assert describe_strategy(None, model) == {
        "policy": "float32", "strategy": "none", "replicas": 1, "workers": 1, "xla": "off",
        "devices": [tf.config.list_logical_devices()[0].name.rpartition("device:")[2]]}
    same = distributable(model)
    same.compile("sgd", "mse", jit_compile=True)
    assert describe_strategy(None, same)["xla"] == "per replica" and find_worker(None) == (0, 1)


def test_refuses_what_would_not_be_active(model):
    same = distributable(model)
    with pytest.raises(ValueError, match="jit_compile=True: expected False with run_eagerly"):
        same.compile("sgd", "mse", jit_compile=True, run_eagerly=True)
    model.layers[-1].supports_jit = False
    with pytest.raises(ValueError, match=f"XLA cannot compile {model.layers[-1].name}"):
        same.compile("sgd", "mse", jit_compile=True)


@pytest.fixture
def two():
    """A strategy of two replicas, as far as its checks look."""
    class Two:
        num_replicas_in_sync = 2
    return Two()


def test_refuses_on_many_replicas(two):
    from reskeras.train import distribution_errors
    with pytest.raises(ValueError, match="reduction='sum': expected 'sum_over_batch_size'"):
        distribution_errors.check_loss(keras.losses.MeanSquaredError(reduction="sum"), two)
    with pytest.raises(ValueError, match="made outside of the model's strategy"):
        distribution_errors.check_optimizer(keras.optimizers.SGD(), two)
    with pytest.raises(ValueError, match="batch_size=9: expected a multiple of the 2 replicas"):
        distribute_batches(two, None, 9)
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.BatchNormalization(synchronized=True, name="bn1")(image))
    monkey = type("Many", (), {"layers": model.layers, "distribute_strategy": two})()
    with pytest.raises(ValueError, match="bn1 needs the samples of the others.*'group' as the net's `norm`"):
        distribution_errors.check_compilable(monkey, False)


def test_refuses_the_scope(model):
    strategy = choose_strategy("mirrored")
    with strategy.scope():
        same = distributable(keras.models.clone_model(model))
        same.compile("sgd", "mse")
        with pytest.raises(RuntimeError, match=r"outside of strategy.scope\(\)"):
            same.fit(np.ones((3, 4, 4, 1)), np.ones((3, 2)), verbose=0)


def test_a_training_waits_for_the_other_workers_at_its_end(monkeypatch):
    arrived = []
    monkeypatch.setattr(strategy, "wait_for_other_workers", arrived.append)
    images = np.zeros((4, 8, 8, 3), "uint8"), np.arange(4) % 2
    reskeras.fit("cifar_resnet20", images, "cifar_he", size=8, augmentation="flip", batch_size=4, epochs=1,
                 warmup=0, schedule="constant", verbose=0,
                 model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
    assert len(arrived) == 1
