"""Trained nets keep their accuracy in files: the digits of the package, CIFAR-10 where its data is there."""
import numpy as np
import pytest

import reskeras
from reskeras.exporters.tflite import flatbuffer
from reskeras.exporters.formats import open_file
from reskeras.images.preprocessing import Preprocessing

THEIRS = "mlperf_tiny_resnet8_int8.tflite"


@pytest.fixture(scope="module")
def cifar10(external_file):
    """((images, classes) of the test set, images of the training set)."""
    test, train = (np.load(external_file(f"cifar10_{name}.npz"))
                   for name in ("test_first1000", "train_first4000"))
    return (test["images"], np.ravel(test["labels"])), train["images"]


def accuracy(path, images, truth):
    return (open_file(path)(images).argmax(1) == truth).mean()


def test_digits(tmp_path):
    pytest.importorskip("sklearn")
    from reskeras.commands.digits import load_digits
    train, _, test = load_digits()
    net = reskeras.create("cifar_resnet20.digits")
    validation = (test.images, test.labels)
    exact = reskeras.export(net, tmp_path / "net.tflite", validation_data=validation)
    small = reskeras.export(net, tmp_path / "int8.tflite", quantize="int8",
                            calibration_data=train.images[:200], validation_data=validation)
    assert exact.top1_agreement == 1 and exact.first_result.accuracy == exact.keras["accuracy"] >= 0.985
    assert small.first_result.accuracy >= exact.first_result.accuracy - 0.01 and small.top1_agreement >= 0.99
    assert small.bytes <= 0.30 * exact.bytes


@pytest.mark.parametrize("depth", [32, pytest.param(44, marks=pytest.mark.slow)])
def test_akamaster(depth, tmp_path, cifar10, external_file):
    """On 1,000 images: float as Keras on every one, int8 within a point, at most 0.30 of the bytes."""
    (images, truth), pixels = cifar10
    net = reskeras.create(f"akamaster/resnet{depth}",
                          weights=external_file(f"akamaster_resnet{depth}.safetensors"))
    options = {"preprocessing": f"cifar_resnet{depth}.cifar10", "labels": "cifar10",
               "validation_data": (images, truth)}
    exact = reskeras.export(net, tmp_path / "net.tflite", **options)
    small = reskeras.export(net, tmp_path / "int8.tflite", quantize="int8", calibration_data=pixels[:500],
                            **options)
    assert exact.images == 1000 and exact.top1_agreement == 1
    assert exact.first_result.accuracy == exact.keras["accuracy"]
    assert small.first_result.accuracy >= exact.keras["accuracy"] - 0.01
    assert small.bytes <= 0.30 * exact.bytes
    assert flatbuffer.read_metadata(tmp_path / "int8.tflite")["labels"][:2] == ["airplane", "automobile"]


def test_mlperf_tiny(tmp_path, cifar10, external_file):
    """MLPerf Tiny's ResNet-8 from its .h5, against the benchmark's own int8 file: error, bytes, ranges."""
    (images, truth), pixels = cifar10
    net = reskeras.MLPerfTinyResNet8(weights=external_file("mlperf_tiny_resnet8.h5"))
    options = {"quantize": "int8", "calibration_data": pixels[:500], "labels": "cifar10",
               "validation_data": (images, truth),
               "preprocessing": Preprocessing((32, 32), "raw", crop_pct=1.0)}
    found = reskeras.export(net, tmp_path / "int8.tflite", **options)
    least = reskeras.export(net, tmp_path / "mse.tflite", calibration_method="mse", **options)
    file = external_file(THEIRS)
    theirs = accuracy(file, images.astype("float32"), truth)
    assert round(100 * (1 - theirs), 1) == 12.2
    assert found.first_result.accuracy >= theirs - 0.003
    assert found.bytes <= file.stat().st_size == 98_496
    assert least.first_result.mean_relative_difference <= 0.9 * found.first_result.mean_relative_difference
    assert least.first_result.accuracy >= theirs - 0.003
