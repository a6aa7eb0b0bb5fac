"""Two replicas train on images by value, on a dataset and on a remote file as one device does."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).parent / "sources_on_devices.py"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_two_replicas(tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env.pop("TF_CONFIG", None)
    process = subprocess.run([sys.executable, SCRIPT, str(tmp_path / "results.npz")], env=env, text=True,
                             capture_output=True, timeout=1200)
    assert process.returncode == 0, process.stderr[-3000:]
    found = dict(np.load(tmp_path / "results.npz"))
    assert np.isfinite(found["arrays1"]).all()
    for one, two in (("arrays1", "arrays2"), ("arrays1", "remote2"), ("dataset1", "dataset2")):
        assert np.abs(found[one] - found[two]).max() <= 1e-4 * max(1, np.abs(found[one]).max()), (one, two)
    # a stream is in another order, so its batches are others
    assert np.abs(found["arrays1"] - found["dataset1"]).max() > 1e-3
