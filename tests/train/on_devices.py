"""Trainings of one tiny net on some devices, run as a process of its own: TensorFlow counts its devices once.

    python on_devices.py OUTPUT.npz CASE@REPLICAS ...

Replicas are logical CPUs, or as many workers as TF_CONFIG says.
"""
import contextlib
import os
import pathlib
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from stopping import StopInSecondEpoch  # noqa: E402

import reskeras  # noqa: E402
from reskeras.blocks.batch_norm import BatchNormalization  # noqa: E402
from reskeras.train.strategy import (
    choose_strategy, describe_strategy, distributable, find_worker, gather_union,
    wait_for_other_workers)  # noqa: E402

SAMPLES, VALIDATION, CLASSES, BATCH = 22, 15, 4, 10     # batches of 10, 10 and 2; 10 and 5
SGD, ENTROPY = keras.optimizers.SGD, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(SAMPLES, 6, 6, 3)).astype("float32"), rng.integers(0, CLASSES, SAMPLES)
SOFT = rng.dirichlet(np.ones(CLASSES), SAMPLES).astype("float32")

FOLDER = pathlib.Path(sys.argv[1]).parent


def net(norm="sync_batch"):
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2")(image)
    if norm:
        kind = BatchNormalization if norm == "sync_batch" else keras.layers.BatchNormalization
        x = kind(momentum=0.9, synchronized=norm != "batch")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
    return keras.Model(image, keras.layers.Dense(CLASSES, dtype="float32")(x))


def made(
    strategy, policy="float32", norm="sync_batch", optimizer=lambda model: SGD(0.1, momentum=0.9),
    loss=ENTROPY, metrics=("accuracy",), **options):
    keras.config.set_dtype_policy(policy)
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        model = net(norm)
        same = distributable(model)
        same.compile(optimizer(model), loss, metrics=list(metrics), **options)
    return model, same


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def trained(strategy, y=Y, batch=BATCH, samples=SAMPLES, callbacks=(), epochs=2, class_weight=None,
            **options):
    """Six steps: two epochs of two whole batches and a partial one, or three epochs of two whole ones."""
    model, same = made(strategy, **options)
    before = weights(model)
    x, y = X[:samples], y[:samples]
    history = same.fit(
        x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks),
        class_weight=class_weight, validation_data=(x[:VALIDATION], y[:VALIDATION]))
    found = {"weights": weights(model), "moved": np.abs(weights(model) - before).max()}
    found |= {name: np.array(values) for name, values in history.history.items()}
    found |= {"evaluate": np.array(same.evaluate(x, y, batch_size=batch, verbose=0)),
              "predict": same.predict(x, batch_size=batch, verbose=0)}
    return found


