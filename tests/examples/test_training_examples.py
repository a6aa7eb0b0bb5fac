"""The examples of training, at a tiny size."""
import pathlib
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out
    return run


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name, low in (("bright", 128), ("dark", 0)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(low, low + 128, (24, 20, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.jpg")
    return tmp_path / "photos"


def test_photos_to_phone(run, photos, tmp_path):
    out = run("photos_to_phone.py", photos, "--model", "cifar_resnet20.digits", "--output", tmp_path / "out",
              "--overrides", "batch_size=8", "--overrides", "head_epochs=1", "--overrides", "epochs=1")
    assert "32 images of 16 x 16 pixels" in out and (tmp_path / "out/photos.int8.tflite").is_file()
    assert out.splitlines()[-2].startswith("0.jpg: ") and "bright" in out


def test_cifar10(run, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz", x_train=rng.integers(0, 256, (32, 32, 32, 3), "uint8"),
        y_train=np.arange(32) % 10, x_test=rng.integers(0, 256, (16, 32, 32, 3), "uint8"),
        y_test=np.arange(16) % 10)
    out = run("cifar10.py", "--data", f"npz:{tmp_path}/data.npz", "--models", "mlperf_tiny_resnet8",
              "--output", tmp_path / "runs", "--overrides", "steps=3", "--overrides", "batch_size=16",
              "--overrides", "milestones=(2,)")
    assert out.splitlines()[-1].startswith("| mlperf_tiny_resnet8 | 0 | ")
    assert (tmp_path / "runs/mlperf_tiny_resnet8.0/report.html").is_file()


def test_imagenet_resnet_rs(run, photos, tmp_path):
    out = run("imagenet_resnet_rs.py", f"folder:{photos}", f"folder:{photos}", "--strategy", "none",
              "--output", tmp_path / "out", "--overrides", "size=32", "--overrides", "batch_size=16",
              "--overrides", "epochs=1", "--overrides", "warmup=0",
              "--overrides", "augmentation=inception_crop(32)|flip",
              "--model-overrides", "depths=(1, 1, 1, 1)", "--model-overrides", "width=0.25")
    assert (
        "policy: " in out
        and "bfloat16" in out
        and "0.1 at 256, times 16/256" in out
        and "resnetrs50: top-1" in out)


def test_detection_backbone(run):
    out = run("detection_backbone.py", "--model", "resnet18", "--size", "64")
    assert out.splitlines() == ["pyramid (2, 8, 8, 256)", "pyramid (2, 4, 4, 256)", "pyramid (2, 2, 2, 256)",
                                "segmentation (64, 64, 21) from a map of stride 16"]
