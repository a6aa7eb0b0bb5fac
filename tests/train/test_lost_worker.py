"""A worker whose machine dies: the others end with exit 3 and one line, and the training is resumed."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from reskeras import cli
from reskeras.commands import train as train_command
from reskeras.errors import LostWorkerError

ROOT = pathlib.Path(__file__).parents[2]
TRAINING = ["train", "cifar_resnet20", "--data", "digits", "--recipe", "digits", "--verbose", "2",
            "--size", "8", "--augmentation", "resize(8)", "--batch-size", "320", "--epochs", "100000",
            "--model-overrides", "depths=(1,)", "--model-overrides", "widths=(16,)",
            "--model-overrides", "strides=(1,)"]


def start_workers(folder):
    """Two processes of the shell on free ports; their output goes to files in `folder`."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    processes = []
    for index in range(2):
        env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        env.pop("TF_CPP_MIN_LOG_LEVEL", None)
        env["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses},
                                       "task": {"type": "worker", "index": index}})
        with open(folder / f"out{index}", "w") as out, open(folder / f"err{index}", "w") as err:
            processes.append(subprocess.Popen(
                [sys.executable, "-m", "reskeras", *TRAINING, "--output", str(folder / "run")], env=env,
                stdout=out, stderr=err))
    return processes


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_the_other_worker_ends_with_one_line_and_exit_3(tmp_path, lost):
    pytest.importorskip("sklearn")
    processes, deadline = start_workers(tmp_path), time.time() + 300
    try:
        while "epoch 2/" not in (tmp_path / "out0").read_text():
            assert all(process.poll() is None for process in processes) and time.time() < deadline, \
                (tmp_path / "err0").read_text()[-3000:]
            time.sleep(0.1)
        processes[lost].send_signal(signal.SIGKILL)
        assert processes[1 - lost].wait(timeout=120) == 3
    finally:
        for process in processes:
            process.kill()
            process.wait()
    said = (tmp_path / f"err{1 - lost}").read_text()
    assert "Traceback" not in said and "UNAVAILABLE" not in said
    # whatever TensorFlow says when it is imported comes before
    lines = [line for line in said.splitlines() if line.startswith("reskeras")]
    assert said.endswith(lines[0] + "\n") and len(lines) == 1
    assert lines[0] == (f"reskeras train: another worker was lost (worker task:{lost}), or did not answer in "
                        "time; start all workers again to resume from the last checkpoint")
    assert (tmp_path / "run" / "checkpoint.npz").exists()


def test_exit_codes(monkeypatch, capsys):
    for error, code in ((LostWorkerError("another worker was lost"), 3), (FloatingPointError("the loss"), 1),
                        (ValueError("a value"), 2), (OSError(2, "no such file", "x"), 2)):
        def fail(*args, raised=error, **kwargs):
            raise raised
        monkeypatch.setattr(train_command, "fit", fail)
        assert cli.main(["train", "resnet18", "--data", "digits"]) == code
        assert capsys.readouterr().err == f"reskeras train: {error}\n"


@pytest.mark.parametrize("config", [
    {"cluster": {"worker": 5}}, {"cluster": {"worker": [1, 2]}}, {"cluster": 5}, [],
    {"cluster": {"worker": {}}}, {"cluster": {"worker": ["a:1", "b:1"]}},
    {"cluster": {"worker": ["a:1", "b:1"]}, "task": 5},
    {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "x"}},
    {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "boss", "index": 0}}])
def test_a_wrong_tf_config_is_one_line(config, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert cli.main([*TRAINING, "--strategy", "multi_worker", "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "TF_CONFIG" in error and 'for example {"cluster"' in error
