"""Averages of the weights: what they begin with, what is saved, and that a short training has them too."""
import csv
import warnings

import keras
import numpy as np
import pytest

import reskeras
from reskeras.train.averages import AverageSchedule, describe_unsettled_average
from reskeras.train.recipes import RECIPES
from reskeras.train.resnet_rs import RESNET_RS
from reskeras.train.training import Training

IMAGENET = 1_281_167
SMALL = dict(size=8, test_size=8, augmentation="resize(8)", batch_size=64)
TINY = dict(depths=(1,), widths=(16,), strides=(1,))


def shares(training, steps_per_epoch, updates, micro_batches=1):
    schedule = AverageSchedule(training, steps_per_epoch, micro_batches)
    return keras.ops.convert_to_numpy(schedule.compute_share(np.arange(1, updates + 1)))


def test_how_averages_begin():
    n = np.arange(1, 1001)
    found = shares(RESNET_RS.training, 312, 1000)
    np.testing.assert_allclose(1 - found, np.minimum(0.9999, (1 + n) / (10 + n)), atol=1e-6)
    timm = shares(Training(epochs=1, ema_momentum=0.99, ema_rule="timm"), 1000, 1000)
    np.testing.assert_allclose(1 - timm, np.minimum(0.99, 1 - n ** (-2 / 3)), atol=1e-6)
    constant = shares(Training(epochs=1, ema_momentum=0.9, ema_rule="constant", ema_steps=3), 4, 8)
    np.testing.assert_allclose(constant, [1, 0, 0, 0.1, 0.1, 0, 0, 0.1], atol=1e-6)


def test_how_torchvision_averages():
    """Every 32nd batch of an epoch, beginning with its first; the weights themselves during the warm-up."""
    found = shares(RECIPES["tv2"].training, 1251, 1251 * 7).reshape(7, 1251)
    assert not np.delete(found, np.arange(0, 1251, 32), axis=1).any()
    due = found[:, ::32]
    assert (due[:5] == 1).all() and due[5, 0] == 1      # the first after the warm-up still is a copy
    np.testing.assert_allclose(due[5, 1:], 2e-5 * 1024 * 32 / 600, rtol=1e-5)
    np.testing.assert_allclose(due[6], 2e-5 * 1024 * 32 / 600, rtol=1e-5)


def test_updates_of_micro_batches_belong_to_the_epoch_in_which_they_end():
    training = Training(epochs=1, ema_momentum=0.9, ema_rule="constant", ema_steps=2)
    # 5 batches of an epoch, 2 of them make an update: the updates end in the batches 1, 3, 5, 7, 9
    np.testing.assert_allclose(shares(training, 5, 5, micro_batches=2), [1, 0, 0.1, 0, 0.1], atol=1e-6)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.training.ema_momentum])
def test_averages_of_the_papers_trainings_are_settled(name):
    training = RECIPES[name].training
    assert not describe_unsettled_average(training, IMAGENET // training.batch_size, 1)


def test_an_average_that_cannot_settle_is_told():
    for rule in ("constant", "keras"):
        short = Training(epochs=6, ema_momentum=0.9999, ema_rule=rule)
        text = describe_unsettled_average(short, 21, 1)
        assert text.startswith(f"ema_momentum=0.9999 with ema_rule='{rule}': at the end, after 126 updates,")
        assert "give ema_momentum=0.96 or less" in text
    short = Training(epochs=6, warmup=5, ema_momentum=0.99998, ema_rule="torchvision", ema_steps=32)
    assert "train longer" in describe_unsettled_average(short, 21, 1)
    assert not describe_unsettled_average(Training(epochs=6, ema_momentum=0.9999), 21, 1)
    assert not describe_unsettled_average(Training(epochs=6), 21, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training with the average of a long one."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "ema_momentum")
        history = reskeras.fit(
            "cifar_resnet20", "digits", "digits", validation_data="digits", epochs=4, warmup=1,
            ema_momentum=0.9999, output=folder, verbose=0, model_overrides=TINY, **SMALL)
    return folder, history


def test_a_short_training_has_averages(run):
    """They were an untrained net, at chance, without a word."""
    history = run[1].history
    assert history["val_accuracy_raw"][-1] > 0.7
    assert abs(history["val_accuracy"][-1] - history["val_accuracy_raw"][-1]) < 0.1


def test_files_of_the_averages_and_of_the_weights_themselves(run):
    folder, history = run
    names = ("last", "last_raw", "best", "best_raw")
    nets = {name: reskeras.load(folder / f"{name}.keras") for name in names}
    for saved, own in zip(nets["last"].weights, history.model.weights):
        np.testing.assert_array_equal(saved, own)
    # statistics of batch normalization are averaged too
    different = {v.path.rsplit("/", 1)[1] for v, raw in zip(nets["last"].weights, nets["last_raw"].weights)
                 if np.abs(np.asarray(v) - np.asarray(raw)).max() > 1e-6}
    assert {"kernel", "gamma", "moving_mean", "moving_variance"} <= different
    with open(folder / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert {"val_accuracy", "val_accuracy_raw", "val_loss_raw"} <= rows[-1].keys()


def test_a_warning_before_the_first_step():
    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise KeyboardInterrupt
    told = pytest.warns(UserWarning, match="100% of the averaged weights are still those")
    with told, pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", "digits", "digits", epochs=2, warmup=1, ema_momentum=0.9999,
                     ema_rule="constant", verbose=0, model_overrides=TINY, callbacks=[Stop()], **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_averages_under_every_recipe(name):
    """The loss falls, and the averages end not two points below the weights, or there was a warning."""
    fields = {} if RECIPES[name].training.ema_momentum else {"ema_momentum": 0.999}
    if name.startswith(("bag_of", "resne", "rsb_")) and name != "resnext":
        fields["base_batch_size"] = 64      # else the rate would be a small part of the recipe's
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = reskeras.fit(
            # an average follows a net that still learns fast by many updates: LAMB is slower here
            "cifar_resnet20", "digits", name, validation_data="digits", epochs=24 if "rsb" in name else 12,
            warmup=0 if name == "he2015" else 2, size=16, test_size=16, test_crop_pct=1.0, batch_size=64,
            augmentation="affine(0.26, 0.1, 0.1)", weights="none", verbose=0,
            model_overrides={"depths": (1, 1, 1)}, **fields).history
    assert history["loss"][-1] < history["loss"][0]
    is_warned = any("averaged weights" in str(warning.message) for warning in caught)
    assert is_warned or history["val_accuracy"][-1] > history["val_accuracy_raw"][-1] - 0.02


@pytest.mark.slow
def test_resnet_rs_on_digits():
    history = reskeras.fit(
        "cifar_resnet20", "digits", "resnet_rs", validation_data="digits", epochs=30, warmup=2, size=16,
        test_size=16, test_crop_pct=1.0, augmentation="affine(0.26, 0.1, 0.1)", batch_size=64,
        learning_rate=0.4, verbose=0, model_overrides={"depths": (1, 1, 1)}).history
    assert history["val_accuracy"][-1] > 0.95