def overflow(strategy, whose):
    """A step whose gradients overflow only in the first or in the second half of the batch, then a step as
    any other.
    """
    model, same = made(
        strategy, norm=None, policy="mixed_float16",
        optimizer=lambda model: keras.optimizers.LossScaleOptimizer(SGD(0.1), initial_scale=2.0**40))
    weight = np.repeat(np.array([1.0, 0.0] if whose == "first" else [0.0, 1.0], "float32"), BATCH // 2)
    before, scale = weights(model), same.optimizer.dynamic_scale

    def step():
        same.fit(X[:BATCH], Y[:BATCH], sample_weight=weight, batch_size=BATCH, verbose=0, shuffle=False)
        components = strategy.experimental_local_results(scale.value) if strategy else [scale.value]
        assert len({float(c) for c in components}) == 1
        return float(components[0])
    found = {"scale": step(), "unmoved": np.abs(weights(model) - before).max()}
    scale.assign(2.0 ** 8)
    return {
        **found, "kept": step(), "moved": np.abs(weights(model) - before).max(), "weights": weights(model)}


def decayed(strategy):
    """A step without gradients: what is left is the weight decay, of kernels only."""
    def optimizer(model):
        own = keras.optimizers.AdamW(0.1, weight_decay=0.5)
        own.exclude_from_weight_decay([v for v in model.trainable_variables if v.name != "kernel"])
        return own
    model, same = made(strategy, optimizer=optimizer)
    for variable in model.trainable_variables:
        variable.regularizer = None
        variable.assign(variable + 1)
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    same.fit(X[:BATCH], Y[:BATCH], sample_weight=np.zeros(BATCH), batch_size=BATCH, verbose=0)
    return {
        f"{v.name} {i}": keras.ops.convert_to_numpy(v) / before[i]
        for i, v in enumerate(model.trainable_variables)}


def lost(strategy, folder):
    """Worker 1 dies in the second epoch; processes that start with the checkpoint of the first go on from it.
    """
    model, same = made(strategy)
    checkpoint = folder / "first.weights.h5"
    optimizer = folder / "optimizer.npz"
    if resume := checkpoint.exists():
        model.load_weights(checkpoint)
        for variable, value in zip(same.optimizer.variables, np.load(optimizer).values()):
            variable.assign(value)
    worker = find_worker(strategy)[0]

    class Life(keras.callbacks.Callback):
        time = time.time()

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0 and worker == 0:
                np.savez(optimizer, *[keras.ops.convert_to_numpy(v) for v in same.optimizer.variables])
                model.save_weights(checkpoint)

        def on_train_batch_end(self, batch, logs=None):
            if self.epoch == 1 and not resume and worker == 1:
                os._exit(9)

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch, self.time = epoch, time.time()
    life = Life()
    found = {}
    try:
        same.fit(
            X, Y, batch_size=BATCH, epochs=2, initial_epoch=int(resume), shuffle=False, verbose=0,
            callbacks=[life], validation_data=(X[:VALIDATION], Y[:VALIDATION]))
        found = {
            "weights": weights(model), "evaluate": np.array(same.evaluate(X, Y, batch_size=BATCH, verbose=0)),
            "predict": same.predict(X, batch_size=BATCH, verbose=0),
            "union": np.array(gather_union(strategy, range(worker, 2 * worker)))}
        if resume:
            time.sleep(3 * worker)
            arrived = time.time()
            wait_for_other_workers(strategy)
            found["arrived"], found["left"] = np.array(arrived), np.array(time.time())
    except RuntimeError as error:
        found = {"error": str(error), "seconds": time.time() - life.time}
    return found | {name: np.array(values) for name, values in same.history.history.items()}


def one_step(strategy, norm):
    """Batch normalization's running statistics after a step, on each device."""
    model, same = made(strategy, norm=norm)
    same.fit(X[:BATCH], Y[:BATCH], batch_size=BATCH, verbose=0, shuffle=False)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    local = strategy.experimental_local_results if strategy else lambda value: [value]
    return {name: np.stack([keras.ops.convert_to_numpy(v) for v in local(getattr(layer, name).value)])
            for name in ("moving_mean", "moving_variance")}


class Watch(keras.layers.Layer):
    """A layer that counts what it sees in a metric."""

    def __init__(self, **options):
        super().__init__(**options)
        self.mean = keras.metrics.Mean(name="seen")

    def call(self, x):
        self.mean.update_state(x)
        return x


def two_outputs(strategy, folder, policy="float32", **options):
    """A net of two outputs with a loss and a metric each, a metric in a layer, and a file of ModelCheckpoint.

    The last batch has one sample: on several replicas the others have none.
    """
    keras.config.set_dtype_policy(policy)
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        image = keras.Input((6, 6, 3))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(image))
        x = Watch()(x)
        model = keras.Model(image, {
            "kind": keras.layers.Dense(CLASSES, dtype="float32", name="kind")(x),
            "size": keras.layers.Dense(1, dtype="float32", name="size")(x)})
        same = distributable(model)
        same.compile(SGD(0.1), {"kind": ENTROPY, "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.3},
                     metrics={"kind": "accuracy", "size": "mae"}, **options)
    y, before = {"kind": Y[:21], "size": SOFT[:21, :1]}, weights(model)
    file = folder / f"of_{same.distribute_strategy.num_replicas_in_sync}.keras"
    history = same.fit(X[:21], y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0,
                       validation_data=(X[:21], y), callbacks=[keras.callbacks.ModelCheckpoint(file)])
    found = {name: np.array(values) for name, values in history.history.items()}
    predicted = same.predict(X[:21], batch_size=BATCH, verbose=0)
    assert set(predicted) == {"kind", "size"}
    if find_worker(strategy)[0] == 0:
        loaded = keras.saving.load_model(file, custom_objects={"Watch": Watch})
        np.testing.assert_allclose(loaded.predict(X[:21], verbose=0)["kind"], predicted["kind"], atol=1e-5)
        assert int(loaded.optimizer.iterations) == 6 and loaded.compiled
    return found | {"weights": weights(model), "moved": np.abs(weights(model) - before).max(),
                    "evaluate": np.array(same.evaluate(X[:21], y, batch_size=BATCH, verbose=0)),
                    "predict": predicted["kind"]}


def fitted(strategy, folder):
    """`reskeras.fit` on images that are no multiple of the batch; on several devices stopped amid an epoch,
    and gone on with.
    """
    if not strategy:
        return run_whole(strategy, folder)
    run_half(strategy, folder)
    return resume_half(strategy, folder)


def run_whole(strategy, folder, **more):
    """`reskeras.fit` to the end."""
    data, held = make_images()
    begin = {
        "model": "cifar_resnet20",
        "recipe": "cifar_he",
        "deterministic": True,
        "dtype": "float32",  # not that of the case before
        "overrides": {
            "size": 8, "test_size": 8, "augmentation": "pad_crop(8, 1)|flip", "batch_size": 10, "epochs": 2,
            "learning_rate": 1.0, "base_batch_size": 10, "schedule": "constant"},
        "model_overrides": {"depths": (1,), "widths": (16,), "strides": (1,), "norm": "sync_batch"},
    }
    history = reskeras.fit(data=data, validation_data=held, verbose=2, strategy=strategy or "none",
                           **begin, **more)
    return describe(history)


def with_controls(strategy, folder):
    """`reskeras.fit` with layer decay, clipping, and an end without progress; the best weights are restored.
    On several devices it is stopped amid the second epoch, and gone on with.
    """
    data, held = make_images()
    fields = {"size": 8, "test_size": 8, "augmentation": "", "batch_size": 10, "epochs": 5,
              "base_batch_size": 10, "schedule": "constant", "learning_rate": 3.0, "layer_decay": 0.5,
              "clipnorm": 0.5, "early_stopping": 1, "restore_best_weights": True}

    def fit(**more):
        return reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data=held, deterministic=True,
                            strategy=strategy or "none", verbose=2, dtype="float32", overrides=fields,
                            model_overrides={"depths": (1,), "widths": (16,), "strides": (1,),
                                             "norm": "sync_batch"}, **more)
    if not strategy:
        return describe(fit())
    stop_half(fit, folder / "controls")
    return describe(reskeras.fit(data=data, validation_data=held, resume=folder / "controls", verbose=2,
                                 strategy=strategy))


