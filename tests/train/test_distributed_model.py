"""What the trainer takes from inside of Keras, on the Keras that is installed: the newest, and the oldest by
`tox -e oldest`.
"""
import inspect
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np

from reskeras import _keras_private
from reskeras.train.distributed_model import DistributedModel

ROOT = pathlib.Path(__file__).parents[2]


def test_one_private_method_is_replaced():
    """And no other name of ours is Keras' by accident."""
    own = {name for name in vars(DistributedModel) if name.startswith("_") and not name.startswith("__")}
    image = keras.Input((1,))
    functional = type(keras.Model(image, keras.layers.Dense(1)(image)))
    keras_names = {name for kind in functional.__mro__ for name in vars(kind)}
    assert own & keras_names == {"_maybe_symbolic_build"}
    replaced = inspect.signature(keras.Model._maybe_symbolic_build)
    assert list(replaced.parameters) == list(
        inspect.signature(DistributedModel._maybe_symbolic_build).parameters)


def test_only_one_file_knows_them():
    """The private names of Keras' trainer are in _keras_private.py alone."""
    package = pathlib.Path(_keras_private.__file__).parent
    names = re.compile(r"\b(_maybe)?_symbolic_build\b")
    files = [f for f in package.rglob("*.py") if names.search(f.read_text())]
    assert files == [pathlib.Path(_keras_private.__file__)]


def test_keras_calls_what_is_replaced(monkeypatch):
    """`fit` and `evaluate` go through the method and the functions that `make_*_function` leave."""
    called = []
    monkeypatch.setattr(
        DistributedModel, "_maybe_symbolic_build", lambda self, **kwargs: called.append(sorted(kwargs)))
    image = keras.Input((4,))
    model = DistributedModel(image, keras.layers.Dense(2)(image))
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.ones((5, 4), "float32")
    model.fit(x, x[:, :2], batch_size=2, verbose=0)
    model.evaluate(x, x[:, :2], verbose=0)
    assert called == [["iterator"], ["iterator"]]
    assert {"loss", "mae"} == set(model.get_metrics_result())
    assert int(model.optimizer.iterations) == 3


def test_replicas_on_this_keras(tmp_path):
    """Two replicas train as one device; the other cases are in test_distribute.py."""
    output = tmp_path / "found.npz"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env.pop("TF_CONFIG", None)
    done = subprocess.run(
        [sys.executable, ROOT / "tests/train/on_devices.py", output, "float32@1", "float32@2"], env=env,
        capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = np.load(output)
    for name in ("weights", "loss", "val_loss", "accuracy", "evaluate", "predict"):
        np.testing.assert_allclose(
            found[f"float32@2/{name}"], found[f"float32@1/{name}"], rtol=1e-5, atol=1e-5)
