"""What a net may learn: small trainings in float64, by `reskeras.fit` and by plain Keras.

As a script, `python task_cases.py OUTPUT.npz`, it runs some of them on two replicas (logical CPUs).
"""
from __future__ import annotations

import sys
from typing import Any, NamedTuple

import keras
import numpy as np

import reskeras
from reskeras.train.training import Training

if __name__ == "__main__":      # before the first variable
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

N, SIZE, BATCH = 24, 6, 8
rng = np.random.default_rng(0)
X = rng.integers(0, 256, (N, SIZE, SIZE, 3), dtype="uint8")
CLASSES = np.array([0, 0, 0, 0, 1, 2] * 4)
FLAGS = rng.integers(0, 2, (N, 4)).astype("uint8")
VALUES = rng.normal(size=(N, 2)).astype("float32")
WEIGHTS = rng.uniform(0.1, 3, N).astype("float32")
PREPROCESSING = reskeras.Preprocessing((SIZE, SIZE), "tf", crop_pct=1.0)
RECIPE = reskeras.Recipe("plain", "plain SGD", Training(
    epochs=1, batch_size=BATCH, momentum=0.875, learning_rate=0.25, learning_rate_scaling="none",
    schedule="constant", size=SIZE, test_size=SIZE, test_crop_pct=1.0, augmentation=""))
LOSSES, METRICS = keras.losses, keras.metrics


class Case(NamedTuple):
    """A training: how `reskeras.fit` is called, and how Keras is."""

    outputs: int
    activation: str | None
    labels: Any                     # as Keras takes them
    loss: Any                       # of Keras
    options: dict[str, Any]         # of `reskeras.fit`
    data: Any = None                # labels of `reskeras.fit`, if other ones
    sample_weight: Any = None
    class_weight: Any = None
    metrics: Any = ()


def one_hot(labels):
    return np.eye(labels.max() + 1)[labels]


CASES = {
    "class_weight": Case(
        3, "softmax", one_hot(CLASSES), LOSSES.CategoricalCrossentropy(dtype="float64"),
        dict(class_weight={1: 2.5, 2: 0.25}), CLASSES, class_weight={1: 2.5, 2: 0.25}),
    "sample_weight": Case(
        3, "softmax", one_hot(CLASSES), LOSSES.CategoricalCrossentropy(dtype="float64"), {}, CLASSES,
        WEIGHTS),
    "smooth_focal": Case(
        3, "softmax", one_hot(CLASSES),
        LOSSES.CategoricalFocalCrossentropy(label_smoothing=0.1, dtype="float64"),
        dict(loss="categorical_focal_crossentropy", label_smoothing=0.1), CLASSES),
    "multilabel": Case(
        4, "sigmoid", FLAGS, LOSSES.BinaryCrossentropy(dtype="float64"), {}, sample_weight=WEIGHTS,
        metrics=[METRICS.AUC(multi_label=True, num_labels=4), METRICS.F1Score("macro", 0.5)]),
    "focal_logits": Case(
        4, None, FLAGS, LOSSES.BinaryFocalCrossentropy(gamma=3.0, from_logits=True, dtype="float64"),
        dict(loss=LOSSES.BinaryFocalCrossentropy(gamma=3.0, from_logits=True))),
    "binary": Case(
        1, "sigmoid", CLASSES[:, None] % 2, LOSSES.BinaryCrossentropy(dtype="float64"),
        dict(class_weight="balanced", task="binary"), CLASSES % 2, class_weight={0: 0.6, 1: 3.0},
        metrics=[METRICS.Precision(0.3)]),
    "regression": Case(
        2, None, VALUES, LOSSES.MeanSquaredError(dtype="float64"), {}, sample_weight=WEIGHTS,
        metrics=[METRICS.R2Score(dtype="float64")]),
    "huber": Case(
        2, None, VALUES, LOSSES.Huber(0.3, dtype="float64"), dict(loss=LOSSES.Huber(0.3))),
}


def make_net(case: Case) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3), dtype="float64")
    x = keras.layers.Conv2D(4, 3, activation="relu", dtype="float64")(image)
    x = keras.layers.GlobalAveragePooling2D(dtype="float64")(x)
    return keras.Model(image, keras.layers.Dense(case.outputs, case.activation, dtype="float64",
                                                 name="scores")(x))


def train(case: Case, net: keras.Model | None = None, **options: Any) -> keras.callbacks.History:
    """Three steps by `reskeras.fit`."""
    labels = case.labels if case.data is None else case.data
    data = (X, labels) if case.sample_weight is None else (X, labels, case.sample_weight)
    return reskeras.fit(net or make_net(case), data, RECIPE, **{
        **dict(validation_data=data, preprocessing=PREPROCESSING, metrics=list(case.metrics), verbose=0,
               deterministic=True),
        **case.options, **options})


def train_by_keras(case: Case) -> tuple[keras.Model, dict[str, list[float]]]:
    """The same three steps by Keras alone."""
    net = make_net(case)
    order = np.random.default_rng((0, 0)).permutation(N)
    x = np.asarray(PREPROCESSING.normalize(X.astype("float32")))
    weight = case.sample_weight
    if case.class_weight:       # Keras takes either of them
        numbers = case.labels.argmax(1) if case.outputs > 1 else case.labels[:, 0]
        weight = np.array([case.class_weight.get(int(c), 1.0) for c in numbers])
    net.compile(keras.optimizers.SGD(0.25, momentum=0.875), case.loss,
                metrics=[type(m).from_config(m.get_config()) for m in case.metrics])
    history = net.fit(x[order], case.labels[order], BATCH, verbose=0, shuffle=False,
                      sample_weight=None if case.sample_weight is None else weight[order],
                      class_weight=case.class_weight,
                      validation_data=(x, case.labels) + (() if case.sample_weight is None else (weight,)))
    return net, history.history


def collect(history: keras.callbacks.History) -> dict[str, np.ndarray]:
    logs = {name: np.array(values) for name, values in history.history.items()
            if name.removeprefix("val_") in ("loss", "accuracy", "mae", "auc", "f1_score", "r2_score")}
    return logs | {str(i): w for i, w in enumerate(history.model.get_weights())}


def main(output: str) -> None:
    from reskeras.train.strategy import choose_strategy
    arrays = {}
    for name in ("class_weight", "multilabel", "regression"):
        strategy = choose_strategy("mirrored")
        with strategy.scope():
            net = make_net(CASES[name])
        history = train(CASES[name], net, strategy=strategy)
        arrays |= {f"{name}/{key}": value for key, value in collect(history).items()}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