def with_objects(strategy):
    """`reskeras.fit` with an optimizer and a schedule of Keras."""
    data, held = make_images()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 2, 0.5)
    history = reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data=held, deterministic=True,
                           strategy=strategy or "none", verbose=2, dtype="float32", size=8, test_size=8,
                           augmentation="", batch_size=8, epochs=2, micro_batches=2,
                           optimizer=SGD(schedule, momentum=0.9, clipvalue=0.1),
                           model_overrides={"depths": (1,), "widths": (16,), "strides": (1,),
                                            "norm": "sync_batch"})
    return describe(history)


def make_images():
    """Images to train on and to validate on, in batches of 10 and 10, and of 10 and 1."""
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (number, 8, 8, 3), "uint8"), np.arange(number) % CLASSES)
            for number in (25, 11)]


def run_half(strategy, folder):
    """`reskeras.fit` until the second batch of the second epoch."""
    return stop_half(lambda **more: run_whole(strategy, folder, **more), folder / "run")


def stop_half(fit, folder):
    """Calls `reskeras.fit`, and stops it before the second batch of the second epoch."""
    try:
        fit(output=folder, save_every=1, callbacks=[StopInSecondEpoch()])
    except KeyboardInterrupt:
        return {}
    raise AssertionError("it was not stopped")


def resume_half(strategy, folder):
    """What `run_half` has left, to the end; on the same or another number of devices."""
    data, held = make_images()
    return describe(reskeras.fit(data=data, validation_data=held, resume=folder / "run", verbose=2,
                                 strategy=strategy or "none"))


def describe(history):
    return {
        "weights": weights(history.model),
        **{name: np.array(values) for name, values in history.history.items()}}


