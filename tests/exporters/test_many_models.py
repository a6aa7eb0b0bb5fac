"""Many models in one process: TensorFlow does not warn that a function is traced again and again."""
import logging

import keras
import numpy as np
import pytest

from reskeras.exporters.keras_file import make_array_function

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's graphs")


def test_no_warning_of_retracing(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    images, functions, expected = np.ones((2, 4, 4, 1), "float32"), [], []
    for _ in range(7):
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1)])
        expected.append(np.asarray(model(images)))
        functions.append(make_array_function(model))
        functions[-1](images)
    del model                   # a function keeps the variables of its model
    for function, values in zip(functions, expected):
        np.testing.assert_allclose(function(images), values, atol=1e-6)
    assert "retracing" not in caplog.text
