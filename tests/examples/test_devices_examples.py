"""The examples of many devices: two local processes; and a TPU, where there is none."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run():
    def run(name, *arguments):
        env = {
            **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run(
            [sys.executable, ROOT / "examples" / name, *map(str, arguments)], env=env, capture_output=True,
            text=True, timeout=1200)
    return run


def test_multi_worker(run, tmp_path):
    done = run("multi_worker.py", "--model", "mlperf_tiny_resnet8", "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr[-3000:]
    losses = {line.split()[-1] for line in done.stdout.splitlines() if line.startswith("worker ")}
    assert len(losses) == 1 and float(losses.pop()) > 0       # both workers say the same
    assert (tmp_path / "run" / "run.json").is_file()


def test_tpu_says_that_there_is_none(run, tmp_path):
    done = run("tpu.py", "folder:nowhere", "--output", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("strategy='tpu': no TPU can be reached from this machine")
    assert not (tmp_path / "run").exists()