def drawn(strategy):
    """What dropout leaves of two samples, one of each replica: a kernel's gradient counts the samples that
    have the feature.
    """
    with strategy.scope():
        image = keras.Input((64,))
        model = keras.Model(
            image, keras.layers.Dense(1, use_bias=False)(keras.layers.Dropout(0.5, seed=7)(image)))
        same = distributable(model)
        same.compile(SGD(1.0), lambda y, output: -output)
    kernel, before = model.trainable_variables[0], weights(model)
    seeds = next(v for v in model.layers[1].non_trainable_variables)
    found = []
    for _ in range(2):
        same.fit(np.ones((2, 64)), np.ones((2, 1)), batch_size=2, verbose=0)
        found.append(np.ravel(keras.ops.convert_to_numpy(kernel)) - before)
        before = before + found[-1]
    return {
        "kept": np.array(found),
        "seeds": np.stack([v.numpy() for v in strategy.experimental_local_results(seeds.value)])}


CASES = {
    "float32": trained,
    "float16": lambda s: trained(
        s, y=SOFT, policy="mixed_float16", metrics=["categorical_accuracy"],
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)),
    "bfloat16": lambda s: trained(
        s, y=keras.utils.to_categorical(Y), policy="mixed_bfloat16", steps_per_execution=2,
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")]),
    "plain": lambda s: trained(s, norm=None, samples=20, epochs=3),
    "jit": lambda s: trained(s, norm=None, samples=20, epochs=3, jit_compile=True),
    "accumulated": lambda s: trained(
        s, norm=None, samples=20, epochs=3, batch=5,
        optimizer=lambda model: SGD(0.1, momentum=0.9, gradient_accumulation_steps=2)),
    "averaged": lambda s: trained(
        s, norm=None, callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
        optimizer=lambda model: keras.optimizers.Lamb(
            0.05, use_ema=True, ema_momentum=0.5, global_clipnorm=0.1)),
    "synchronized": lambda s: one_step(s, "sync_batch"), "by_keras": lambda s: one_step(s, "keras"),
    "unsynchronized": lambda s: one_step(s, "batch"),
    "overflow_first": lambda s: overflow(s, "first"), "overflow_second": lambda s: overflow(s, "second"),
    "decayed": decayed, "drawn": drawn, "fit": lambda s: fitted(s, FOLDER),
    "controls": lambda s: with_controls(s, FOLDER), "objects": with_objects,
    "whole": lambda s: run_whole(s, FOLDER), "half": lambda s: run_half(s, FOLDER),
    "resumed": lambda s: resume_half(s, FOLDER),
    "outputs": lambda s: two_outputs(s, FOLDER),
    "outputs16": lambda s: two_outputs(s, FOLDER, policy="mixed_float16"),
    "outputs_jit": lambda s: two_outputs(s, FOLDER, jit_compile=True),
    "class_weight": lambda s: trained(s, class_weight={0: 0.2, 1: 1.0, 2: 3.0, 3: 0.5}),
    "class_weight16": lambda s: trained(s, class_weight={0: 0.2, 1: 1.0, 2: 3.0, 3: 0.5},
                                        policy="mixed_float16"),
    "class_weight_jit": lambda s: trained(s, class_weight={0: 0.2, 1: 1.0, 2: 3.0, 3: 0.5}, norm=None,
                                          jit_compile=True),
    "lost": lambda s: lost(s, FOLDER)}


def main(output, *cases):
    strategies = {1: None}
    if "TF_CONFIG" in os.environ:
        strategy = choose_strategy("multi_worker")
        strategies[find_worker(strategy)[1]] = strategy
    else:
        cpu, most = (
            tf.config.list_physical_devices("CPU")[0], max(int(case.partition("@")[2]) for case in cases))
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * most)
    results = {}
    for case in cases:
        name, replicas = case.split("@")
        if (number := int(replicas)) not in strategies:
            strategies[number] = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(number)],
                                                                tf.distribute.ReductionToOneDevice())
        start = time.time()
        for what, value in CASES[name](strategies[number]).items():
            results[f"{case}/{what}"] = value
        print(case, f"{time.time() - start:.1f} s", describe_strategy(strategies[number], net()), flush=True)
    np.savez(output, **results)
    os._exit(0)         # without the farewell of a worker that another one is no longer there to answer


if __name__ == "__main__":
    main(*sys.argv[1:])
