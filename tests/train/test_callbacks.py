"""Keras' callbacks in `fit` do what they do in Keras' own `fit`, or are refused before the first batch."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras.errors import ArgumentError
from reskeras.train.callback_checks import check_callbacks
from reskeras.train.training import Training

rng = np.random.default_rng(0)
DATA = rng.integers(0, 256, (24, 8, 8, 3), "uint8"), np.arange(24) % 3
BEGIN = {"model": "cifar_resnet20", "recipe": "cifar_he", "validation_data": DATA, "verbose": 0,
         "size": 8, "test_size": 8, "augmentation": "", "batch_size": 8, "epochs": 3, "schedule": "constant",
         "learning_rate": 0.1, "base_batch_size": 8, "momentum": 0.0, "weight_decay": 0.0,
         "deterministic": True,
         "model_overrides": {"depths": (1,), "widths": (16,), "strides": (1,), "norm": "batch"}}


def fit(*callbacks, resume=None, **options):
    if resume:
        return reskeras.fit(data=DATA, validation_data=DATA, resume=resume, verbose=0, callbacks=callbacks)
    return reskeras.fit(data=DATA, **{**BEGIN, **options}, callbacks=callbacks)


class Rates(keras.callbacks.Callback):
    """The learning rate of each batch."""

    def __init__(self, interrupt=None):
        super().__init__()
        self.rates, self.interrupt = [], interrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.interrupt:
            raise KeyboardInterrupt
        self.rates.append(round(float(self.model.optimizer.learning_rate), 6))


def plateau(factor=0.1):
    """A ReduceLROnPlateau for which every epoch after the first is a plateau."""
    return keras.callbacks.ReduceLROnPlateau("loss", factor=factor, patience=1, min_delta=1e9)


@pytest.mark.parametrize("options", [
    {}, pytest.param({"dtype": "mixed_float16"}, marks=pytest.mark.slow)])
def test_what_is_saved_is_the_net(options, tmp_path):
    """And what callbacks see: in float16 the model to train has other policies than the net alone."""
    seen = []

    def look(epoch, logs):
        model = look.callback.model
        seen.append((model.metadata.labels, model.optimizer is not None, model.name))
        reskeras.save(model, tmp_path / "own.keras")
        keras.saving.save_model(model, tmp_path / "keras.keras")
    look.callback = keras.callbacks.LambdaCallback(on_epoch_end=look)
    files = [tmp_path / "{epoch}.keras", tmp_path / "best.keras", tmp_path / "whole.h5"]
    history = fit(*(keras.callbacks.ModelCheckpoint(f, save_best_only=f.stem == "best") for f in files),
                  keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
                  look.callback, epochs=2, learning_rate=1e-3, **options)
    net, x = history.model, DATA[0][:5].astype("float32")
    assert seen == [(net.metadata.labels, True, net.name)] * 2
    assert history.model.metadata.preprocessing is not None
    expected = net.predict(x, verbose=0)
    for name in ("2.keras", "whole.h5", "own.keras", "keras.keras"):
        for load in (keras.saving.load_model, *([reskeras.load] if name.endswith("keras") else [])):
            loaded = load(str(tmp_path / name))
            assert reskeras.get_metadata(loaded) == net.metadata and not loaded.compiled
            np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
            assert type(loaded) is type(net)
    assert (reskeras.load(tmp_path / "1.keras").predict(x, verbose=0) != expected).any()
    other = keras.models.clone_model(net)
    other.load_weights(tmp_path / "last.weights.h5")
    np.testing.assert_array_equal(other.predict(x, verbose=0), expected)


def test_a_file_of_frozen_layers_is_not_frozen(tmp_path):
    rates = Rates()
    net = reskeras.CifarResNet20(weights=None, classes=3, input_shape=(8, 8, 3), depths=(1,), widths=(16,),
                                 strides=(1,))
    fit(keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"), rates, model=net, model_overrides=(),
        recipe="finetune", preprocessing="cifar_resnet20.digits", head_epochs=1, epochs=1,
        head_learning_rate=0.5, freeze_statistics=True, optimizer="sgd", learning_rate_scaling="none")
    for name in ("1.keras", "2.keras"):
        assert all(layer.trainable for layer in reskeras.load(tmp_path / name).layers)
    assert rates.rates == [0.5] * 3 + [0.1] * 3


@pytest.mark.parametrize("schedule", [
    {}, pytest.param({"schedule": "plateau", "patience": 50}, marks=pytest.mark.slow)])
def test_callbacks_set_the_rate(schedule, tmp_path):
    """In each epoch; also where a run was interrupted, within an epoch and (slow) between two."""
    def scheduler():
        return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    whole, halved = Rates(), [0.05] * 3 + [0.025] * 3 + [0.0125] * 3
    history = fit(scheduler(), whole, **schedule)
    assert whole.rates == halved
    np.testing.assert_allclose(history.history["learning_rate"], halved[::3], rtol=1e-6)
    for place, (epoch, batch) in enumerate([(1, 2), (2, 0)] if schedule else [(1, 2)]):
        output, first, second = tmp_path / str(place), Rates((epoch, batch)), Rates()
        with pytest.raises(KeyboardInterrupt):
            fit(scheduler(), first, output=output, save_every=1, **schedule)
        resumed = fit(scheduler(), second, resume=output)
        assert first.rates + second.rates == halved
        for mine, other in zip(resumed.model.get_weights(), history.model.get_weights()):
            np.testing.assert_allclose(mine, other, atol=1e-6)


def test_a_plateau_is_used_and_kept(tmp_path):
    whole, first, second = Rates(), Rates((2, 1)), Rates()
    fit(plateau(), whole, epochs=4)
    assert whole.rates == [0.1] * 6 + [0.01] * 3 + [0.001] * 3
    with pytest.raises(KeyboardInterrupt):
        fit(plateau(), first, epochs=4, output=tmp_path / "run", save_every=1)
    fit(plateau(), second, resume=tmp_path / "run")
    assert first.rates + second.rates == [0.1] * 6 + [0.01] * 6     # the callback itself begins anew


def test_the_recipe_and_a_callback_lower_the_rate_together():
    """A plateau of the recipe lowers what the callback has left."""
    rates = Rates()
    fit(plateau(0.5), rates, schedule="plateau", patience=1, decay_factor=0.1, learning_rate=0.0, epochs=3,
        base_batch_size=1)
    assert rates.rates == [0.0] * 9
    rates = Rates()

    class Once(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = 1e-3
    fit(Once(), rates, schedule="plateau", patience=1, learning_rate=1e-5, epochs=3)
    assert rates.rates[:6] == [1e-5] * 3 + [1e-3] * 3 and rates.rates[6] in (1e-3, 1e-4)


def test_a_checkpoint_without_the_constant_rate_is_resumed(tmp_path):
    """Earlier versions saved none."""
    with pytest.raises(KeyboardInterrupt):
        fit(Rates((1, 1)), output=tmp_path / "run", save_every=1, momentum=0.9)
    file = tmp_path / "run" / "checkpoint.npz"
    arrays = dict(np.load(file))
    about = json.loads(arrays["about"].tobytes())
    names = [name for name, _, _ in about["variables"]["optimizer"]]
    place = names.index("learning_rate")
    del about["variables"]["optimizer"][place]
    for i in range(place, len(names) - 1):
        arrays[f"optimizer/{i}"] = arrays[f"optimizer/{i + 1}"]
    del arrays[f"optimizer/{len(names) - 1}"]
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), "uint8")
    np.savez(file, **arrays)
    resumed, whole = fit(resume=tmp_path / "run"), fit(momentum=0.9)
    for mine, other in zip(resumed.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("callback", [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), plateau()])
@pytest.mark.parametrize("options, field", [
    ({"schedule": "step"}, "schedule='step': expected 'constant'"),
    ({"schedule": "cosine"}, "schedule='cosine': expected 'constant' with the callback"),
    ({"warmup": 1}, r"warmup=1\.0: expected 0 with the callback"),
    ({"recipe": "finetune", "schedule": "cosine", "model_overrides": (), "model": "cifar_resnet20.digits"},
     "schedule='cosine'")])
def test_two_schedules_are_refused(callback, options, field, tmp_path):
    options = {"head_epochs": 1, **options} if "model" in options else options
    with pytest.raises(ArgumentError, match=field) as error:
        fit(callback, output=tmp_path / "run", **options)
    assert type(callback).__name__ in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("options, text", [
    ({"schedule": "cosine"}, "schedule='cosine': expected 'constant', because a callback sets the learning"),
    ({"warmup": 1}, r"warmup=1\.0: expected 0, because a callback sets the learning rate too")])
def test_a_callback_of_ones_own_says_what_it_needs(options, text):
    class Own(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.01
    with pytest.raises(ArgumentError, match=text):
        fit(Own(), **options)
    rates = Rates()
    fit(Own(), rates, epochs=1)
    assert rates.rates == [0.01] * 3


@pytest.mark.parametrize("callback, text", [
    (keras.callbacks.BackupAndRestore("backup"), "give a folder as `output`, and later the same folder"),
    (keras.callbacks.SwapEMAWeights(), "averaged weights of a recipe with ema_momentum"),
    (print, "expected Keras callbacks, such as")])
def test_what_fit_does_itself_is_refused(callback, text, tmp_path):
    with pytest.raises(ArgumentError, match=text):
        fit(callback, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_needs_its_package(monkeypatch, tmp_path):
    """Without it the training would end in its first batch."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="TensorBoard needs tensorboard: pip install tensorboard;"):
        check_callbacks([keras.callbacks.TensorBoard(tmp_path)], Training(epochs=1))


