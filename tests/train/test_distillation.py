"""Distillation: the losses by hand, the teacher's images and classes, trainings on devices, and resuming."""
import json
import pathlib

import keras
import numpy as np
import pytest
from keras import ops
from stopping import StopInSecondEpoch
from two_devices import run_on_two_devices

import reskeras
from reskeras import cli
from reskeras.errors import ArgumentError
from reskeras.images.preprocessing import Preprocessing
from reskeras.quantization.model import is_quantization_aware
from reskeras.train.distillation import DistillationLoss
from reskeras.train.task import Task
from reskeras.train.teacher import make_teacher

FOLDERS = pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[1]     # of what a child imports
NAMES = ("ant", "bee", "cat", "dog")
TORCH, CAFFE, TF = (Preprocessing((8, 8), pixels, crop_pct=1.0) for pixels in ("torch", "caffe", "tf"))
PLAIN = dict(recipe="cifar_he", size=8, test_size=8, augmentation="", batch_size=16,
             momentum=0.0, weight_decay=0.0, learning_rate=0.5, schedule="constant",
             learning_rate_scaling="none", verbose=0)


def make_model(seed, classes=4, preprocessing=TORCH, labels=NAMES, activation="softmax", filters=6):
    keras.utils.set_random_seed(seed)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(filters, 3, activation="tanh")(image)
    x = keras.layers.Dense(classes, activation=activation)(keras.layers.GlobalAveragePooling2D()(x))
    return reskeras.set_metadata(keras.Model(image, x), preprocessing=preprocessing, labels=labels)


def make_images(count=32):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), "uint8"), np.arange(count) % 4


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


@pytest.mark.parametrize("kind, temperature, alpha", [("soft", 1, 0.5), ("soft", 4, 0.9), ("hard", 2, 0.3),
                                                      ("consistent", 2, 0.3)])
