"""Keras' optimizers and schedules in a field's place, and clipping: the weights are those of plain Keras.

Each epoch is one update with all images, so that their order does not matter; in float64.
"""
import json

import keras
import numpy as np
import pytest
import small_training
import tensorflow as tf

import reskeras
from reskeras import cli
from reskeras.errors import ArgumentError
from reskeras.train.checkpoint import load_checkpoint
from reskeras.train.metrics import make_metrics
from reskeras.train.optimizers import make_optimizer
from reskeras.train.schedule import make_schedule
from reskeras.train.task import Task

IMAGES, LABELS = small_training.make_images(32)
LABELS = LABELS % 4
UPDATES = 5


def make_net():
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 1), dtype="float64")
    x = keras.layers.Dense(8, "tanh", dtype="float64")(keras.layers.Flatten(dtype="float64")(image))
    net = keras.Model(image, keras.layers.Dense(4, "softmax", dtype="float64", name="predictions")(x))
    return reskeras.set_metadata(net, preprocessing="cifar_resnet20.digits")


def fit(net, **options):
    return reskeras.fit(net, (IMAGES, LABELS), "digits", **{**dict(
        augmentation="", size=16, warmup=0, epochs=UPDATES, batch_size=32, label_smoothing=0, verbose=0,
        learning_rate_scaling="none", weight_decay=0, schedule="constant"), **options})


def train_plainly(optimizer):
    """The weights after each update of plain Keras."""
    net, states = make_net(), []
    pixels = reskeras.get_metadata(net).preprocessing.normalize(tf.cast(IMAGES, "float64"))
    net.compile(optimizer, keras.losses.CategoricalCrossentropy(dtype="float64"))
    for _ in range(UPDATES):
        net.fit(pixels, keras.utils.to_categorical(LABELS, 4), batch_size=32, verbose=0)
        states.append(net.get_weights())
    return states


def cosine():
    return keras.optimizers.schedules.CosineDecay(0.1, UPDATES, warmup_steps=2, warmup_target=0.2)


SGD = keras.optimizers.SGD
CASES = {
    "optimizer": (dict(optimizer=keras.optimizers.Lion(1e-3, weight_decay=0.1, clipnorm=0.5)),
                  lambda: keras.optimizers.Lion(1e-3, weight_decay=0.1, clipnorm=0.5)),
    "optimizer_with_schedule": (dict(optimizer=SGD(cosine(), momentum=0.9), micro_batches=2),
                                lambda: SGD(cosine(), momentum=0.9)),
    "schedule": (dict(learning_rate=cosine(), optimizer="nesterov", momentum=0.9, clipvalue=0.02,
                      learning_rate_in_velocity=True),
                 lambda: SGD(cosine(), momentum=0.9, nesterov=True, clipvalue=0.02)),
    "clipnorm": (dict(optimizer="sgd", learning_rate=0.5, momentum=0, clipnorm=0.1, micro_batches=2),
                 lambda: SGD(0.5, clipnorm=0.1)),
    "averages": (dict(optimizer=keras.optimizers.Adam(0.01), learning_rate=0.02, ema_momentum=0.5,
                      ema_rule="constant"), lambda: keras.optimizers.Adam(0.02))}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_plain_keras(case):
    options, make_optimizer = CASES[case]
    states = train_plainly(make_optimizer())
    expected = states[-1]
    if "ema_momentum" in options:       # after the first update the weights, then half of them each time
        expected = states[0]
        for state in states[1:]:
            expected = [(one + other) / 2 for one, other in zip(expected, state)]
    net = make_net()
    if "optimizer" in options and not isinstance(options["optimizer"], str) or "schedule" in case:
        options = options | dict(schedule=None, learning_rate_scaling=None, warmup=None)
        options |= {} if case == "schedule" else dict(weight_decay=None)
    found = fit(net, **options).model.get_weights()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(found, make_net().get_weights())) > 1e-3


def test_a_schedule_of_the_recipe_for_an_optimizer_of_keras(tmp_path):
    history = fit(make_net(), optimizer=keras.optimizers.Lion(1e-3), schedule="cosine", weight_decay=None,
                  learning_rate_scaling=None, output=tmp_path / "run")
    rates = [1e-3 * 0.5 * (1 + np.cos(np.pi * i / UPDATES)) for i in range(UPDATES)]
    np.testing.assert_allclose(history.history["learning_rate"], rates, rtol=1e-5)
    saved = json.loads((tmp_path / "run/run.json").read_text())
    assert saved["recipe"]["training"]["optimizer"]["class_name"] == "Lion"
    assert saved["arguments"]["set"]["optimizer"]["config"]["beta_2"] == 0.99
    assert saved["recipe"]["training"]["rate"] == 1e-3


