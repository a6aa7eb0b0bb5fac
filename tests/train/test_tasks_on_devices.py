"""Two replicas learn what one learns, with weights of classes and images and with metrics; and a resumed run
learns what an undisturbed one does.
"""
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import reskeras
from task_cases import CASES, X, collect, train

HERE = pathlib.Path(__file__).parent


def test_two_replicas_are_as_one(tmp_path):
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, HERE / "task_cases.py", tmp_path / "two.npz"], env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two = dict(np.load(tmp_path / "two.npz"))
    for name in ("class_weight", "multilabel", "regression"):
        one = collect(train(CASES[name]))
        assert len(one) >= 6
        for key, value in one.items():
            np.testing.assert_allclose(two[f"{name}/{key}"], value, rtol=1e-5, atol=1e-7,
                                       err_msg=f"{name} {key}")


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise RuntimeError("enough")


@pytest.mark.parametrize("name", ["multilabel", pytest.param("class_weight", marks=pytest.mark.slow),
                                  pytest.param("huber", marks=pytest.mark.slow)])
def test_a_resumed_run_is_as_an_undisturbed_one(name, tmp_path):
    """It is stopped amid an epoch; weights, loss and metrics are in its folder."""
    case = CASES[name]
    whole = train(case, epochs=2, save_every=1)
    with pytest.raises(RuntimeError, match="enough"):
        train(case, epochs=2, save_every=1, output=tmp_path / "run", callbacks=[Stop()])
    data = case.labels if case.data is None else case.data
    data = (X, data) if case.sample_weight is None else (X, data, case.sample_weight)
    parts = reskeras.fit(data=data, resume=tmp_path / "run", validation_data=data, verbose=0)
    for here, there in zip(parts.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-14)
    for metric, values in whole.history.items():
        if metric not in ("images_per_s", "waiting"):
            np.testing.assert_allclose(parts.history[metric], values, rtol=1e-6, err_msg=metric)
