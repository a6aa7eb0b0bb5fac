"""int8 files that take a camera's bytes: the normalization of prepared values is inside."""
import json

import keras
import numpy as np
import pytest
from keras import layers
from tiny import tiny

import reskeras
from reskeras.exporters.formats import open_file
from reskeras.exporters.tflite.runtime import get_interpreter_class
from reskeras.images.preprocessing import Preprocessing

SIZE = (16, 20)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, *SIZE, 3), "uint8")


def convolution(padding, **arguments):
    """A trained net of one convolution, whose output is a map."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3))
    x = layers.Conv2D(4, 3, padding=padding, bias_initializer="random_normal", **arguments)(image)
    return keras.Model(image, x, name="net")


def export_bytes(net, path, pixels, **arguments):
    """Exports a net with a preprocessing of this kind for bytes."""
    prepare = Preprocessing(net.input_shape[1:3], pixels, crop_pct=1.0)
    return prepare, reskeras.export(net, path, quantize="int8", io="uint8", preprocessing=prepare,
                                    **{"calibration_data": PIXELS, **arguments})


def run_bytes(path, pixels):
    """What the file answers to bytes, in LiteRT alone, and what it says of its input."""
    interpreter = get_interpreter_class()(model_path=str(path))
    interpreter.allocate_tensors()
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = output["quantization"]
    answers = []
    for image in pixels:
        interpreter.set_tensor(input_["index"], image[None])
        interpreter.invoke()
        answers.append((interpreter.get_tensor(output["index"]).astype("float32") - zero_point) * scale)
    return np.concatenate(answers), input_, scale


def count(report):
    """The operators but those that change uint8 to int8 and back."""
    return {name: number for name, number in report.operators.items() if name != "QUANTIZE"}


@pytest.mark.parametrize("pixels", ["torch", "caffe"])
def test_a_padded_border_is_that_of_prepared_values(tmp_path, pixels):
    """ImageNet's mean and deviation by channel; a border of byte 0 would be as dark as it gets."""
    net, path = convolution("same"), tmp_path / "net.tflite"
    prepare, report = export_bytes(net, path, pixels)
    answers, input_, step = run_bytes(path, PIXELS[:8])
    assert input_["dtype"] == np.uint8 and input_["quantization"] == (1.0, 0)
    differences = np.abs(answers - net.predict(prepare(PIXELS[:8]), verbose=0))
    border = np.ones(SIZE, bool)
    border[1:-1, 1:-1] = False
    assert differences[:, border].max() < 4 * step and differences[:, ~border].max() < 4 * step
    assert differences[:, border].mean() < 1.2 * differences[:, ~border].mean()
    # a convolution of all channels turns RGB to BGR
    assert count(report) == ({"DEPTHWISE_CONV_2D": 1, "CONV_2D": 1} if pixels == "torch" else {"CONV_2D": 2})


@pytest.mark.parametrize("optimize", [True, False])
def test_folded_where_nothing_is_padded(tmp_path, optimize):
    net = convolution("valid")
    prepare, report = export_bytes(net, tmp_path / "net.tflite", "torch", optimize=optimize)
    answers, input_, step = run_bytes(tmp_path / "net.tflite", PIXELS[:8])
    assert count(report) == ({"CONV_2D": 1} if optimize else {"DEPTHWISE_CONV_2D": 1, "CONV_2D": 1})
    assert input_["quantization"] == (1.0, 0)
    largest = np.abs(answers - net.predict(prepare(PIXELS[:8]), verbose=0)).max()
    assert largest < (1.5 if optimize else 4) * step


def test_a_net_of_the_table_and_what_its_file_says(tmp_path, capsys):
    """Calibrated on dim images given as the model takes them; the file and `verify` take pixels."""
    from reskeras.cli import main
    net, path = tiny("cifar_resnet20", input_shape=(*SIZE, 3)), tmp_path / "net.tflite"
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(np.random.default_rng(0).normal(0, 0.1, layer.beta.shape))
    prepare = Preprocessing(SIZE, "torch", crop_pct=1.0)
    report = reskeras.export(net, path, quantize="int8", io="uint8", calibration_data=prepare(PIXELS // 3),
                             preprocessing=prepare, labels=list("abcdefg"), strict=False,
                             validation_data=PIXELS)
    *_, input_, _ = run_bytes(path, PIXELS[:1])
    assert input_["quantization"] == (1.0, 0) and report.max_relative_difference < 0.2
    memory = json.loads((tmp_path / "net.tflite.json").read_text())["memory"]
    assert memory["scales"] is True and memory["preprocessing"]["pixels"] == "raw"
    assert memory["labels"] == list("abcdefg")
    scores = open_file(path)(PIXELS[:8].astype("float32"))
    assert np.abs(scores - net.predict(prepare(PIXELS[:8]), verbose=0)).max() < 0.1
    assert main(["verify", str(path)]) == 1 - report.passed


def test_pixels_taken_already_stay_as_they_are(tmp_path):
    image = keras.Input((*SIZE, 3))
    net = keras.Model(image, convolution("same")(layers.Rescaling(1 / 127.5, -1)(image)))
    _, report = export_bytes(net, tmp_path / "net.tflite", "raw", strict=False)
    assert run_bytes(tmp_path / "net.tflite", PIXELS[:1])[1]["quantization"] == (1.0, 0)
    assert report.max_relative_difference < 0.1


def test_bytes_of_an_unknown_preprocessing_are_refused(tmp_path):
    images = np.random.default_rng(0).normal(size=(40, *SIZE, 3)).astype("float32")
    with pytest.raises(ValueError, match="preprocessing=None: expected how .* or give 'int8' as `io`"):
        reskeras.export(convolution("same"), tmp_path / "net.tflite", quantize="int8", io="uint8",
                        calibration_data=images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quantize", [None, "float16", "dynamic"])
def test_calibration_data_without_int8_are_refused(tmp_path, quantize):
    """They used to be compared on, and the shell's user had a float32 file that `passed`."""
    with pytest.raises(ValueError, match="calibration_data=.*: expected None.*give 'int8' as `quantize`, or "
                                         "`validation_data`"):
        reskeras.export(convolution("same"), tmp_path / "net.tflite", quantize=quantize,
                        calibration_data=np.zeros((40, *SIZE, 3), "float32"))
    assert not list(tmp_path.iterdir())


def test_calibration_data_without_int8_are_refused_in_the_shell(tmp_path, capsys):
    from reskeras.cli import main
    assert main(["export", "cifar_resnet20.digits", str(tmp_path / "net.tflite"), "--calibration-data",
                 str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "--calibration-data" in error and "'int8' as `quantize`" in error and error.count("\n") == 1
