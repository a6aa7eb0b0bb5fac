"""Early stopping as a field: the epochs and the weights of Keras' own callback, also of a resumed run."""
import json
import re

import keras
import numpy as np
import pytest
import small_training

import reskeras
from reskeras import cli
from reskeras.train.checkpoint import load_checkpoint

# labels at random, so that the validation gets worse soon
IMAGES, LABELS = small_training.make_images(64)
DATA = IMAGES[:32, ::2, ::2], LABELS[:32] % 4
HELD = IMAGES[32:, ::2, ::2], np.random.default_rng(0).integers(0, 4, 32)
OPTIONS = dict(recipe="digits", validation_data=HELD, size=8, test_size=8, augmentation="", batch_size=8,
               warmup=0, epochs=12, learning_rate=0.3, schedule="constant", verbose=0, deterministic=True,
               model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)))
RULE = dict(early_stopping=2, restore_best_weights=True)


class Stop(keras.callbacks.Callback):
    """Ends the process after the first batch of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, 1):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A training with Keras' callback, and one that is stopped while it waits and then resumed."""
    folder = tmp_path_factory.mktemp("runs")
    callback = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    theirs = reskeras.fit("cifar_resnet20", DATA, callbacks=[callback], **OPTIONS)
    best = int(np.argmin(theirs.history["val_loss"]))
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", DATA, output=folder / "run", callbacks=[Stop(best + 2)], **OPTIONS,
                     **RULE)
    resumed = reskeras.fit(data=DATA, validation_data=HELD, resume=folder / "run", verbose=0)
    return theirs, resumed, best, folder / "run"


def test_epochs_and_weights_are_those_of_keras(kept):
    theirs, ours, best, run = kept
    assert len(ours.epoch) == len(theirs.epoch) == best + 3 < 12
    np.testing.assert_array_equal(ours.history["val_loss"], theirs.history["val_loss"])
    for files in (ours.model, reskeras.load(run / "last.keras")):
        for one, other in zip(files.get_weights(), theirs.model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    arrays, info = load_checkpoint(run / "checkpoint.npz")
    assert info["is_stopped"] and len(info["variables"]["best_weights"]) == len(info["variables"]["model"])
    # the checkpoint itself goes on from the last epoch
    assert any((arrays[f"best_weights/{i}"] != arrays[f"model/{i}"]).any()
               for i in range(len(info["variables"]["model"])))


@pytest.mark.slow
def test_a_run_that_has_stopped_is_finished_until_it_is_made_longer(kept):
    _, ours, best, run = kept
    again = reskeras.fit(data=DATA, validation_data=HELD, resume=run, verbose=0)
    assert again.epoch == ours.epoch
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit(data=DATA, validation_data=HELD, resume=run, epochs=20, verbose=0,
                     callbacks=[Stop(len(ours.epoch))])
    assert load_checkpoint(run / "checkpoint.npz")[1]["is_stopped"]         # nothing was saved since
    longer = reskeras.fit(data=DATA, validation_data=HELD, resume=run, verbose=0)
    done = len(ours.epoch)
    losses = longer.history["val_loss"]
    assert done < len(losses) <= 20 and load_checkpoint(run / "checkpoint.npz")[1]["continued_at"] == [done]
    waited, lowest = 0, min(losses[:done])      # the best loss stays, the count begins again
    for epoch, loss in enumerate(losses[done:], done + 1):
        waited, lowest = (0, loss) if loss < lowest else (waited + 1, lowest)
        assert (waited == 2) == (epoch == len(losses)) or epoch == 20


def test_in_the_shell_by_accuracy(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x_train=DATA[0], y_train=DATA[1], x_test=HELD[0], y_test=HELD[1])
    words = ["train", "cifar_resnet20", "--recipe", "digits", "--data", f"npz:{tmp_path / 'images.npz'}",
             "--size", "8", "--test-size", "8", "--augmentation", "", "--batch-size", "32", "--warmup", "0",
             "--epochs", "9", "--learning-rate", "0", "--verbose", "2", "--model-overrides", "depths=(1,)",
             "--model-overrides", "widths=(16,)", "--model-overrides", "strides=(1,)", "--early-stopping",
             "3", "--layer-decay", "0.5", "--clipvalue", "0.25"]
    assert cli.main([*words, "--early-stopping-monitor", "accuracy", "--output", str(tmp_path / "run")]) == 0
    # one batch, and nothing is learned: the first epoch is the best, three more follow
    assert re.search(r"^ended after epoch 4, because accuracy made no progress in 3 epochs; its best is "
                     r"0\.?\d*, in epoch 1$", capsys.readouterr().out, re.M)
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 1 + 4
    fields = json.loads((tmp_path / "run/run.json").read_text())["recipe"]["training"]
    assert (fields["layer_decay"], fields["clipvalue"], fields["early_stopping"]) == (0.5, 0.25, 3)
    assert cli.main([*words, "--output", str(tmp_path / "other")]) == 2
    text = "--early-stopping-monitor val_loss: expected 'loss' or 'accuracy', because"
    assert text in capsys.readouterr().err
    with pytest.raises(ValueError, match="early_stopping_monitor='val_acc': expected one of val_loss, .*"
                                         "did you mean 'val_accuracy'"):
        reskeras.fit("cifar_resnet20", DATA, **OPTIONS, **RULE, early_stopping_monitor="val_acc")
    with pytest.raises(ValueError, match="restore_best_weights=True: expected False without early_stopping"):
        reskeras.fit("cifar_resnet20", DATA, **OPTIONS, restore_best_weights=True)
