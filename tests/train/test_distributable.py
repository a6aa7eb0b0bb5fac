"""`reskeras.distributable` on one device is Keras' own training: outputs, metrics, weights, callbacks."""
import json
import warnings

import keras
import numpy as np
import pytest

import reskeras
from reskeras.train.losses import make_loss
from reskeras.train.training import Training

rng = np.random.default_rng(0)
X, Y, SIZE = rng.normal(size=(10, 6)).astype("float32"), np.arange(10) % 4, rng.uniform(0.1, 3, 10)


class Watch(keras.layers.Layer):
    """A layer that counts in metrics what it sees."""

    def __init__(self, **options):
        super().__init__(**options)
        self.mean, self.calls = keras.metrics.Mean(name="seen"), keras.metrics.Sum(name="calls")

    def call(self, x):
        self.mean.update_state(x)
        self.calls.update_state(1.0)
        return x


def make_net(structure=dict, dtype=None):
    keras.utils.set_random_seed(1)
    image = keras.Input((6,))
    x = Watch()(keras.layers.Dense(5, activation="relu", dtype=dtype)(image))
    kind = keras.layers.Dense(4, activation="softmax", name="kind", dtype=dtype)(x)
    size = keras.layers.Dense(1, name="size", dtype=dtype)(x)
    outputs = {dict: {"kind": kind, "size": size}, list: [kind, size], None: kind}[structure]
    return keras.Model(image, outputs)


def compile_net(model, structure=dict, rate=0.1, **options):
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, **options)
    if structure is None:
        model.compile(optimizer, losses["kind"], metrics=["accuracy"])
    else:
        model.compile(optimizer, losses, loss_weights={"kind": 1.0, "size": 0.5},
                      metrics={"kind": ["accuracy"], "size": ["mae"]})
    return model


@pytest.mark.parametrize("structure", [dict, list])
def test_outputs_and_layers_are_counted_as_in_keras(structure):
    y = {"kind": Y, "size": SIZE}
    found = []
    for wrap in (lambda model: model, reskeras.distributable):
        model = compile_net(wrap(make_net(structure)), structure)
        target = y if structure is dict else list(y.values())
        history = model.fit(X, target, batch_size=5, epochs=2, shuffle=False, verbose=0,
                            validation_data=(X, target), validation_batch_size=5).history
        predicted = model.predict(X, verbose=0)
        assert type(predicted) is structure and type(model.predict_on_batch(X)) is structure
        results = model.evaluate(X, target, batch_size=5, verbose=0, return_dict=True)
        found.append((history, results, predicted))
    (history, results, predicted), (own_history, own_results, own_predicted) = found
    assert set(own_history) == set(history) and {"kind_loss", "size_loss", "seen", "calls"} <= set(history)
    for name, values in history.items():
        np.testing.assert_allclose(own_history[name], values, rtol=1e-5, err_msg=name)
    for name, value in results.items():
        assert own_results[name] == pytest.approx(value, rel=1e-5) and value > 0
    for mine, other in zip(keras.tree.flatten(own_predicted), keras.tree.flatten(predicted)):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


def test_a_smaller_last_batch_counts_by_its_samples():
    """Keras weighs the batches of an output's loss alike; this one is the mean over the samples."""
    model = compile_net(reskeras.distributable(make_net()))
    results = model.evaluate(X, {"kind": Y, "size": SIZE}, batch_size=8, verbose=0, return_dict=True)
    size = model.predict(X, verbose=0)["size"][:, 0]
    assert results["size_loss"] == pytest.approx(np.mean((size - SIZE) ** 2), rel=1e-5)


def test_class_weights_are_those_of_keras():
    weights = {0: 0.1, 1: 1.0, 2: 5.0, 3: 0.5}
    found = []
    for wrap in (lambda model: model, reskeras.distributable):
        model = compile_net(wrap(make_net(None)), None)
        history = model.fit(X, Y, batch_size=5, epochs=2, shuffle=False, verbose=0, class_weight=weights)
        found.append([history.history["loss"], *map(np.ravel, model.get_weights())])
    np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(found[1]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [
    {}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow)])
