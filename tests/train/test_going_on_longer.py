"""`resume=FOLDER, epochs=N`: a training goes on beyond its old end, as a longer one would have gone."""
import json

import keras
import numpy as np
import pytest
import small_training

import reskeras
from reskeras import cli
from reskeras.train.checkpoint import load_checkpoint

FIELDS = dict(augmentation="resize(8)", size=8, warmup=1, batch_size=16, deterministic=True,
              ema_momentum=0.5, ema_rule="constant", clipnorm=0.5, layer_decay=0.5,
              preprocessing="cifar_resnet20.digits")


class Stop(keras.callbacks.Callback):
    """Ends the process amid an epoch, as a Ctrl-C does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.when = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of images, which the shell can name too."""
    images, labels = small_training.make_images(70)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x_train=images[:64], y_train=labels[:64], x_test=images, y_test=labels)
    return f"npz:{path}"


def fit(data, **options):
    start = {} if "resume" in options else dict(
        model="cifar_resnet20", data=data, recipe="digits", validation_data=data,
        model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), **FIELDS)
    return reskeras.fit(**{**start, "verbose": 0, **options})


def read(folder):
    return json.loads((folder / "run.json").read_text())


def check_same(one, other):
    """That two runs have the same checkpoint and results, to the bit."""
    (arrays, state), (others, other_state) = (load_checkpoint(f / "checkpoint.npz") for f in (one, other))
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
    for name in ("loss", "val_loss", "learning_rate"):
        assert state["history"][name] == other_state["history"][name]


def test_as_a_run_of_the_new_length_to_the_bit(data, tmp_path):
    """Also if it is stopped again after the old end; the second milestone lies beyond it."""
    schedule = dict(schedule="step", milestones=(1, 3), momentum=0.9)
    fit(data, output=tmp_path / "whole", epochs=4, **schedule)
    fit(data, output=tmp_path / "parts", epochs=2, **schedule)
    with pytest.raises(KeyboardInterrupt):
        fit(data, resume=tmp_path / "parts", epochs=4, callbacks=[Stop(3, 2)], save_every=1)
    assert load_checkpoint(tmp_path / "parts/checkpoint.npz")[1]["step"] == 2
    history = fit(data, resume=tmp_path / "parts", epochs=4)        # the same call again
    assert len(read(tmp_path / "parts")["continued"]) == 1
    assert len(history.epoch) == 4
    check_same(tmp_path / "whole", tmp_path / "parts")


def test_cosine_and_two_changes(data, tmp_path, capsys):
    """A cosine goes on as that of the longer training; run.json, the terminal and the report say so."""
    fit(data, output=tmp_path / "run", epochs=1, warmup=0, schedule="cosine")
    assert cli.main(["train", "--resume", str(tmp_path / "run"), "--epochs", "3", "--verbose", "2"]) == 0
    out = capsys.readouterr().out
    assert "epochs=3 instead of 1, from epoch 2 on: the learning rate was " in out
    info = read(tmp_path / "run")
    assert info["recipe"]["training"]["epochs"] == info["arguments"]["set"]["epochs"] == 3
    change, = info["continued"]
    assert (change["unit"], change["before"], change["after"], change["epochs_done"]) == ("epochs", 1, 3, 1)
    full = info["recipe"]["training"]["rate"] * 16 / info["recipe"]["training"]["rate_batch"]
    cosine = [full * 0.5 * (1 + np.cos(np.pi * step / 12)) for step in range(12)]
    rates = load_checkpoint(tmp_path / "run/checkpoint.npz")[1]["history"]["learning_rate"]
    np.testing.assert_allclose(rates[1:], [cosine[7], cosine[11]], rtol=1e-5)
    assert f"is now {cosine[4]:.6g}" in change["learning_rate"]
    assert "is now" in (tmp_path / "run/report.html").read_text()

    history = fit(data, resume=tmp_path / "run", epochs=4)
    assert len(history.epoch) == 4 and [c["after"] for c in read(tmp_path / "run")["continued"]] == [3, 4]


@pytest.mark.slow
def test_steps_that_ended_amid_an_epoch(data, tmp_path):
    """6 steps of 4 in an epoch: the seventh begins an epoch, and the rates go on."""
    fields = dict(schedule="step", milestones=(3, 8), warmup=0)
    fit(data, output=tmp_path / "run", steps=6, **fields)
    history = fit(data, resume=tmp_path / "run", steps=11)
    assert read(tmp_path / "run")["continued"][0]["steps_done"] == 6
    assert len(history.epoch) == 4
    arrays, info = load_checkpoint(tmp_path / "run/checkpoint.npz")
    names = [name for name, _, _ in info["variables"]["optimizer"]]
    assert arrays[f"optimizer/{names.index('iteration')}"] == 11
    rates = np.array(history.history["learning_rate"])
    np.testing.assert_allclose(rates / rates[0], [1, 1, 0.1, 0.1], rtol=1e-5)


def test_refusals(data, tmp_path, capsys):
    fit(data, output=tmp_path / "run", epochs=2, warmup=0)
    with pytest.raises(ValueError, match="epochs=1: expected at least 2, the epochs that the training in"):
        fit(data, resume=tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="steps=50: expected epochs instead"):
        fit(data, resume=tmp_path / "run", steps=50)
    with pytest.raises(ValueError, match="overrides=.*expected .*with which the training"):
        fit(data, resume=tmp_path / "run", epochs=3, batch_size=8)
    assert cli.main(["train", "--resume", str(tmp_path / "run"), "--epochs", "0.5"]) == 2
    assert "--epochs 0.5: expected a whole number" in capsys.readouterr().err
    info = read(tmp_path / "run")
    assert "continued" not in info and len(fit(data, resume=tmp_path / "run").epoch) == 2

    info["continued"] = [{"unit": "steps", "before": 1, "after": 2, "epochs_done": 1, "steps_done": -4}]
    (tmp_path / "run/run.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="run.json is damaged .*steps_done=-4: expected a whole number"):
        fit(data, resume=tmp_path / "run")
