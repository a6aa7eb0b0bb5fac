"""int8 files for OpenVINO; `tox -e nncf` installs what they need."""
import importlib.util

import keras
import numpy as np
import pytest
from tiny import first_stages, tiny, trained

import reskeras
from reskeras.exporters.export import export

needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed")


@pytest.fixture(scope="module")
def digits():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = (np.kron(data.images, np.ones((2, 2)))[..., None] * 255 / 16).astype("uint8")
    return reskeras.create("cifar_resnet20.digits"), pixels[:64], (pixels[-200:], data.target[-200:])


@pytest.mark.skipif(importlib.util.find_spec("nncf") is not None, reason="nncf is installed")
def test_without_nncf(digits, tmp_path):
    net, calibration, _ = digits
    with pytest.raises(ImportError, match=r"reskeras\[nncf\]"):
        export(net, tmp_path / "net.xml", quantize="int8", calibration_data=calibration)


@needs_nncf
def test_int8(digits, tmp_path, capfd):
    net, calibration, validation = digits
    report = export(net, tmp_path / "net.xml", quantize="int8", calibration_data=calibration,
                    validation_data=validation)
    assert report.passed and report.max_relative_difference < 0.08 and report.bytes < 450_000
    assert report.first_result.accuracy >= report.keras["accuracy"] - 0.01
    assert {result.precision for result in report.runtimes.values()} == {"int8"}
    assert report.outside_ranges < 0.001 and report.beyond_half == () and "nncf" in report.versions
    assert "Statistics" not in capfd.readouterr().out
    assert reskeras.verify(tmp_path / "net.xml").passed


@needs_nncf
def test_methods_and_float_layers(digits, tmp_path):
    """Ranges and layers in floating point are chosen as for TFLite."""
    net, calibration, validation = digits
    all_integers = export(net, tmp_path / "net.xml", quantize="int8", calibration_data=calibration,
                          validation_data=validation, calibration_method="mse")
    report = export(net, tmp_path / "net.xml", quantize="int8", calibration_data=calibration,
                    validation_data=validation, calibration_method="mse",
                    float_layers=["conv3_block1_1_conv"])
    assert report.passed and report.calibration_method == "mse" and report.outside_ranges > 0
    assert report.bytes > all_integers.bytes + 8000         # one kernel of 3 x 3 x 16 x 32 floats
    with pytest.raises(ValueError, match="float_layers.*conv2_block1_1_bn"):
        export(net, tmp_path / "net.xml", quantize="int8", calibration_data=calibration,
               float_layers=["conv2_block1_1_bn"])


@needs_nncf
def test_gates_of_selective_kernels(tmp_path):
    """OpenVINO's plugin computes nonsense of rounded gates that are concatenated and sliced."""
    keras.utils.set_random_seed(0)
    net = trained(tiny("skresnext50_32x4d", **first_stages("skresnext50_32x4d")))
    images = np.random.default_rng(0).standard_normal((48, *net.input_shape[1:])).astype("float32")
    report = export(net, tmp_path / "net.xml", quantize="int8", calibration_data=images[:40],
                    validation_data=images[40:])
    assert report.max_relative_difference < 0.1     # 3.1 with all of NNCF's roundings


@needs_nncf
def test_what_else_reads_a_part_stays_in_int8(tmp_path):
    """A convolution beside a concatenation that is sliced, as in a U-Net with crops."""
    openvino = pytest.importorskip("openvino")
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    skip = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    deep = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(skip)
    joined = keras.layers.Cropping2D(2)(keras.layers.Concatenate()([skip, deep]))
    net = keras.Model(image, keras.layers.Conv2D(3, 1)(joined))
    images = np.random.default_rng(0).standard_normal((40, 16, 16, 3)).astype("float32")
    report = export(net, tmp_path / "net.xml", quantize="int8", calibration_data=images)
    assert report.max_relative_difference < 0.1
    model = openvino.Core().read_model(tmp_path / "net.xml")
    inputs = [node.input_value(0).get_node().get_type_name() for node in model.get_ops()
              if node.get_type_name() == "Convolution"]
    assert "FakeQuantize" in inputs, inputs
