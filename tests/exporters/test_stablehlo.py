"""StableHLO: written by JAX in a process of its own, run by IREE (tox -e stablehlo)."""
import json

import keras
import numpy as np
import pytest

import reskeras
from reskeras.cli import main
from reskeras.errors import ArgumentError
from reskeras.exporters import stablehlo
from reskeras.exporters.formats import open_file

pytest.importorskip("jax")
pytest.importorskip("iree.compiler")


def test_iree_answers_as_keras(tmp_path, capsys):
    path = tmp_path / "digits.mlir"
    assert main(["export", "cifar_resnet20.digits", str(path), "--batch-size", "2"]) == 0
    report = json.loads((tmp_path / "digits.mlir.json").read_text())
    assert report["passed"] and report["format"] == "StableHLO" and report["operators"]["convolution"] == 19
    assert report["runtimes"]["IREE"]["max_relative_difference"] < 1e-5
    assert path.read_bytes().startswith(b"ML\xefR")
    net = reskeras.create("cifar_resnet20.digits")
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 1)).astype("float32")
    np.testing.assert_allclose(open_file(path)(images), net.predict(images, verbose=0), rtol=1e-3, atol=1e-6)
    assert reskeras.verify(path).passed
    assert reskeras.benchmark([path])[0].runtime == "IREE"


def test_several_inputs_and_outputs(tmp_path):
    image, age = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="age")
    maps = keras.layers.Conv2D(4, 3, activation="relu")(image)
    both = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(maps), age])
    two = keras.Model({"image": image, "age": age},
                      {"classes": keras.layers.Dense(3, activation="softmax")(both), "mask": maps})
    report = reskeras.export(two, tmp_path / "two.mlir")
    assert report.passed and list(report.interface.outputs) == ["classes", "mask"]
    assert report.interface.inputs["age"].shape == (1, 2)
    assert reskeras.verify(tmp_path / "two.mlir").passed


def test_refusals(tmp_path):
    open_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3),
                                  keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ArgumentError, match="size"):
        reskeras.export(open_size, tmp_path / "net.mlir")
    with pytest.raises(ArgumentError, match="quantize"):
        reskeras.export("cifar_resnet20.digits", tmp_path / "net.mlir", quantize="float16")
    (tmp_path / "broken.mlir").write_bytes(b"ML\xefR\rStableHLO_v1.15.0\x00")
    with pytest.raises(ValueError, match="broken.mlir cannot be read as a StableHLO file"):
        open_file(tmp_path / "broken.mlir")
    assert not (tmp_path / "net.mlir").exists()


@keras.saving.register_keras_serializable("tests")
class OfTensorFlow(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def test_a_layer_that_jax_does_not_know(tmp_path):
    net = keras.Sequential([keras.Input((4, 4, 3)), OfTensorFlow(), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="cannot be run by Keras with JAX"):
        stablehlo.write(net, tmp_path / "net.mlir", stablehlo.ExportOptions((1, 4, 4, 3)))