def test_the_other_callbacks_are_taken():
    mine = [keras.callbacks.EarlyStopping(), keras.callbacks.TerminateOnNaN(), keras.callbacks.Callback()]
    check_callbacks(mine, Training(epochs=1, schedule="cosine"))


class Spoil(keras.callbacks.Callback):
    """Makes the second epoch's loss NaN."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.trainable_variables[-1].assign([np.nan] * 3)


def test_terminate_on_nan_ends_with_the_epochs_before(tmp_path):
    ended = []
    log = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(True))
    with pytest.warns(UserWarning, match="the loss of .* became nan in step 1 of epoch 2"):
        history = fit(keras.callbacks.TerminateOnNaN(), Spoil(), log, output=tmp_path / "run")
    assert history.epoch == [0] and len(history.history["loss"]) == 1 and ended == [True]
    assert np.isfinite(reskeras.load(tmp_path / "run" / "last.keras").get_weights()[-1]).all()
    for callbacks in ([], [keras.callbacks.TerminateOnNaN(raise_error=True)]):
        with pytest.raises(FloatingPointError, match="became nan in step 1 of epoch 2"):
            fit(Spoil(), *callbacks)


def test_early_stopping_restores_the_weights_that_were_best():
    """Of an average too: those that were validated."""
    for averaging in ({}, {"ema_momentum": 0.5}):
        kept = []

        def keep(epoch, logs, kept=kept):
            kept.append(log.model.get_weights())
        log = keras.callbacks.LambdaCallback(on_epoch_end=keep)
        stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True, min_delta=1e9)
        history = fit(log, stop, epochs=9, **averaging)
        assert len(history.epoch) == 2
        for mine, best in zip(history.model.get_weights(), kept[0]):
            np.testing.assert_array_equal(mine, best)
        history.model.compile(loss=keras.losses.SparseCategoricalCrossentropy())
        x = np.concatenate([b for b, _ in history.validation.iterate_batches()])
        loss = history.model.evaluate(x, DATA[1], verbose=0)
        assert loss == pytest.approx(history.history["val_loss"][0], rel=1e-4)


@pytest.mark.parametrize("when, epochs, batches", [("on_epoch_begin", 2, 4), ("on_train_batch_end", 1, 2)])
def test_stop_training_works_at_any_time(when, epochs, batches):
    """As in Keras: asked for at the begin of an epoch, its first batch is trained still."""
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(batch)
    stop = Stop()
    setattr(stop, when, lambda number, logs=None: setattr(
        stop.model, "stop_training", stop.model.stop_training or number == 1))
    history = fit(stop)
    assert len(history.epoch) == epochs and len(seen) == batches


def test_logs_profile_and_lambda(tmp_path):
    """TensorBoard writes events and a profile; CSVLogger its rows; every event reaches a LambdaCallback."""
    pytest.importorskip("tensorboard")
    seen = []
    events = {f"on_{name}": lambda *a, name=name, **k: seen.append(name)
              for name in ("train_begin", "train_end", "epoch_begin", "epoch_end", "train_batch_begin",
                           "train_batch_end")}
    board = keras.callbacks.TensorBoard(tmp_path / "board", profile_batch=(1, 2), histogram_freq=1,
                                        write_steps_per_second=True, update_freq=1)
    fit(board, keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.LambdaCallback(**events),
        epochs=2)
    assert seen[0] == "train_begin" and seen[-1] == "train_end"
    assert seen.count("train_batch_begin") == seen.count("train_batch_end") == 6
    assert seen.count("epoch_begin") == seen.count("epoch_end") == 2
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    assert len(rows) == 3 and {"epoch", "accuracy", "loss", "val_loss", "learning_rate"} <= set(rows[0])
    assert list((tmp_path / "board").rglob("*.xplane.pb"))
    tags = set()
    for file in (tmp_path / "board").rglob("events.out*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate", "batch_loss"} <= tags