@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_loss_by_hand(kind, temperature, alpha, activation):
    rng = np.random.default_rng(0)
    y, t, s, w = (np.eye(5)[rng.integers(0, 5, 7)], rng.normal(size=(7, 5)), rng.normal(size=(7, 5)),
                  rng.random(7))
    labels = -(y * np.log(softmax(s))).sum(-1)
    p, q = softmax(t / temperature), softmax(s / temperature)
    soft = temperature ** 2 * (p * np.log(p / q)).sum(-1)
    hard = -np.log(softmax(s))[np.arange(7), t.argmax(-1)]
    wanted = {"soft": (1 - alpha) * labels + alpha * soft, "hard": (1 - alpha) * labels + alpha * hard,
              "consistent": soft}[kind]
    loss = DistillationLoss(
        keras.losses.CategoricalCrossentropy(from_logits=activation == "linear", dtype="float64"), kind,
        temperature, alpha, activation, dtype="float64")
    given = s if activation == "linear" else softmax(s)
    targets = np.concatenate([y, t], -1)
    np.testing.assert_allclose(loss(targets, given, sample_weight=w), (wanted * w).mean(), rtol=1e-7)
    np.testing.assert_allclose(loss(y, given), labels.mean(), rtol=1e-6)            # a validation
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_allclose(again(targets, given), loss(targets, given), rtol=1e-6)
    if kind == "consistent" and activation == "linear":
        keras_own = keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())
        keras_own = keras_own.compute_loss(ops.convert_to_tensor(t), ops.convert_to_tensor(s))
        np.testing.assert_allclose(keras_own, soft.mean(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_loss_of_several_labels_by_hand(kind):
    rng = np.random.default_rng(0)
    y, t, s = rng.integers(0, 2, (7, 5)).astype(float), rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    p, q = 1 / (1 + np.exp(-t / 3)), 1 / (1 + np.exp(-s / 3))
    soft = 9 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean(-1)
    q = 1 / (1 + np.exp(-s))
    hard = -np.where(t > 0, np.log(q), np.log(1 - q)).mean(-1)
    loss = DistillationLoss(keras.losses.BinaryCrossentropy(dtype="float64"), kind, 3, 1.0, "sigmoid", True,
                            dtype="float64")
    np.testing.assert_allclose(loss(np.concatenate([y, t], -1), q), {"soft": soft, "hard": hard}[kind].mean(),
                               rtol=1e-6)


def test_teacher_sees_its_own_images_and_classes():
    """Of more classes in another order, of BGR, and of logits: as with its own preprocessing."""
    pixels = make_images(6)[0]
    student = make_model(0)
    for activation, preprocessing in (("softmax", CAFFE), (None, TF),
                                      ("softmax", TORCH)):
        net = make_model(1, 6, preprocessing, ("dog", "cow", "cat", "bee", "owl", "ant"), activation)
        teacher = make_teacher(net, student, Task("multiclass", 4), (8, 8))
        x, y = TORCH(pixels), np.eye(4)[[0, 1, 2, 3, 0, 1]]
        found = np.array(teacher.append_to_labels(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
        scores = np.array(net(preprocessing(pixels)))[:, [5, 3, 2, 0]]
        np.testing.assert_allclose(found[:, :4], y)
        if activation:
            np.testing.assert_allclose(np.exp(found[:, 4:]), scores, rtol=2e-4)
        else:
            np.testing.assert_allclose(found[:, 4:], scores, rtol=2e-4, atol=1e-5)
        assert not teacher.model.trainable_variables and net.trainable_variables


def test_updates_by_hand():
    """Three updates of a full batch, with the weights of the images, as plain Keras makes them."""
    import tensorflow as tf
    images, labels = make_images()
    weights = np.linspace(0.5, 1.5, 32)
    net, teacher = make_model(0), make_model(1, preprocessing=CAFFE)
    plain = keras.models.clone_model(net)
    plain.set_weights(net.get_weights())
    before = teacher.get_weights()
    reskeras.fit(net, (images, labels, weights), epochs=3, **{**PLAIN, "batch_size": 32}, teacher=teacher,
                 alpha=0.7, temperature=2.0)
    t = np.log(teacher(CAFFE(images)).numpy().astype("float64"))
    p = softmax(t / 2)
    for _ in range(3):
        with tf.GradientTape() as tape:
            s = tf.math.log(plain(TORCH(images)))
            q = tf.nn.log_softmax(s / 2)
            each = -0.3 * tf.reduce_sum(np.eye(4)[labels] * s, -1)
            each += 0.7 * 4 * tf.reduce_sum(p * (np.log(p) - q), -1)
            loss = tf.reduce_mean(each * weights)
        variables = plain.trainable_variables
        for v, g in zip(variables, tape.gradient(loss, [v.value for v in variables])):
            v.assign_sub(0.5 * g)
    for a, b in zip(net.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(teacher.get_weights(), before):
        np.testing.assert_array_equal(a, b)


CHILD = """
from test_distillation import PLAIN, make_images, make_model
images = make_images()
# XLA first: it does not compile in a process that has been made deterministic
for name, options in {"xla": dict(jit_compile=True, deterministic=False), "one": {},
                      "parts": dict(micro_batches=2), "two": dict(strategy=mirrored)}.items():
    strategy = options.get("strategy")
    with strategy.scope() if strategy else tf.device("CPU:0"):
        net = make_model(0)
    reskeras.fit(net, images, epochs=2, teacher=make_model(1, filters=9), distillation="consistent",
                 temperature=3.0, **PLAIN | dict(deterministic=True, batch_size=32) | options)
    found |= {f"{name}/{i}": w for i, w in enumerate(net.get_weights())}
"""


def test_replicas_micro_batches_and_xla(tmp_path):
    found = run_on_two_devices(CHILD, tmp_path, FOLDERS)
    for name in ("parts", "xla", "two"):
        for i in range(4):
            np.testing.assert_allclose(found[f"{name}/{i}"], found[f"one/{i}"], rtol=1e-4, atol=1e-6,
                                       err_msg=name)


def test_resumes_to_the_bit_with_the_teacher_of_the_run(tmp_path):
    images = make_images()
    make_model(1).save(tmp_path / "teacher.keras")
    options = {**PLAIN, "deterministic": True, "epochs": 3, "momentum": 0.9, "augmentation": "flip"}
    begin = make_model(0)
    begin.save(tmp_path / "begin.keras")
    for teacher, again in ((str(tmp_path / "teacher.keras"), None), (make_model(1), make_model(1))):
        folders = [tmp_path / f"{name}{again is None}" for name in ("whole", "parts")]
        reskeras.fit(str(tmp_path / "begin.keras"), images, **options, teacher=teacher, output=folders[0])
        with pytest.raises(KeyboardInterrupt):
            reskeras.fit(str(tmp_path / "begin.keras"), images, **options, teacher=teacher, output=folders[1],
                         callbacks=[StopInSecondEpoch()])
        saved = json.loads((folders[1] / "run.json").read_text())["arguments"]["teacher"]
        if again is None:
            assert saved == teacher
        else:
            with pytest.raises(ArgumentError, match="teacher too, which was a .* that no file holds"):
                reskeras.fit(data=images, resume=folders[1], verbose=0)
        reskeras.fit(data=images, resume=folders[1], verbose=0, teacher=again)
        nets = [reskeras.load(folder / "last.keras") for folder in folders]
        for a, b in zip(*(net.get_weights() for net in nets)):
            np.testing.assert_array_equal(a, b)


def test_quantization_aware_student(tmp_path):
    small = dict(depths=(1,), widths=(16,), strides=(1,))
    net = reskeras.create("cifar_resnet20", weights=None, classes=4, input_shape=(8, 8, 3), **small)
    net = reskeras.set_metadata(net, preprocessing=TORCH, labels=list(NAMES))
    history = reskeras.fit(net, make_images(), epochs=1, teacher=make_model(1), alpha=1.0, quantize="int8",
                           validation_data=make_images(), **PLAIN)
    assert is_quantization_aware(history.model)
    assert np.isfinite(history.history["loss"]).all() and "val_loss" in history.history


def test_command(tmp_path):
    images, labels = make_images()
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    make_model(1, labels=()).save(tmp_path / "teacher.keras")
    assert cli.main([
        "train",
        "cifar_resnet20", "--recipe", "cifar_he", "--data", f"npz:{tmp_path}/d.npz", "--size", "8",
        "--test-size", "8", "--augmentation", "flip", "--batch-size", "16", "--steps", "2", "--teacher",
        f"{tmp_path}/teacher.keras", "--distillation", "hard", "--alpha", "0.9", "--output",
        f"{tmp_path}/run", "--verbose", "0",
        *(word for field in ("depths=(1,)", "widths=(16,)", "strides=(1,)")
          for word in ("--model-overrides", field))]) == 0
    saved = json.loads((tmp_path / "run/run.json").read_text())
    assert saved["recipe"]["training"]["distillation"] == "hard"
    assert saved["arguments"]["teacher"] == f"{tmp_path}/teacher.keras"


@pytest.mark.parametrize("change, error, text", [
    (dict(teacher="plainnet18"), ArgumentError, "has no published ones"),
    (dict(teacher=7), TypeError, "teacher=7: expected a net's name"),
    (dict(teacher=make_model(1, labels=("ant", "bee", "cat", "cow"))), ArgumentError, "knows all classes"),
    (dict(teacher=make_model(1, 5, labels=())), ArgumentError, "a net of 4 classes"),
    (dict(teacher=make_model(1, activation="sigmoid")), ArgumentError, "ends in softmax or in logits"),
    (dict(teacher=make_model(1), alpha=1.5), ArgumentError, r"a fraction of the loss"),
    (dict(teacher=make_model(1), temperature=0.0), ArgumentError, "a number above 0"),
    (dict(teacher=make_model(1), distillation="sfot"), ArgumentError, "did you mean 'soft'")])
def test_errors(change, error, text):
    with pytest.raises(error, match=text):
        reskeras.fit(make_model(0), make_images(), epochs=1, **{**PLAIN, **change})
