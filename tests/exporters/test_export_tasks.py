"""Nets of one sigmoid, of several labels and of numbers, exported, checked and used in their runtimes."""
import keras
import numpy as np
import pytest
from PIL import Image

import reskeras

NETS = {"binary": (1, "sigmoid", ["cat", "dog"]), "multilabel": (3, "sigmoid", ["a", "b", "c"]),
        "regression": (2, None, ["x", "y"])}


@pytest.mark.parametrize("task, file", [
    ("binary", "net.tflite"), ("binary", "folder"), ("multilabel", "net.tflite"), ("regression", "net.onnx"),
    pytest.param("regression", "folder", marks=pytest.mark.slow),
    pytest.param("multilabel", "net.onnx", marks=pytest.mark.slow),
    pytest.param("binary", "net.xml", marks=pytest.mark.slow)])
def test_says_the_same_in_each_runtime(task, file, tmp_path):
    outputs, activation, labels = NETS[task]
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Dense(outputs, activation, name="scores")(keras.layers.GlobalAveragePooling2D()(x))
    net = keras.Model(image, x, name="net")
    net = reskeras.set_metadata(net, reskeras.Preprocessing((16, 16), "tf"), labels, task)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    reskeras.export(net, tmp_path / file)
    assert reskeras.verify(tmp_path / file, trust=True).passed
    there = reskeras.predict(tmp_path / file, tmp_path / "image.png", threshold=0.4, trust=True)
    here = reskeras.predict(net, tmp_path / "image.png", threshold=0.4)
    for one, other in zip(here[0]["predictions"], there[0]["predictions"], strict=True):
        value = "value" if task == "regression" else "score"
        assert one["label"] == other["label"] and one[value] == pytest.approx(other[value], rel=1e-4)
