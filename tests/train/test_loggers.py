"""What TensorBoard, Weights & Biases and MLflow record of a training is what the training says.

`tox -e loggers` has the two services; without them modules with the same calls take their places.
"""
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras import cli

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (32, 8, 8, 3), "uint8"), np.arange(32) % 4


@pytest.fixture
def words(tmp_path):
    """A tiny training in the shell."""
    images, labels = IMAGES
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = f"npz:{tmp_path / 'images.npz'}"
    return ["train", "cifar_resnet20", "--data", data, "--validation-data", data, "--recipe", "cifar_he",
            "--size", "8", "--test-size", "8", "--augmentation", "flip", "--batch-size", "16",
            "--verbose", "0", "--schedule", "constant", "--model-overrides", "depths=(1,)",
            "--model-overrides", "widths=(16,)", "--model-overrides", "strides=(1,)",
            "--epochs", "2", "--output", str(tmp_path / "run")]


class Service:
    """What a training has told a service."""

    def __init__(self):
        self.calls, self.runs = [], []

    def init(self, **options):
        self.runs.append(options)
        return types.SimpleNamespace(id=options["id"] or "w1", log=self.log, finish=lambda: None)

    def log(self, values, step):
        self.calls.append((step, values))

    def MlflowClient(self):
        def create_run(experiment, run_name):
            self.runs.append(run_name)
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="m1"))

        def log_metric(run, key, value, step):
            assert run == "m1"
            if step == 3:
                raise OSError("no route to the server")
            self.calls.append((step, key, value))
        return types.SimpleNamespace(
            get_experiment_by_name=lambda name: types.SimpleNamespace(experiment_id="0"),
            create_run=create_run,
            log_param=lambda run, key, value: self.calls.append((0, key, value)), log_metric=log_metric,
            update_run=lambda run, status: None, set_terminated=lambda run: None)


def test_loggers_in_the_shell_and_of_a_resumed_run(words, tmp_path, monkeypatch, capsys):
    wandb, mlflow = Service(), Service()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    names = ["tensorboard"] * bool(importlib.util.find_spec("tensorboard")) + ["wandb", "mlflow"]
    assert cli.main([*words, "--loggers", ",".join(names)]) == 0
    run = tmp_path / "run"
    assert json.loads((run / "loggers.json").read_text()) == {"wandb": "w1", "mlflow": "m1"}
    assert json.loads((run / "run.json").read_text())["loggers"] == names
    with pytest.warns(UserWarning, match="mlflow could not record epoch 3 .*no route to the server"):
        history = reskeras.fit(resume=run, epochs=3, verbose=0).history

    for name in ("loss", "val_loss", "val_accuracy", "learning_rate"):
        np.testing.assert_allclose([values[name] for _, values in wandb.calls], history[name], rtol=1e-6)
        found = [value for step, key, value in mlflow.calls if step and key == name]
        np.testing.assert_allclose(found, history[name][:2], rtol=1e-6)
    assert [step for step, _ in wandb.calls] == [1, 2, 3]
    assert [options["id"] for options in wandb.runs] == [None, "w1"] and mlflow.runs == ["run"]
    parameters = {key: value for step, key, value in (call for call in mlflow.calls if call[0] == 0)}
    assert parameters["batch_size"] == "16" and parameters["net"] == "cifar_resnet20"

    recorded = {}
    for file in sorted((run / "tensorboard/validation").glob("*.v2")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "epoch_loss":
                    recorded[event.step] = float(tf.make_ndarray(value.tensor))
    if "tensorboard" in names:
        np.testing.assert_allclose([recorded[i] for i in range(3)], history["val_loss"], rtol=1e-6)


def test_what_is_refused(words, tmp_path, monkeypatch, capsys):
    assert cli.main([*words, "--loggers", "tensorbord"]) == 2
    assert "--loggers tensorbord: expected some of tensorboard, wandb, mlflow; did you mean" in (
        capsys.readouterr().err)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert cli.main([*words, "--loggers", "wandb"]) == 2
    message = capsys.readouterr().err
    assert 'the logger wandb needs the package wandb: pip install "reskeras[wandb]"' in message
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="loggers='tensorboard': expected a folder as `output` too"):
        reskeras.fit("cifar_resnet20", IMAGES, "cifar_he", loggers=["tensorboard"])


def read_log(data):
    """The records of a file of W&B: a header of 7 bytes, and then a log as LevelDB writes it."""
    place, record = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:       # the rest of a block
            place += 32768 - place % 32768
            continue
        size, kind = int.from_bytes(data[place + 4:place + 6], "little"), data[place + 6]
        record += data[place + 7:place + 7 + size]
        place += 7 + size
        if kind in (1, 4):                  # a full record, or the last part of one
            yield record
            record = b""


def test_wandb_offline(words, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert cli.main([*words, "--loggers", "wandb"]) == 0
    history = reskeras.fit(resume=tmp_path / "run", epochs=3, verbose=0).history
    files = sorted((tmp_path / "run/wandb").glob("offline-run-*/run-*.wandb"))
    losses, settings, names = {}, {}, set()
    for file in files:
        names.add(file.name)
        for data in read_log(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            values = {item.key or item.nested_key[0]: json.loads(item.value_json)
                      for item in record.history.item}
            if "val_loss" in values:
                losses[values["_step"]] = values["val_loss"]
            settings |= {item.key: json.loads(item.value_json)
                         for item in record.run.config.update if item.key}
    assert len(files) == 2 and len(names) == 1      # two parts of one run
    np.testing.assert_allclose([losses[step] for step in (1, 2, 3)], history["val_loss"], rtol=1e-6)
    assert settings["batch_size"] == 16 and settings["net"] == "cifar_resnet20"


def test_mlflow_in_a_folder(words, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    assert cli.main([*words, "--loggers", "mlflow"]) == 0
    history = reskeras.fit(resume=tmp_path / "run", epochs=3, verbose=0).history
    client = mlflow.MlflowClient()
    run, = client.search_runs(["0"])
    for name in ("loss", "val_loss", "val_accuracy"):
        metrics = client.get_metric_history(run.info.run_id, name)
        assert [m.step for m in metrics] == [1, 2, 3]
        np.testing.assert_allclose([m.value for m in metrics], history[name], rtol=1e-6)
    assert run.data.params["batch_size"] == "16" and run.info.status == "FINISHED"
    assert run.info.run_name == "run"
