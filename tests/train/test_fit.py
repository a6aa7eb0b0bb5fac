"""`reskeras.fit`: recipes on nets, by name and as they are; what it refuses; what it leaves behind."""
import dataclasses
import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.build import use_dtype_policy
from reskeras.commands.evaluate import evaluate
from reskeras.commands.predict import predict
from reskeras.errors import ArgumentError
from reskeras.train import fit
from reskeras.train.arguments import FitArguments
from reskeras.train.data import ImageDataset
from reskeras.train.loop import TrainingLoop
from reskeras.train.model_check import MODEL_FIELDS
from reskeras.train.training import Training, training_fields
from reskeras.train.recipes import CIFAR_HE, RECIPES
from reskeras.train.run_folder import check_empty, read_run_info
from reskeras.train.saved_keys import from_saved_info, to_saved_info
from reskeras.train.sources import open_source
from reskeras.train.task import Task
from reskeras.train.training_config import TrainingConfig
from reskeras.train.training_data import split_source

COLOURS = {"amber": (255, 190, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}
TINY = {"depths": (1, 1, 1), "width": 0.5}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of ten images in their colour with noise, and one file that is none."""
    place, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (place / name).mkdir()
        for i in range(10):
            pixels = np.clip(rng.normal(colour, 40, (20, 24, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(place / name / f"{i}.png")
    (place / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return place


@pytest.fixture(scope="module")
def tuned(photos, tmp_path_factory):
    """(the net before, History, folder of outputs) of a fine-tuning, that was interrupted between its two
    phases.
    """
    output = tmp_path_factory.mktemp("runs") / "tuned"
    before = reskeras.create("cifar_resnet20.digits")

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit(
            "cifar_resnet20.digits", f"folder:{photos}", validation_split=0.2, output=output,
            callbacks=[Interrupt()],
            overrides={
                "head_epochs": 1, "epochs": 2, "batch_size": 8, "learning_rate": 1e-3,
                "head_learning_rate": 1e-2},
            verbose=2)
    return before, reskeras.fit(resume=output, verbose=2), output


def test_finetune_trains_the_classifier_then_all_with_frozen_statistics(tuned):
    before, history, _ = tuned
    net, learned = history.model, set()
    for layer in net.layers:
        old = before.get_layer(layer.name)
        assert layer.trainable                                  # thawed afterwards
        for mine, theirs in zip(layer.weights, old.weights):
            if mine.shape == theirs.shape and (mine.numpy() != theirs.numpy()).any():
                learned.add(mine.name)
    # and the new classifier's bias, of another shape
    assert learned == {"kernel", "gamma", "beta"}
    assert len(history.history["val_accuracy"]) == len(history.epoch) == 3
    assert history.history["learning_rate"][0] == pytest.approx(1e-2)
    assert set(history.history) >= {"loss", "accuracy", "val_loss", "images_per_s", "waiting"}
    assert 0 <= max(history.history["waiting"]) <= 1


def test_class_names_and_preprocessing_travel(tuned, photos, capsys):
    _, history, output = tuned
    assert history.model.metadata.labels == tuple(COLOURS)
    shot = photos / "green" / "3.png"
    for model in (history.model, str(output / "best.keras")):
        found = predict(model, shot)[0]["predictions"]
        assert {p["label"] for p in found} == set(COLOURS)
    assert evaluate(str(output / "last.keras"), f"folder:{photos}").images == 30
    again = reskeras.load(output / "last.keras")
    for mine, theirs in zip(again.get_weights(), history.model.get_weights()):
        np.testing.assert_array_equal(mine, theirs)
    assert all(layer.trainable for layer in again.layers)
    about = json.loads((output / "run.json").read_text())
    assert about["data"].pop("labels") > 0      # a checksum
    assert about["data"] == {"name": f"folder:{photos}", "images": 25, "classes": list(COLOURS)}
    assert (
        about["recipe"]["sources"]["size"] == "the net's own size"
        and about["recipe"]["training"]["size"] == 16)
    page = (output / "report.html").read_text()
    assert "finetune" in page and all(colour in page for colour in COLOURS)     # in the confusion matrix


def test_a_finished_training_goes_on_to_nothing(tuned, photos, capsys, monkeypatch):
    _, history, output = tuned
    read = []
    monkeypatch.setattr(fit, "load", lambda path: read.append(path) or reskeras.load(path))
    again = reskeras.fit(resume=output, verbose=2, validation_split=0.0)
    assert read == [output / "last.keras"]
    # what is given as it is by default anyhow cannot be told from what is not given: it is said how the
    # training was begun
    assert (
        f"resuming {output}, which was started with model='cifar_resnet20.digits', data='folder:{photos}', "
        "validation_split=0.2, overrides={'head_epochs': 1,") in capsys.readouterr().out
    assert again.history == history.history and again.epoch == [0, 1, 2]
    assert again.model.metadata.labels == tuple(COLOURS)


def test_what_is_there_is_not_overwritten(tuned, photos, tmp_path):
    _, _, output = tuned
    with pytest.raises(
        ValueError, match="expected a new or empty folder; give another folder, or this one as `resume`"):
        reskeras.fit("cifar_resnet20.digits", f"folder:{photos}", output=output)
    (tmp_path / "note.txt").touch()
    with pytest.raises(ValueError, match="a new or empty folder; give another folder$"):
        reskeras.fit("cifar_resnet20.digits", f"folder:{photos}", output=tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["note.txt"]


def test_resume_says_what_is_wrong(tuned, photos, tmp_path, capsys):
    _, _, output = tuned
    with pytest.raises(FileNotFoundError, match="no training was started there"):
        reskeras.fit(resume=tmp_path)
    with pytest.raises(ValueError, match="seed=1: expected 0, with which the training in .* was started"):
        reskeras.fit(resume=output, seed=1)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "run.json").write_bytes((output / "run.json").read_bytes())
    with pytest.raises(
        FileNotFoundError,
        match="before it saved the first one; the same command with this folder as `output` starts it "
              "again"):
        reskeras.fit(resume=copy)
    assert check_empty(copy) == copy                     # and it does
    (copy / "log.csv").touch()
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        check_empty(copy)
    with pytest.raises(
        FileNotFoundError,
        match="it has no checkpoint.npz.*start a new training in another folder, with its last.keras"):
        reskeras.fit(resume=copy)
    data = bytearray((output / "checkpoint.npz").read_bytes())
    for damaged in (data[:len(data) // 2], data[:5000] + b"damage" + data[5006:], b""):
        (copy / "checkpoint.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="checkpoint.npz is damaged"):
            reskeras.fit(resume=copy)
    (copy / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json is damaged"):
        reskeras.fit(resume=copy)
    assert cli.main(["train", "--resume", str(tmp_path / "none")]) == 2
    assert "no training was started there" in capsys.readouterr().err


def test_model_must_be_what_the_recipe_trains(photos):
    options = {"weights": None, "input_shape": (32, 32, 3), "classes": 10, **TINY}
    plain = reskeras.CifarResNet20(**options)
    for recipe, field in (
        ("wrn", "block_dropout_rate=0.0, expected 0.3"), ("preact", "order='post', expected 'pre'"),
        ("stochastic_depth", "drop_path_rate=0.0, expected 0.5"),
        (
            "bag_of_tricks",
            "zero_init_residual=False, expected True; initializer='HeNormal', expected 'glorot"),
        ("resnet_rs", "bn_momentum=0.9, expected 0.0; dropout_rate=0.0, expected 0.25"),
            ("resnest", "drop_block_rate=0.0, expected 0.1")):
        with pytest.raises(ValueError, match=field):
            reskeras.fit(plain, "digits", recipe)
    blurred = reskeras.CifarResNet20(**options, antialias="blur")
    with pytest.raises(ValueError, match="antialias='blur', expected None"):
        reskeras.fit(blurred, "digits", "mosaic_medium")
    # and each is found where it is
    for recipe in RECIPES.values():
        net = reskeras.CifarResNet20(**options, **recipe.model)
        for name, value in recipe.model.items():
            found = MODEL_FIELDS[name](net.layers)
            if name == "initializer":
                assert found == "GlorotUniform"
            else:
                assert found == pytest.approx(value) if isinstance(value, float) else found == value
    with pytest.raises(ValueError, match="depths=.* cannot be read from a built model"):
        reskeras.fit(plain, f"folder:{photos}", model_overrides={"depths": (1, 1, 1, 1)})


def test_model_and_data_must_fit(photos):
    def net(**options):
        return reskeras.CifarResNet20(
            **{"weights": None, "input_shape": (32, 32, 3), "classes": 3, **TINY, **options})
    data = f"folder:{photos}"
    for model, recipe, message in (
        (net(classes=4), "cifar_he", "has 4 classes, but folder.* has 3; build it with classes=3"),
        (net(input_shape=(32, 32, 1)), "cifar_he", "takes images of 1 channels"),
        (
            net(input_shape=(16, 16, 3)), "cifar_he",
            "takes images of 16 pixels, but the recipe cifar_he trains with 32"),
        (net(input_shape=(16, 32, 3)), "cifar_he", r"takes images of 16 x 32 .* set `size` to \(16, 32"),
        (
            net(classifier_activation="sigmoid"), "cifar_he",
            "ends in 'sigmoid': expected classifier_activation='softmax'"),
        (net(include_top=False), "cifar_he", "expected a functional model"),
        (3, "cifar_he", "expected a net's name")):
        with pytest.raises((ValueError, TypeError), match=message):
            reskeras.fit(model, data, recipe, overrides={"batch_size": 8})
    with pytest.raises(
        ValueError, match="dtype='mixed_bfloat16': expected 'float32', with which .* was built"):
        reskeras.fit(net(), data, "cifar_he", dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="cifar_plain20 has no published weights"):
        reskeras.fit("cifar_plain20", data)
    with pytest.raises(ValueError, match="micro_batches=3: expected a divisor of the batch size, 8"):
        reskeras.fit(
            "cifar_resnet20", data, "cifar_he", micro_batches=3, overrides={"batch_size": 8},
            model_overrides=TINY)
    with pytest.raises(ValueError, match="expected either validation_data"):
        reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data=data, validation_split=0.1)
    with pytest.raises(ValueError, match="other classes than"):
        reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data="digits")
    with pytest.raises(TypeError, match="did you mean 'epochs'"):
        reskeras.fit("cifar_resnet20", data, "cifar_he", overrides={"epoch": 1})
    with pytest.raises(ValueError, match="did you mean 'cifar_resnet20"):
        reskeras.fit("cifar_resnet_20", data, "cifar_he")
    with pytest.raises(TypeError, match="needs a model and data"):
        reskeras.fit()


def test_fields_of_the_recipe_are_keywords():
    fields = {field.name: field for field in training_fields()}
    assert list(fields) == [f.name for f in dataclasses.fields(Training)]
    assert all(field.help.endswith(".") and len(field.help.split()) > 2 for field in fields.values())
    parameters = inspect.signature(reskeras.fit).parameters
    assert set(fields) < set(parameters) and not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert all(parameters[name].default is None for name in fields)
    with pytest.raises(TypeError, match="unknown argument epoch=5; did you mean 'epochs'"):
        reskeras.fit("cifar_resnet20", "digits", epoch=5)
    with pytest.raises(TypeError, match="unknown argument batch=5; did you mean 'batch_size'"):
        reskeras.fit("cifar_resnet20", "digits", batch=5)
    with pytest.raises(ArgumentError, match="epochs=5: expected no epochs in overrides too .there it is 3."):
        reskeras.fit("cifar_resnet20", "digits", epochs=5, overrides=["epochs=3"])
    with pytest.raises(ValueError, match="epochs='x': expected a whole number"):
        reskeras.fit("cifar_resnet20", "digits", epochs="x")
    with pytest.raises(ValueError, match="verbose=3: expected one of 0, 1, 2"):
        reskeras.fit("cifar_resnet20", "digits", verbose=3)


def test_keywords_are_saved_with_the_overrides_in_the_keys_of_before(tmp_path, capsys):
    fields = {name: value for name, value in SMALL.items() if name != "epochs"}
    history = small(
        arrays(), overrides=fields, epochs=2, ema_momentum=0.5, steps=None, output=tmp_path / "run", verbose=0
    )
    assert len(history.epoch) == 2 and capsys.readouterr().out == ""
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["arguments"]["set"] == {
        "size": 8, "test_size": 8, "augment": "", "batch": 8, "schedule": "constant", "epochs": 2, "ema": 0.5}
    assert saved["recipe"]["training"]["ema"] == 0.5 and saved["recipe"]["sources"]["ema"] == "given"
    assert {"policy", "jit", "accumulate", "model_set", "limit", "preprocess", "validation"} < set(
        saved["arguments"])
    info = read_run_info(tmp_path / "run")
    assert info["arguments"]["overrides"] == {**fields, "epochs": 2, "ema_momentum": 0.5}
    assert info["recipe"]["training"]["batch_size"] == 8 and info["strategy_argument"] == "auto"
    assert from_saved_info({**saved, "arguments": {**saved["arguments"], "set": ["batch=8"]}})["arguments"][
        "overrides"] == {"batch_size": 8}
    assert to_saved_info(info) == saved
    again = reskeras.fit(
        data=arrays(), resume=tmp_path / "run", epochs=2, ema_momentum=0.5, overrides=fields, verbose=0)
    assert again.history == history.history and capsys.readouterr().out == ""


def test_binary_loss_mixup_averages_mixed_precision_and_accumulation():
    """Much of RSB at once, on a net by name: a sigmoid for each class, LAMB, and float32 where it matters."""
    x, y = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), "uint8"), np.arange(64) % 7
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, float(logs["loss"])))
    history = reskeras.fit(
        "cifar_resnet20", (x, y), "rsb_a3", validation_data=(x, y), dtype="mixed_bfloat16", micro_batches=2,
        verbose=2, callbacks=[Look()], model_overrides=TINY,
        overrides={
            "size": 16, "test_size": 16, "epochs": 2, "batch_size": 32, "warmup": 1, "ema_momentum": 0.9,
            "augmentation": "pad_crop(16, 2)|flip|mixup(0.1)|cutmix(1.0)"})
    net = history.model
    assert [batch for batch, _ in seen] == [0, 1, 2, 3] * 2 and all(np.isfinite(value) for _, value in seen)
    assert net.get_layer("predictions").activation.__name__ == "sigmoid"
    assert net.get_layer("conv1_conv").compute_dtype == "bfloat16" and net.outputs[0].dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"            # as it was
    assert {"val_top5", "top5", "val_accuracy_raw", "val_loss_raw"} <= set(history.history)
    # the second epoch: the middle of a cosine over both, which ends with 1e-6 / 8e-3 of the rate
    rate, end = 8e-3 * (32 / 2048) ** 0.5, 1e-6 / 8e-3
    assert history.history["learning_rate"][1] == pytest.approx(rate * (end + (1 - end) * 0.5))


def test_float16_scales_its_loss():
    model = reskeras.CifarResNet20(weights=None, input_shape=(8, 8, 1), classes=2, **TINY)
    assert type(prepared(model).trainer.optimizer).__name__ == "SGD"
    with use_dtype_policy("mixed_float16"):
        model = reskeras.CifarResNet20(weights=None, input_shape=(8, 8, 1), classes=2, **TINY)
    loop = prepared(reskeras.set_metadata(model, preprocessing="cifar_resnet20.digits"))
    assert isinstance(loop.trainer.optimizer, keras.optimizers.LossScaleOptimizer)


def prepared(net):
    """A loop that is about to begin."""
    data = ImageDataset((np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2), 8, "")
    config = TrainingConfig(
        net, CIFAR_HE.training, data, None, None, 2, 0.1, 1, False, Task("multiclass", 2), [], 0, 2,
        [], None, {"learning_rate": ""})
    loop = TrainingLoop(config)
    loop.start_phase(loop.phases[0])
    return loop


def test_plateau_and_steps():
    """A training of 5 steps of 2 to an epoch; without progress the rate is divided."""
    x, y = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 2
    model = reskeras.CifarResNet20(
        weights=None, input_shape=(8, 8, 1), classes=2, classifier_activation=None, **TINY)
    history = reskeras.fit(
        model, (x, y), "he2015", verbose=2,
        overrides={
            "steps": 9, "batch_size": 8, "size": 8, "test_size": 8, "augmentation": "", "patience": 1,
            "learning_rate_scaling": "none", "learning_rate": 1e-9},
        validation_data=(x, y))
    assert len(history.epoch) == 5
    np.testing.assert_allclose(history.history["learning_rate"], [1e-9, 1e-9, 1e-10, 1e-11, 1e-12], rtol=1e-5)
    assert history.model.metadata.preprocessing and model.get_layer("predictions") is history.model.get_layer(
        "predictions")


def test_what_was_asked_for_stays():
    first = FitArguments(
        "resnet50d", (np.zeros(1), np.zeros(1)), "wrn", overrides={"epochs": 3},
        model_overrides=["depths=(1, 1)"], seed=3)
    before = json.loads(json.dumps(first.as_dict()))
    again = FitArguments(None, first.data).resume(before, "run")
    assert again.data is first.data and (again.model, again.recipe, again.seed) == ("resnet50d", "wrn", 3)
    assert (again.overrides, again.model_overrides) == ({"epochs": 3}, ["depths=(1, 1)"])
    for given, message in (
        ({}, "expected data too, which was a tuple that no file holds; give it again"),
        ({"seed": 4}, "expected 3, with which the training in run was started"),
        ({"dtype": "mixed_float16"}, "dtype='mixed_float16': expected None, with which"),
        ({"overrides": {"epochs": 4}}, "expected {'epochs': 3}, with which"),
        ({"model": "resnet18"}, "expected 'resnet50d', with which")):
        with pytest.raises(ValueError, match=message):
            FitArguments(**{"model": None, "data": first.data if given else None, **given}).resume(
                before, "run")
    for wrong in (
        {"micro_batches": 0}, {"seed": -1}, {"max_unreadable": 1.5}, {"validation_split": 1.0},
        {"micro_batches": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FitArguments("x", "y", **wrong)


def test_split_is_by_class_and_complete():
    images = open_source("digits")
    train, held = split_source(images, 0.1, seed=1)
    assert len(train) + len(held) == len(images)
    assert np.bincount(held.labels).tolist() == [round(n * 0.1) for n in np.bincount(images.labels)]
    assert (split_source(images, 0.1, seed=1)[1].images == held.images).all()
    assert not np.array_equal(split_source(images, 0.1, seed=2)[1].images, held.images)


def arrays(number=24, classes=3):
    return np.random.default_rng(0).integers(0, 256, (number, 8, 8, 3), "uint8"), np.arange(number) % classes


SMALL = {"size": 8, "test_size": 8, "augmentation": "", "batch_size": 8, "epochs": 1, "schedule": "constant"}


def small(data, **options):
    return reskeras.fit(
        "cifar_resnet20", data, "cifar_he",
        **{
            "verbose": 2, "overrides": SMALL, "model_overrides": {"depths": (1, 1, 1), "width": 0.25},
            **options})


def test_an_unreadable_image_of_the_validation_counts_once(photos):
    """Not once in each epoch, until there are more than the limit."""
    history = small(f"folder:{photos}", validation_data=f"folder:{photos}", max_unreadable=1,
                    overrides={**SMALL, "epochs": 3, "augmentation": "resize(8)"})
    assert len(history.history["val_loss"]) == 3


@pytest.mark.parametrize(
    "data, options, message",
    [
        (
            arrays(), {"validation_data": arrays(classes=5)},
            r"arrays: label 4 is not one of 0 \.\.\. 2, the classes of arrays"),
        (arrays(classes=1), {}, "arrays has one class: expected two or more"),
        (arrays(), {"seed": 2**31}, "seed=2147483648: expected a whole number below 2147483648"),
        (
            arrays(8), {"micro_batches": 4, "overrides": {**SMALL, "batch_size": 32}},
            "micro_batches=4: expected at most 1, the number of batches")],
    ids=["classes of the validation", "one class", "seed", "no update"])
def test_what_would_train_on_nothing_is_refused(data, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        small(data, **options)


def test_a_batch_for_the_replicas_is_checked_before_anything_is_written(tmp_path):
    class Three(tf.distribute.OneDeviceStrategy):
        num_replicas_in_sync = 3
    with pytest.raises(ValueError, match="batch_size=8: expected a multiple of the 3 replicas"):
        small(arrays(), strategy=Three("CPU:0"), output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_goes_on_as_it_was_begun(tmp_path):
    """What no file holds, a model and a recipe of one's own, is not replaced by what stands there for
    nothing.
    """
    def net():
        made = reskeras.CifarResNet20(weights=None, input_shape=(8, 8, 3), classes=3, **TINY)
        return reskeras.set_metadata(made, preprocessing="cifar_resnet20.digits")
    data, output = arrays(), tmp_path / "run"
    own = CIFAR_HE.override({**SMALL, "epochs": 2})

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit(net(), data, own, output=output, callbacks=[Interrupt()], verbose=2)
    with pytest.raises(
        ValueError, match="arrays: classes are 4, but the training was started with 3; start a new training"):
        reskeras.fit(net(), arrays(classes=4), resume=output, verbose=2)
    with pytest.raises(ValueError, match="arrays: images are 25, but the training was started with 24"):
        reskeras.fit(net(), arrays(25), resume=output, verbose=2)
    done = reskeras.fit(net(), data, resume=output, verbose=2)
    assert done.epoch == [0, 1] and done.history["learning_rate"] == pytest.approx([0.1 * 8 / 128] * 2)
    # nothing is left to do, and the net is the trained one
    again = reskeras.fit(net(), data, resume=output, verbose=2)
    for mine, theirs in zip(again.model.get_weights(), done.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_two_do_not_train_in_one_folder(tmp_path):
    data = arrays()

    class Second(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with pytest.raises(ValueError, match="another process trains there"):
                reskeras.fit(data=data, resume=tmp_path / "run", verbose=2)
            with pytest.raises(ValueError, match="expected a new or empty folder"):
                small(data, output=tmp_path / "run")
    small(data, output=tmp_path / "run", callbacks=[Second()])
    assert reskeras.fit(data=data, resume=tmp_path / "run", verbose=2).epoch == [0]


LAST_BATCH = """
import os, signal, sys, keras, numpy as np, reskeras

class Last(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)

fields = dict(size=8, test_size=8, augmentation="", batch_size=8, epochs=0, steps=5, schedule="constant")
images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), "uint8"), np.arange(24) % 3
reskeras.fit("cifar_resnet20", images, "cifar_he", verbose=2, overrides=fields,
             model_overrides=dict(depths=(1, 1, 1), width=0.25), output=sys.argv[1], callbacks=[Last()])
print("not terminated")
"""


def test_terminated_at_the_very_last_batch(tmp_path):
    """Of a training of 5 steps of 3 to an epoch the last one ends at its second: there is no batch left to go
    on with.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAST_BATCH, str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0 and "not terminated" not in done.stdout, done.stderr[-2000:]
    assert "to resume: reskeras train --resume" in done.stdout
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 8, 8, 3), "uint8"), np.arange(24) % 3
    history = reskeras.fit(data=images, resume=tmp_path / "run", verbose=2).history
    assert len(history["loss"]) == len(history["accuracy"]) == 2


def test_an_epoch_without_a_whole_batch_is_said(photos):
    with pytest.raises(
        ValueError, match="has too few readable images for one batch; these cannot be read: .*broken.png"):
        small(f"folder:{photos}", overrides={**SMALL, "batch_size": 31, "augmentation": "resize(8)"})
