"""Ranges of int8 that leave out a few values far from all others."""
import json

import keras
import numpy as np
import pytest
from tiny import tiny

import reskeras
from reskeras._keras_private import get_tflite_schema
from reskeras.exporters.tflite import flatbuffer
from reskeras.exporters.formats import open_file
from reskeras.images.preprocessing import Preprocessing
from reskeras.quantization.range_choice import BINS, SHARES, choose_mse_range, choose_percentile_range

LOW, HIGH = -1.0, 3.0


def counts_of(values):
    return np.histogram(values, BINS, (LOW, HIGH))[0]


def open_floats(path):
    """Names of what convolutions and dense layers make in floating point."""
    model, kinds = flatbuffer.read_model(path), ("CONV_2D", "FULLY_CONNECTED")
    graph, names = model.Subgraphs(0), list(flatbuffer.iterate_operator_names(model))
    outputs = [graph.Tensors(graph.Operators(i).Outputs(0)) for i, name in enumerate(names) if name in kinds]
    return {tensor.Name().decode() for tensor in outputs
            if tensor.Type() == get_tflite_schema().TensorType.FLOAT32}


def error(values, low, high):
    """Of 256 levels from `low` to `high`, which are moved so that zero is one of them."""
    step = (high - low) / 255
    levels = np.clip(np.round(values / step), np.round(low / step), np.round(high / step))
    return np.mean((levels * step - values) ** 2)


def test_percentile_leaves_out_as_much_at_either_end():
    values = np.clip(np.random.default_rng(0).laplace(0, 0.08, 1_000_000), LOW, HIGH)
    low, high = choose_percentile_range(counts_of(values), LOW, HIGH)
    assert 0.4e-4 < (values < low).mean() <= 0.5e-4 and 0.4e-4 < (values > high).mean() <= 0.5e-4
    assert choose_percentile_range(counts_of([LOW, HIGH]), LOW, HIGH) == (LOW, HIGH)


@pytest.mark.parametrize("zeros", [0.0, 0.95])
def test_mse_is_the_least_of_its_choices(zeros):
    """Measured by rounding the values themselves, also where a ReLU made most of them zero."""
    values = np.clip(np.random.default_rng(0).laplace(0, 0.1, 200_000), LOW, HIGH)
    values[:2] = LOW, HIGH
    values = values[values != 0]
    whole = np.concatenate([values, np.zeros(int(len(values) * zeros / (1 - zeros)))])
    best = choose_mse_range(counts_of(values), LOW, HIGH)
    measured = {share: error(whole, share * LOW, share * HIGH) for share in SHARES}
    assert best[1] < HIGH and error(whole, *best) <= 1.02 * min(measured.values()) < 0.9 * measured[1.0]
    assert choose_mse_range(counts_of([LOW, HIGH]), LOW, HIGH) == (LOW, HIGH)


@pytest.mark.parametrize("method, most", [("percentile", 0.5), ("mse", 0.9)])
def test_an_outlier_of_the_calibration_does_less_harm(tmp_path, method, most):
    """One pixel of one image a hundred times as bright: all that was seen is no range for the others."""
    keras.utils.set_random_seed(0)
    net = tiny("cifar_resnet20", classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(64, *net.input_shape[1:])).astype("float32")
    calibration = images.copy()
    calibration[0, 5, 5] = 100
    expected, errors = net.predict(images, verbose=0), {}
    for name in ("minmax", method):
        path = tmp_path / f"{name}.tflite"
        report = reskeras.export(net, path, quantize="int8", calibration_data=calibration,
                                 validation_data=images, strict=False,
                                      calibration_method=name)
        assert report.calibration_method == json.loads(path.with_name(f"{path.name}.json").read_text())[
            "calibration_method"] == name
        errors[name] = np.abs(open_file(path)(images) - expected).mean()
    assert errors[method] < most * errors["minmax"]


def test_ranges_and_float_layers_together(tmp_path):
    """In a file of batches of 2 that takes pixels."""
    net = tiny("seresnet18", classifier_activation=None)
    images = np.random.default_rng(0).integers(0, 256, (40, *net.input_shape[1:]), "uint8")
    kept = next(layer.name for layer in net.layers if isinstance(layer, keras.layers.Conv2D))
    report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images,
                             batch_size=2, io="uint8", preprocessing=Preprocessing(net.input_shape[1:3]),
                                  calibration_method="mse", float_layers=[kept])
    assert report.passed and report.operators["DEQUANTIZE"] >= 1
    made = open_floats(tmp_path / "net.tflite")
    assert len(made) == 1 and kept in made.pop()


def test_a_layer_that_is_no_operator_any_more_is_named(tmp_path):
    net = tiny("cifar_resnet20", classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(40, *net.input_shape[1:])).astype("float32")
    with pytest.raises(ValueError, match="conv1_bn is not one, as it was folded into the layer before it"):
        reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images,
                        float_layers=["conv1_conv", "conv1_bn"])
    assert not list(tmp_path.iterdir())


def test_ranges_are_those_of_all_images(tmp_path):
    """Dim ones first, as a folder of classes may have them."""
    keras.utils.set_random_seed(0)
    net = tiny("cifar_resnet20", classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(256, *net.input_shape[1:])).astype("float32")
    images[:128] *= 0.1
    for method in ("percentile", "mse"):
        report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images,
                                      calibration_method=method)
        assert report.max_relative_difference < 0.1
