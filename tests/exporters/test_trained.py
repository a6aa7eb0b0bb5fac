"""Trained nets keep their accuracy in files: the digits that come with the package, and CIFAR-10 where its data is at hand."""
import pathlib

import numpy as np
import pytest

import reskeras
from reskeras.exporters.tflite import flatbuffer
from reskeras.exporters.formats import open_file
from reskeras.images.preprocessing import Preprocessing

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"
cifar = pytest.mark.skipif(not DATA.is_dir(), reason=f"the trained nets are not in {DATA}")
THEIRS = "mlperf_tiny_resnet8_int8.tflite"


def split(name):
    held = np.load(DATA / f"cifar10_{name}.npz")
    return held["images"], np.ravel(held["labels"])


def accuracy(path, images, truth):
    return (open_file(path)(images).argmax(1) == truth).mean()


def test_digits(tmp_path):
    pytest.importorskip("sklearn")
    from reskeras.commands.digits import digits
    train, _, test = digits()
    net = reskeras.create("cifar_resnet20.digits")
    validation = (test.images, test.labels)
    exact = reskeras.export(net, tmp_path / "net.tflite", validation=validation)
    small = reskeras.export(net, tmp_path / "int8.tflite", quantize="int8", calibration=train.images[:200], validation=validation)
    assert exact.top1_agreement == 1 and exact.first.accuracy == exact.keras["accuracy"] >= 0.985
    assert small.first.accuracy >= exact.first.accuracy - 0.01 and small.top1_agreement >= 0.99
    assert small.bytes <= 0.30 * exact.bytes


@cifar
@pytest.mark.parametrize("depth", [32, pytest.param(44, marks=pytest.mark.slow)])
def test_akamaster(depth, tmp_path):
    """On 1,000 images: float as Keras on every one, int8 within a point, at most 0.30 of the bytes."""
    images, truth = split("test_first1000")
    pixels, _ = split("train_first4000")
    net = reskeras.create(f"akamaster/resnet{depth}", weights=DATA / f"akamaster_resnet{depth}.safetensors")
    options = {"preprocess": f"cifar_resnet{depth}.cifar10", "labels": "cifar10", "validation": (images, truth)}
    exact = reskeras.export(net, tmp_path / "net.tflite", **options)
    small = reskeras.export(net, tmp_path / "int8.tflite", quantize="int8", calibration=pixels[:500], **options)
    assert exact.images == 1000 and exact.top1_agreement == 1 and exact.first.accuracy == exact.keras["accuracy"]
    assert small.first.accuracy >= exact.keras["accuracy"] - 0.01
    assert small.bytes <= 0.30 * exact.bytes
    assert flatbuffer.metadata(tmp_path / "int8.tflite")["labels"][:2] == ["airplane", "automobile"]


@cifar
def test_mlperf_tiny(tmp_path):
    """MLPerf Tiny's ResNet-8 from its .h5, against the benchmark's own int8 file: error and bytes; ranges of least error."""
    images, truth = split("test_first1000")
    pixels, _ = split("train_first4000")
    net = reskeras.MLPerfTinyResNet8(weights=DATA / "mlperf_tiny_resnet8.h5")
    options = {"quantize": "int8", "calibration": pixels[:500], "labels": "cifar10", "validation": (images, truth),
               "preprocess": Preprocessing((32, 32), "raw", crop_pct=1.0)}
    found = reskeras.export(net, tmp_path / "int8.tflite", **options)
    least = reskeras.export(net, tmp_path / "mse.tflite", calibration_method="mse", **options)
    theirs = accuracy(DATA / THEIRS, images.astype("float32"), truth)
    assert round(100 * (1 - theirs), 1) == 12.2
    assert found.first.accuracy >= theirs - 0.003
    assert found.bytes <= (DATA / THEIRS).stat().st_size == 98_496
    assert least.first.mean_relative_difference <= 0.9 * found.first.mean_relative_difference
    assert least.first.accuracy >= theirs - 0.003