def test_float64_trains(options):
    """Also by `fit`, whose loss is computed in float64."""
    model = reskeras.distributable(make_net(None, dtype="float64"))
    model.compile("sgd", "sparse_categorical_crossentropy", **options)
    assert np.isfinite(model.fit(X, Y, verbose=0, batch_size=5).history["loss"]).all()
    data = rng.integers(0, 256, (16, 8, 8, 3), "uint8"), np.arange(16) % 4
    history = reskeras.fit("cifar_resnet20", data, "cifar_he", verbose=0, dtype="float64", epochs=1, size=8,
                           test_size=8, augmentation="", batch_size=8, validation_data=data, **options,
                           model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
    assert {v.dtype for v in history.model.trainable_variables} == {"float64"}
    assert np.isfinite(history.history["val_loss"]).all()
    loss = make_loss(Training(epochs=1), "softmax", "float64")(np.eye(2), np.array([[0.6, 0.4], [0.2, 0.8]]))
    assert float(loss) == pytest.approx(-np.log([0.6, 0.8]).mean(), rel=1e-12)


# Callbacks

Y2 = {"kind": Y, "size": SIZE}


def train(model, *callbacks, epochs=3):
    return model.fit(X, Y2, batch_size=5, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks),
                     validation_data=(X, Y2))


def test_what_is_saved_is_the_model(tmp_path):
    """With its optimizer, as Keras does; and as the net, with its metadata, if it is one."""
    model = compile_net(reskeras.distributable(make_net()))
    train(model, keras.callbacks.ModelCheckpoint(tmp_path / "m.keras"),
          keras.callbacks.ModelCheckpoint(tmp_path / "m.weights.h5", save_weights_only=True))
    for load in (keras.saving.load_model, lambda path, custom_objects: reskeras.load(path, compile=True)):
        with keras.saving.custom_object_scope({"Watch": Watch}):
            loaded = load(str(tmp_path / "m.keras"), custom_objects={"Watch": Watch})
        assert int(loaded.optimizer.iterations) == 6 and type(loaded) is type(make_net())
        one, other = (m.predict(X, verbose=0)["kind"] for m in (loaded, model))
        np.testing.assert_array_equal(one, other)
    # and it is trained on as the model itself
    one, other = train(loaded, epochs=1).history["loss"], train(model, epochs=1).history["loss"]
    np.testing.assert_allclose(one, other, rtol=1e-5)
    other = make_net()
    other.load_weights(tmp_path / "m.weights.h5")
    assert any((a != b).any() for a, b in zip(other.get_weights(), make_net().get_weights()))

    net = reskeras.CifarResNet20(weights=None, depths=(1,), widths=(16,), strides=(1,), classes=2,
                                 input_shape=(8, 8, 3))
    net = reskeras.set_metadata(net, "cifar_resnet20.digits", ["cat", "dog"])
    same = reskeras.distributable(net)
    same.compile("sgd", "sparse_categorical_crossentropy")
    reskeras.save(same, tmp_path / "net.keras")
    for load in (keras.saving.load_model, reskeras.load):
        assert reskeras.get_metadata(load(str(tmp_path / "net.keras"))) == net.metadata == same.metadata
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert keras.models.clone_model(same).metadata == net.metadata
    assert not net.compiled


def test_a_run_that_ended_goes_on_from_its_backup(tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt
    whole = compile_net(reskeras.distributable(make_net()))
    train(whole)
    model = compile_net(reskeras.distributable(make_net()))
    with pytest.raises(KeyboardInterrupt):
        train(model, keras.callbacks.BackupAndRestore(tmp_path / "backup"), Crash())
    assert json.loads((tmp_path / "backup" / "training_metadata.json").read_text())["epoch"] == 2
    model = compile_net(reskeras.distributable(make_net()))
    history = train(model, keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    assert history.epoch == [2]
    for mine, other in zip(model.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_averages_are_swapped_as_in_keras():
    found = []
    for wrap in (lambda model: model, reskeras.distributable):
        model = compile_net(wrap(make_net()), use_ema=True, ema_momentum=0.5)
        history = train(model, keras.callbacks.SwapEMAWeights(swap_on_epoch=True)).history
        found.append([history["val_loss"], history["loss"], *map(np.ravel, model.get_weights())])
    np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(found[1]), rtol=1e-5, atol=1e-6)


def test_rates_stops_and_nan():
    rates = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: rates.append(float(look.model.optimizer.learning_rate)))
    train(compile_net(reskeras.distributable(make_net())), look,
          keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2))
    np.testing.assert_allclose(rates, [0.05] * 2 + [0.025] * 2 + [0.0125] * 2)
    rates.clear()
    train(compile_net(reskeras.distributable(make_net())), look,
          keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9))
    np.testing.assert_allclose(rates, [0.1] * 4 + [0.01] * 2, rtol=1e-6)

    model = compile_net(reskeras.distributable(make_net()))
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, restore_best_weights=True)
    history = train(model, stop, epochs=9)
    assert len(history.epoch) == 2
    assert model.evaluate(X, Y2, verbose=0)[0] == pytest.approx(history.history["val_loss"][0], rel=1e-5)

    model = compile_net(reskeras.distributable(make_net()), rate=1e30)
    history = train(model, keras.callbacks.TerminateOnNaN(), epochs=9)
    assert len(history.epoch) < 9
