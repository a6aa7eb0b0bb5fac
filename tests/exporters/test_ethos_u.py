"""What Arm's Ethos-U does of a .tflite, as its compiler Vela says (tox -e ethos-u)."""
import importlib.util

import keras
import numpy as np
import pytest

import reskeras
from reskeras.cli import main
from reskeras.errors import ArgumentError
from reskeras.exporters.report import ExportReport

has_vela = importlib.util.find_spec("ethosu") is not None
needs_vela = pytest.mark.skipif(not has_vela, reason="ethos-u-vela is not installed: tox -e ethos-u")
IMAGES = np.random.default_rng(0).standard_normal((40, 8, 8, 3)).astype("float32")


def make_net(**last):
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(8, 3, activation="relu", padding="same"),
        layers.GlobalAveragePooling2D(), layers.Dense(4, **last)])


@needs_vela
def test_all_operators_of_a_net_of_integers(tmp_path):
    report = reskeras.export(make_net(), tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES,
                             target="ethos-u55-128")
    result = report.ethos_u
    assert result.accelerator == report.target == "ethos-u55-128" and result.cpu_operators == {}
    assert report.left_to_cpu["ethos-u55-128"] == {} and result.operators >= 3
    # the convolution pads its three channels to a multiple of what the accelerator reads at once, so that
    # Vela counts at least those of the net
    assert result.macs >= 8 * 8 * 9 * 3 * 8 and result.cycles > 0 and result.milliseconds > 0
    assert 8 * 8 * 3 < result.sram_bytes < 1e5 and result.other_bytes > 8 * 27
    assert ExportReport.read(tmp_path / "net.tflite.json").ethos_u == result
    assert "multiply-accumulates on it" in report.summary()
    assert reskeras.verify(tmp_path / "net.tflite").passed


@needs_vela
def test_float_layers_are_left_to_the_processor(tmp_path):
    net = make_net(name="last")
    report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES,
                             target="ethos-u85-256", float_layers=["last"])
    assert report.ethos_u.cpu_operators["FULLY_CONNECTED"] == 1
    assert "ethos-u85-256 would leave to the CPU" in report.summary()


def test_refusals(tmp_path, capsys):
    path = str(tmp_path / "net.tflite")
    assert main(["export", "cifar_resnet20.digits", path, "--target", "ethos-u55-12"]) == 2
    assert "ethos-u55-128" in capsys.readouterr().err
    if not has_vela:
        with pytest.raises(ImportError, match="reskeras.ethos-u."):
            reskeras.export(make_net(), tmp_path / "net.tflite", target="ethos-u55-128")
    else:
        with pytest.raises(ArgumentError, match="computes with integers alone"):
            reskeras.export(make_net(), tmp_path / "net.tflite", target="ethos-u55-128")
