"""Exports of nets inside other models: their layers can be named, their softmax is taken off."""
import keras
import numpy as np
import pytest


import reskeras
from reskeras.cli import main
from reskeras.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing((32, 32), "torch")


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    inner = reskeras.CifarResNet20(weights=None, depths=(1, 1, 1), classes=5, input_shape=(32, 32, 3))
    inner = reskeras.set_metadata(inner, PREPROCESSING, list("abcde"))
    return keras.Sequential([keras.Input((32, 32, 3)), *PREPROCESSING.as_layers(), inner])


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("float32")


def test_float_layers(net, pixels, tmp_path):
    report = reskeras.export(net, tmp_path / "n.tflite", quantize="int8", calibration_data=pixels,
                             float_layers=["predictions"], strict=False)
    assert report.compared_values == "logits"
    with pytest.raises(ValueError, match="float_layers='prediction'.*'predictions'"):
        reskeras.export(net, tmp_path / "n.tflite", quantize="int8", calibration_data=pixels,
                        float_layers=["prediction"])


def test_softmax(net, tmp_path):
    report = reskeras.export(net, tmp_path / "n.tflite")
    assert report.passed and report.compared_values == "log-probabilities"
    assert list(report.metadata["labels"]) == list("abcde")


def test_saved_model_and_onnx(net, tmp_path):
    for name in ("folder", "n.onnx"):
        assert reskeras.export(net, tmp_path / name).passed


def test_keras_files_keep_the_structure(net, tmp_path):
    assert reskeras.export(net, tmp_path / "n.keras").passed
    assert any(isinstance(layer, keras.Model) for layer in reskeras.load(tmp_path / "n.keras").layers)


def test_in_the_shell(net, tmp_path):
    net.save(tmp_path / "own.keras")
    assert main(["export", str(tmp_path / "own.keras"), str(tmp_path / "n.onnx")]) == 0
