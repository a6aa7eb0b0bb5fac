"""A training that is terminated, then killed, then gone on with, against one that nobody disturbed: equal to
the bit.
"""
import json
import subprocess
import sys

import numpy as np
import pytest

from reskeras.train import checkpoint

# drop path and mixup draw at random, averages and momentum are state, and 5 steps of 8 are amid an epoch and
# an accumulation
CHILD = """
import os, signal, sys, keras, reskeras

class At(keras.callbacks.Callback):
    def __init__(self, epoch, batch, number):
        super().__init__()
        self.when, self.number, self.epoch = (epoch, batch), number, None
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            print("signal", flush=True)
            os.kill(os.getpid(), self.number)

common = dict(validation_data="digits", deterministic=True, verbose=2, save_every=3, seed=3)
begin = dict(model="cifar_resnet20", data="digits", recipe="digits", micro_batches=2,
             overrides=dict(epochs=2, batch_size=320, ema_momentum=0.9, size=12, warmup=1,
                            augmentation="resize(12)|affine(0.2)|mixup(0.2)"),
             model_overrides=dict(depths=(2,), widths=(16,), strides=(1,), drop_path_rate=0.3))
if sys.argv[1] == "begin":
    reskeras.fit(**begin, **common, output=sys.argv[2] + "/whole")
    reskeras.fit(**begin, **common, output=sys.argv[2] + "/parts", callbacks=[At(0, 4, signal.SIGTERM)])
if sys.argv[1] == "kill":
    reskeras.fit(resume=sys.argv[2] + "/parts", verbose=2, save_every=3, callbacks=[At(1, 6, signal.SIGKILL)])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")

    def child(*arguments):
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    begun = child("-c", CHILD, "begin", str(place))
    assert begun.returncode == 0, begun.stderr
    # it ends at once: after the signal there is no validation, and so no results of an epoch
    assert "epoch 1/" not in begun.stdout.split("signal\n")[1], begun.stdout
    assert f"to resume: reskeras train --resume {place}/parts" in begun.stdout
    _, about = checkpoint.load_checkpoint(place / "parts/checkpoint.npz")
    assert (about["epoch"], about["step"]) == (0, 5)        # saved where it was, not at the third batch
    killed = child("-c", CHILD, "kill", str(place))
    assert killed.returncode == -9
    _, about = checkpoint.load_checkpoint(place / "parts/checkpoint.npz")
    assert (about["epoch"], about["step"]) == (1, 6)
    done = child("-m", "reskeras.cli", "train", "--resume", str(place / "parts"), "--verbose", "2")
    assert done.returncode == 0 and "2 epochs" in done.stdout, done.stderr
    return place


def test_weights_are_equal_to_the_bit(folders):
    (whole, told), (parts, _) = (
        checkpoint.load_checkpoint(folders / name / "checkpoint.npz") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and (told["epoch"], told["step"]) == (2, 0)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_files_of_the_two_are_equal(folders):
    import keras

    import reskeras
    for name in ("last.keras", "best.keras"):
        nets = [reskeras.load(folders / part / name) for part in ("whole", "parts")]
        for a, b in zip(*(net.get_weights() for net in nets)):
            np.testing.assert_array_equal(a, b)
    averages = checkpoint.load_checkpoint(folders / "whole/checkpoint.npz")[0]
    # files have the averages
    assert any((averages[f"model/{i}"] != v.numpy()).any() for i, v in enumerate(nets[0].variables))
    assert isinstance(nets[0], keras.Model) and nets[0].metadata.labels == "digits"


def test_history_is_that_of_one_training(folders):
    whole, parts = ([line.split(",") for line in (folders / name / "log.csv").read_text().splitlines()]
                    for name in ("whole", "parts"))
    assert whole[0] == parts[0] and len(parts) == 3
    same = [i for i, name in enumerate(whole[0]) if name not in ("images_per_s", "waiting")]
    assert [[row[i] for i in same] for row in whole] == [[row[i] for i in same] for row in parts]


def test_outputs(folders):
    for name in (
        "run.json", "log.csv", "best.keras", "last.keras", "checkpoint.npz", "curves.png", "report.html"):
        assert (folders / "parts" / name).stat().st_size
    assert list((folders / "parts/events").iterdir())
    about = json.loads((folders / "parts/run.json").read_text())
    assert about["seed"] == 3 and about["recipe"]["training"]["ema"] == 0.9 and about["versions"]["keras"]
    assert about["strategy"]["policy"] == "float32"
    assert not [f for f in (folders / "parts").iterdir() if f.name.startswith(".")]     # nothing half-written
