"""Run folders whose files are damaged: resuming ends in one line that names the file."""
import copy
import io
import json
import os
import shutil
import zipfile

import keras
import numpy as np
import pytest

import reskeras
from reskeras import cli
from reskeras.commands import train as train_command
from reskeras.train.checkpoint import TrainState, load_checkpoint
from reskeras.train.run_folder import read_run_info

FILES = ("run.json", "checkpoint.npz", "last.keras", "log.csv")
WRONG = [None, True, -1, 1.5, "x", "", [], [None], {}, {"x": 1}, 10 ** 400]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a training that was stopped after its first of two epochs."""
    place = tmp_path_factory.mktemp("runs")
    np.savez(place / "data.npz", x=np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), "uint8"),
             y=np.arange(16) % 4)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", f"npz:{place}/data.npz", "digits", output=place / "run", size=8,
                     augmentation="", batch_size=8, epochs=2, warmup=0, ema_momentum=0.9, callbacks=[Stop()],
                     validation_data=f"npz:{place}/data.npz", verbose=0,
                     model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
    return place / "run"


@pytest.fixture
def folder(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def check_one_line(folder, capsys, name=None):
    """That resuming ends with exit 2 and one line that names the file."""
    capsys.readouterr()
    code = cli.main(["train", "--resume", str(folder), "--verbose", "0"])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1) and (name is None or name in error), (code, error)
    return error


def find_paths(value, path=()):
    """The keys that lead to each value of nested dictionaries and lists."""
    yield path
    parts = enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in value.items() if isinstance(value, dict) else parts:
        yield from find_paths(part, (*path, key))


def replace_value(value, path, new):
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = replace_value(value[path[0]], path[1:], new)
    return value


def test_every_value_of_run_json_may_be_of_any_type(folder):
    """It is refused by name, or harmless."""
    file = folder / "run.json"
    good = json.loads(file.read_text())
    read, refused = read_run_info(folder), 0
    for path in find_paths(good):
        for wrong in WRONG:
            file.write_text(json.dumps(replace_value(good, path, wrong)))
            try:
                info = read_run_info(folder)
            except ValueError as error:
                assert str(error).startswith(f"{file} is damaged (") and "\n" not in str(error)
                refused += 1
            else:
                assert info.keys() == read.keys()
    assert refused > 300
    augmentation = json.dumps(replace_value(good, ("recipe", "training", "augment"), "resize(0)|flip"))
    for text in ("", "{", "[]", "null", "[" * 100_000, '{"a": NaN}', "\0", "{}", augmentation):
        file.write_text(text)
        with pytest.raises(ValueError, match="run.json is damaged"):
            read_run_info(folder)


@pytest.mark.parametrize("path, wrong", [
    (("recipe", "training", "batch"), "8"), (("recipe", "training", "augment"), 5),
    (("recipe", "training", "milestones"), 3), (("recipe", "training", "loss"), "l2"),
    (("arguments", "seed"), "0"), (("arguments", "set"), 5), (("arguments", "data"), [1]),
    (("data", "classes"), {}), (("data", "images"), "16"), (("data", "images"), 17),
    (("asked_strategy",), []), (("strategy",), 1), (("recipe", "sources"), None)])
def test_run_json(folder, capsys, path, wrong):
    good = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(replace_value(good, path, wrong)))
    check_one_line(folder, capsys)


def rewrite_checkpoint(folder, change):
    """Changes the arrays and the description of a checkpoint, and writes it with right checksums."""
    file = folder / "checkpoint.npz"
    arrays, info = load_checkpoint(file)
    change(arrays, info)
    np.savez(file, about=np.frombuffer(json.dumps(info).encode(), "uint8"), **arrays)


@pytest.mark.parametrize("change", [
    lambda arrays, info: arrays.pop("model/3"), lambda arrays, info: info.pop("variables"),
    lambda arrays, info: arrays.update({"model/0": arrays["model/0"][..., :1]}),
    lambda arrays, info: arrays.update({"model/0": arrays["model/0"].astype("complex64")}),
    lambda arrays, info: arrays.update({"model/0": np.full_like(arrays["model/0"], "x", dtype="U1")}),
    lambda arrays, info: arrays.update({"model/0": arrays["model/0"] * np.nan}),
    lambda arrays, info: info.update(epoch="1"), lambda arrays, info: info.update(epoch=-1),
    lambda arrays, info: info.update(step=1.5), lambda arrays, info: info.update(step=10 ** 30),
    lambda arrays, info: info.update(best="0.5"), lambda arrays, info: info.update(unreadable=[10 ** 30]),
    lambda arrays, info: info.update(unreadable="none"), lambda arrays, info: info.update(history=[]),
    lambda arrays, info: info.update(history={"loss": [1.0] * 9}), lambda arrays, info: info.update(logs=5),
    lambda arrays, info: info.update(variables={"model": 5}),
    lambda arrays, info: info["variables"].update(model=[["kernel"]])])
def test_checkpoint_of_another_form(folder, capsys, change):
    rewrite_checkpoint(folder, change)
    check_one_line(folder, capsys, "checkpoint.npz")


def test_checkpoints_are_read_within_bounds(folder, capsys):
    """Neither inflated, nor from a pipe."""
    file = folder / "checkpoint.npz"
    good = file.read_bytes()
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False,
                                                    "shape": (2 ** 24,)})
        archive.writestr("model/99.npy", head.getvalue() + bytes(2 ** 24))
    assert "at most" in check_one_line(folder, capsys, "checkpoint.npz")
    for data in (good[:len(good) // 2], b"", b"PK" + bytes(100)):
        file.write_bytes(data)
        check_one_line(folder, capsys, "checkpoint.npz")
    file.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(file)
        check_one_line(folder, capsys)


@pytest.mark.slow
def test_a_flipped_bit_in_each_file(run, folder, capsys):
    for name in ("checkpoint.npz", "last.keras"):
        good = (folder / name).read_bytes()
        for position in range(100, len(good), len(good) // 3):
            data = bytearray(good)
            data[position] ^= 1
            (folder / name).write_bytes(data)
            capsys.readouterr()
            code = cli.main(["train", "--resume", str(folder), "--verbose", "0"])
            error = capsys.readouterr().err
            # some bits, such as those of a date, mean nothing
            assert code == 0 or (code, error.count("\n")) == (2, 1) and name in error, (name, position, error)
            if code == 0:
                shutil.rmtree(folder)
                shutil.copytree(run, folder)
        (folder / name).write_bytes(good)


def test_the_log(run, tmp_path, capsys):
    """The page about a training that is finished is written again from it."""
    shutil.copytree(run, tmp_path / "run")
    reskeras.fit(resume=tmp_path / "run", verbose=0)
    log = tmp_path / "run" / "log.csv"
    good = log.read_text()
    for text in ("", good.splitlines()[0], good.replace("1,", "x,"), good + "3\n", good + "," * 30,
                 "a,b\n1,2\n", "\0\0", "1" * 200_000, good.replace("1,", "[" * 50_000 + ",")):
        log.write_text(text)
        with pytest.raises(ValueError, match="log.csv is damaged") as error:
            train_command._read_log(log)
        assert len(str(error.value)) < 1000
    log.write_bytes(b"\xff\xff")
    check_one_line(tmp_path / "run", capsys, "log.csv")


def test_the_state_of_an_earlier_version():
    """Without a validation, the best accuracy is -Infinity, which JSON does not have."""
    info = json.loads('{"epoch": 1, "step": 0, "logs": null, "best": -Infinity, "epochs": [0], '
                      '"history": {"loss": [NaN]}, "unreadable": [], "variables": {}}')
    assert TrainState.from_checkpoint(info).best == -np.inf
