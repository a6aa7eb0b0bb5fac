"""Numbers of NumPy and dtype policies as arguments of `fit`; TFRecords that appear together."""
import json

import keras
import numpy as np
import pytest

import reskeras
from reskeras.errors import ArgumentError
from reskeras.train import tfrecord
from reskeras.train.arguments import FitArguments
from reskeras.train.source import DataSource
from reskeras.train.training import Training

TINY = {"depths": (1, 1, 1), "width": 0.5}


def arrays():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (16, 16, 16, 3)).astype("uint8"), np.arange(16) % 4


def test_numbers_of_numpy_are_written_and_resumed(tmp_path):
    options = dict(
        seed=np.int64(3), micro_batches=np.int64(2), max_unreadable=np.int32(5), classes=np.int64(4),
        validation_split=np.float32(0.25), jit_compile=np.bool_(False), deterministic=np.bool_(False))
    numbers = dict(epochs=np.int64(1), batch_size=np.int64(4), learning_rate=np.float32(0.5))
    model_fields = {**TINY, "depths": tuple(np.array([1, 1, 1])), "width": np.float64(0.5)}
    reskeras.fit("cifar_resnet20", arrays(), "cifar_he", output=tmp_path / "run",
                 model_overrides=model_fields, verbose=0, augmentation="", size=np.int64(16), test_size=16,
                 strategy="none", **options, **numbers)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    saved = json.dumps(info["arguments"])
    assert "not in a file" in saved and saved.count("not in a file") == 1       # the arrays alone
    assert 3 in info["arguments"].values() and info["recipe"]["training"]

    history = reskeras.fit(data=arrays(), resume=tmp_path / "run", verbose=0, strategy="none",
                           seed=np.int64(3), micro_batches=np.int64(2))
    assert history.epoch == [0]


def test_arguments_are_of_python():
    arguments = FitArguments("a", "b", seed=np.int64(1), max_unreadable=np.int8(2), micro_batches=np.int64(1),
                             jit_compile=np.bool_(True), dtype=keras.DTypePolicy("mixed_bfloat16"))
    assert type(arguments.seed) is type(arguments.max_unreadable) is type(arguments.micro_batches) is int
    assert arguments.jit_compile is True and arguments.dtype == "mixed_bfloat16"
    training = Training(epochs=np.int64(2), milestones=(np.int64(1),), learning_rate=np.float64(0.1))
    assert type(training.epochs) is type(training.milestones[0]) is int
    json.dumps(vars(training))


@pytest.mark.parametrize("wrong", [
    {"validation_split": False}, {"jit_compile": 1}, {"deterministic": "yes"}, {"classes": True},
    {"seed": np.float64(1)}, {"max_unreadable": np.int64(-1)}])
def test_wrong_types_are_refused(wrong):
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))}="):
        FitArguments("a", "b", **wrong)
    with pytest.raises(ArgumentError, match="learning_rate=True"):
        Training(epochs=1, learning_rate=True)


def test_the_models_own_policy_is_accepted():
    policy = keras.DTypePolicy("mixed_bfloat16")
    model = reskeras.create("cifar_resnet20", weights=None, classes=4, dtype=policy, input_shape=(16, 16, 3),
                            **TINY)
    options = dict(recipe="cifar_he", size=16, test_size=16, augmentation="", epochs=1, batch_size=8,
                   verbose=0, strategy="none")
    assert reskeras.fit(model, arrays(), dtype=policy, **options).epoch == [0]
    with pytest.raises(ArgumentError, match="dtype='float32': expected 'mixed_bfloat16'"):
        reskeras.fit(model, arrays(), dtype=keras.DTypePolicy("float32"), **options)


def test_records_appear_together_or_not_at_all(tmp_path, monkeypatch):
    x, y = arrays()
    source = DataSource("here", x, y, ("a", "b", "c", "d"))
    before = tfrecord.write_records(source, tmp_path, shards=3)
    names = {"labels.txt", *(f"train-0000{i}-of-00003" for i in range(3))}
    assert {file.name for file in tmp_path.iterdir()} == names and len(before) == 3
    contents = {name: (tmp_path / name).read_bytes() for name in names}

    def fail(source, index, count=iter(range(100))):
        if next(count) == 12:
            raise KeyboardInterrupt
        return make_example(source, index)
    make_example = tfrecord._make_example
    monkeypatch.setattr(tfrecord, "_make_example", fail)
    with pytest.raises(KeyboardInterrupt):
        tfrecord.write_records(source, tmp_path, shards=3, seed=1)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == contents
    for wrong in (0, 17, True):
        with pytest.raises(ArgumentError, match="shards="):
            tfrecord.write_records(source, tmp_path, shards=wrong)
