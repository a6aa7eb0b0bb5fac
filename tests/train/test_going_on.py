"""What a training says about going on, its report, and other ways to begin one."""
import functools
import os
import re
import signal

import keras
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.train.recipes import CIFAR_HE
from reskeras.train.learning_rate import describe_unreached_milestones

TINY = ["cifar_resnet20", "--recipe", "cifar_he", "--augmentation", "resize(8)", "--size", "8",
        "--test-size", "8", "--batch-size", "8", "--verbose", "2",
        "--model-overrides", "depths=(1,)", "--model-overrides",
        "widths=(16,)", "--model-overrides", "strides=(1,)"]


class Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C after a batch."""

    def __init__(self, batch, times):
        super().__init__()
        self.batch, self.times = batch, times

    def on_train_batch_end(self, batch, logs=None):
        for _ in range(self.times if batch == self.batch else 0):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes, dark and bright; one image lies in the wrong folder."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 128)):
        (folder / name).mkdir()
        for i in range(16):
            level = (low + 128) % 256 if name == "dark" and i == 3 else low
            pixels = random.integers(level, level + 128, (8, 8, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A training of four epochs in the shell, which end before the milestones: (folder, what it printed)."""
    import contextlib
    import io
    folder, out = tmp_path_factory.mktemp("runs") / "tiny", io.StringIO()
    with contextlib.redirect_stdout(out):
        code = cli.main(["train", *TINY, "--data", f"folder:{photos}",
                         "--validation-data", f"folder:{photos}", "--steps", "16", "--output", str(folder)])
    assert code == 0
    return folder, out.getvalue()


def test_the_report_begins_with_the_best_epoch(run):
    folder, _ = run
    page = (folder / "report.html").read_text()
    rows = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    column = rows[0].index("val_accuracy")
    accuracies = [float(row[column]) for row in rows[1:]]
    best = accuracies.index(max(accuracies))
    tiles = re.findall(r"<b>([^<]*)</b><span[^>]*>([^<]*)</span>", page)
    assert tiles[0] == (f"{accuracies[best]:.2%}", f"validation accuracy, best epoch {best + 1}")
    assert tiles[1] == (f"{accuracies[-1]:.2%}", "in the last epoch, 4")
    assert "Confusion matrix" in page and "What it gets wrong" in page and "@media print" in page
    assert 'class="wrap"' in page
    counts = [int(n) if n != "·" else 0 for n in re.findall(r"<td style=[^>]*>([^<]*)</td>", page)]
    assert len(counts) == 4 and sum(counts) == 32
    wrong = 32 - counts[0] - counts[3]
    assert page.count("<figcaption><div>") == wrong and wrong == round(32 * (1 - accuracies[best]))


def test_milestones_beyond_the_end_are_named(run):
    text = "the training ends after 16 steps, before milestones=(32000, 48000), so the rate is not lowered"
    assert text in run[1] and text in (run[0] / "report.html").read_text()
    assert describe_unreached_milestones(CIFAR_HE.training) == ""
    assert describe_unreached_milestones(CIFAR_HE.override("epochs=10").training) == ""
    assert "ends after 10 steps" in describe_unreached_milestones(CIFAR_HE.override("steps=10").training)


@pytest.mark.parametrize("times, text", [
    (1, "interrupted in epoch 1 after 2 batches; to resume: reskeras train --resume "),
    (2, "interrupted; the last checkpoint is kept; to resume: reskeras train --resume ")])
def test_ctrl_c_says_how_to_go_on(photos, tmp_path, capfd, times, text, request):
    # a shell makes its background processes ignore the signal
    request.addfinalizer(functools.partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = dict(batch_size=8, epochs=2, size=8, test_size=8, augmentation="resize(8)",
                   model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), verbose=2)
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", f"folder:{photos}", "cifar_he", output=tmp_path / "run", **options,
                     callbacks=[Interrupt(1, times)])
    out, err = capfd.readouterr()
    assert f"{text}{tmp_path / 'run'}" in out + err
    assert "press Ctrl-C again to end at once" in err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if times == 1:
        assert len(reskeras.fit(resume=tmp_path / "run", verbose=0).epoch) == 2


def test_ones_own_file_is_trained_on_other_classes(photos, run, tmp_path):
    """As a published checkpoint is: its layers stay, and the classifier is new."""
    own = run[0] / "last.keras"
    third = tmp_path / "photos"
    for name in ("a", "b", "c"):
        (third / name).mkdir(parents=True)
        for i, file in enumerate(sorted((photos / "dark").iterdir())[:4]):
            (third / name / f"{i}.png").write_bytes(file.read_bytes())
    words = ["train", str(own), "--data", f"folder:{third}", "--epochs", "1", "--head-epochs", "0",
             "--batch-size", "4", "--augmentation", "resize(8)", "--learning-rate", "0",
             "--output", str(tmp_path / "run"),
             "--verbose", "0"]
    assert cli.main(words) == 0
    old, new = reskeras.load(own), reskeras.load(tmp_path / "run" / "last.keras")
    assert new.output_shape == (None, 3) and reskeras.get_metadata(new).labels == ("a", "b", "c")
    assert [layer.name for layer in new.layers] == [layer.name for layer in old.layers]
    for one, other in zip(old.layers[:-1], new.layers[:-1]):
        for before, after in zip(one.trainable_weights, other.trainable_weights):
            np.testing.assert_array_equal(before, after)


def test_training_from_scratch_is_in_the_message(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESKERAS_CACHE", str(tmp_path / "cache"))

    def fail(*args, **options):
        raise OSError("resnet18.a1_in1k is not in the cache and cannot be downloaded")
    monkeypatch.setattr("reskeras.train.model.create", fail)
    words = ["train", "resnet18", "--data", f"folder:{photos}", "--output", str(tmp_path / "run")]
    assert cli.main(words) == 2
    assert "--weights none in the shell" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli.main([*words, "--weights", "none", "--size", "32", "--test-size", "32", "--epochs", "1",
                     "--batch-size", "16", "--augmentation", "resize(32)", "--verbose", "0"]) == 0
    assert cli.main(["train", "resnet18.a1_in1k", "--weights", "none", "--data", f"folder:{photos}"]) == 2
    assert "--weights none: expected 'auto' with the checkpoint resnet18.a1_in1k" in capsys.readouterr().err
