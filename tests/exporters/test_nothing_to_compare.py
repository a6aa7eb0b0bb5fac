"""A file always meets some threshold, also where agreement of classes is not defined."""
import json

import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.cli import main

IMAGES = np.random.default_rng(0).normal(0, 1, (40, 16, 16, 3)).astype("float32")


def trained(head):
    """A net whose biases are not zero, as after training, with `head` on its map."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((16, 16, 3))
    for _ in range(2):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", bias_initializer="random_normal")(x)
    return keras.Model(image, head(x), name="net")


HEADS = {"map": lambda x: layers.Conv2D(3, 1)(x),
         "value": lambda x: layers.Dense(1)(layers.GlobalAveragePooling2D()(x)),
         "segmentation": lambda x: layers.Conv2D(3, 1, activation="softmax")(x)}


@pytest.mark.parametrize("quantize", ["int8", "dynamic"])
@pytest.mark.parametrize("head", HEADS)
def test_outputs_that_are_no_classes(tmp_path, head, quantize):
    calibration = {"calibration_data": IMAGES} if quantize == "int8" else {"validation_data": IMAGES}
    report = reskeras.export(trained(HEADS[head]), tmp_path / "net.tflite", quantize=quantize, **calibration)
    threshold, = report.thresholds.values()
    assert threshold.difference == 0.1 and threshold.agreement is None
    assert report.passed and report.max_relative_difference < 0.1
    assert report.outside_ranges == (pytest.approx(0, abs=1e-3) if quantize == "int8" else None)


@pytest.mark.parametrize("head", ["map", "value"])
def test_ranges_that_have_nothing_to_do_with_the_images(tmp_path, head):
    """Calibrated on x * 1e-3, compared on x * 100: the difference is 100 %, and such files used to pass."""
    net, path = trained(HEADS[head]), tmp_path / "net.tflite"
    data = {"calibration_data": IMAGES * 1e-3, "validation_data": IMAGES * 100}
    with pytest.raises(RuntimeError, match="differ from Keras by .* of the values are outside the ranges of"):
        reskeras.export(net, path, quantize="int8", **data)
    assert not path.exists()
    report = reskeras.export(net, path, quantize="int8", strict=False, **data)
    assert not report.passed and report.max_relative_difference > 0.9
    assert 0.5 < report.outside_ranges <= 1
    assert json.loads((tmp_path / "net.tflite.json").read_text())["outside_ranges"] == report.outside_ranges
    assert f"{report.outside_ranges:.2%} of the values" in report.summary()
    assert main(["verify", str(path)]) == 1


def test_no_image_of_a_clear_class(tmp_path):
    """Two classes that are always as good as equal: nothing agrees or disagrees, so the difference counts."""
    net = trained(lambda x: layers.Dense(2, kernel_initializer="zeros", bias_initializer="ones")(
        layers.GlobalAveragePooling2D()(x)))
    report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES)
    assert report.first_result.decided_agreement is None
    assert [threshold.difference for threshold in report.thresholds.values()] == [0.1]


def test_an_agreement_that_cannot_be_measured_is_not_met(tmp_path):
    with pytest.raises(RuntimeError, match="no agreement can be measured; give 'difference' in `thresholds`"):
        reskeras.export(trained(HEADS["map"]), tmp_path / "net.tflite", quantize="int8",
                        calibration_data=IMAGES, thresholds={"agreement": 0.9})