def test_a_class_of_ones_own_from_the_shell_resumed_to_the_bit(tmp_path, capsys):
    @keras.saving.register_keras_serializable("plugin")
    class Plain(SGD):
        pass
    images, labels = small_training.make_images(32)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = ["--recipe", "digits", "--data", f"npz:{tmp_path / 'images.npz'}", "--epochs", "3",
             "--batch-size", "8", "--augmentation", "resize(8)", "--size", "8", "--test-size", "8",
             "--verbose", "0", "--deterministic", "--model-overrides", "depths=(1,)",
             "--model-overrides", "widths=(16,)",
             "--model-overrides", "strides=(1,)", "--optimizer",
             "plugin>Plain(ExponentialDecay(0.1, 4, 0.5), momentum=0.9)"]
    assert cli.main(["train", "cifar_resnet20", *words, "--output", str(tmp_path / "whole")]) == 0

    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.batches = getattr(self, "batches", 0) + 1
            if self.batches == 7:
                raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", f"npz:{tmp_path / 'images.npz'}", "digits", epochs=3, batch_size=8,
                     augmentation="resize(8)", size=8, test_size=8, verbose=0, deterministic=True,
                     model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), output=tmp_path / "parts",
                     save_every=1, callbacks=[Stop()], optimizer=Plain(
                         keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5), momentum=0.9))

    resume = ["train", "--resume", str(tmp_path / "parts"), "--verbose", "0"]
    del keras.saving.get_custom_objects()["plugin>Plain"]
    capsys.readouterr()
    assert cli.main(resume) == 2
    assert "import the module that registers its class first" in capsys.readouterr().err
    keras.saving.get_custom_objects()["plugin>Plain"] = Plain
    assert cli.main(resume) == 0
    (arrays, _), (others, _) = (load_checkpoint(tmp_path / name / "checkpoint.npz")
                                for name in ("whole", "parts"))
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
    del keras.saving.get_custom_objects()["plugin>Plain"]


def test_top_accuracy_of_a_net_in_float64():
    """TensorFlow's own operation takes float32 only."""
    metric = make_metrics(Task("multiclass", 10), "softmax")[1]
    scores = np.tile(np.arange(10.0), (10, 1))
    metric.update_state(np.eye(10), tf.constant(scores, "float64"))
    assert float(metric.result()) == 0.5


OPTIMIZERS = sorted(
    name for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer) and not name.startswith("Loss")
    and name not in ("Optimizer", "MultiOptimizer"))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_keras(name):
    """As a call of the shell, with another rate and two micro-batches: the updates are its own."""
    training = reskeras.get_recipe("digits").override(
        {"optimizer": f"{name}(0.5)", "learning_rate": "CosineDecay(0.1, 4)"}).training
    training = type(training)(**json.loads(json.dumps(vars(training))) | {"milestones": ()})
    schedule = make_schedule(training, 0.1, 2, 4, 2)
    ours, theirs = make_optimizer(training, schedule, 2), getattr(keras.optimizers, name)(
        keras.optimizers.schedules.CosineDecay(0.1, 4))
    start = np.random.default_rng(0).normal(size=(3, 4))
    one, other = (keras.Variable(start, dtype="float32", name="kernel") for _ in range(2))
    for gradient in np.random.default_rng(1).normal(size=(3, 3, 4)).astype("float32"):
        for part in (0.5 * gradient, 1.5 * gradient):
            ours.apply([keras.ops.convert_to_tensor(part)], [one])
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [other])
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)
    assert np.abs(one.numpy() - start).max() > 1e-6


class Unregistered(SGD):
    pass


@pytest.mark.parametrize("fields, text", [
    (dict(optimizer=Unregistered()), "optimizer='Unregistered': expected an object that Keras can save"),
    (dict(optimizer=keras.losses.MeanSquaredError()), "optimizer=.*: expected an object of a class of keras"),
    (dict(optimizer="Liom(1e-4)"), "Liom is neither a class of Keras nor .*did you mean 'Lion'"),
    (dict(optimizer="Lion(1e-4, wieght_decay=1)"), "expected a call such as Lion.1e-4.*wieght_decay"),
    (dict(optimizer="__import__('os').getcwd()"), "getcwd is neither a class of Keras"),
    (dict(optimizer=SGD(use_ema=True)), "expected one without use_ema; give ema_momentum"),
    (dict(optimizer=SGD(gradient_accumulation_steps=2)), "give micro_batches"),
    (dict(optimizer=SGD(), momentum=0.5), "momentum=0.5: expected none with the optimizer SGD"),
    (dict(optimizer=SGD(), ema_momentum=0.5, ema_rule="keras"), "ema_rule='keras': expected another rule"),
    (dict(learning_rate=cosine(), schedule="cosine"), "schedule='cosine': expected 'constant' with learning"),
    (dict(learning_rate=cosine(), head_epochs=1), "head_learning_rate=0: expected the rate of the epochs"),
    (dict(clipnorm=1, clipvalue=1), "clipvalue=1.0: expected 0 with clipnorm"),
    (dict(clipnorm=-1), "clipnorm=-1.0: expected a number of at least 0")])
def test_refusals(fields, text):
    with pytest.raises(ArgumentError, match=text):
        reskeras.get_recipe("digits").override(fields)


def test_a_callback_that_sets_the_rate_is_refused():
    with pytest.raises(ArgumentError, match="learning_rate=.*CosineDecay.*expected a number with"):
        fit(make_net(), learning_rate=cosine(), schedule=None, learning_rate_scaling=None, warmup=None,
            callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)])
