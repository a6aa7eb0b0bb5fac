"""The input of an int8 file reaches as far as pixels do, also if the images of the calibration are dim."""
import keras
import numpy as np
import pytest
from tiny import tiny

import reskeras
from reskeras.quantization.calibration import load_images
from reskeras.exporters.formats import open_file
from reskeras.exporters.tflite.runtime import get_interpreter_class
from reskeras.images.preprocessing import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), "uint8")


def open_tensors(path):
    """What the file says of its tensors, the input first."""
    interpreter = get_interpreter_class()(model_path=str(path))
    return [*interpreter.get_input_details(), *interpreter.get_tensor_details()]


def open_input(path):
    return open_tensors(path)[0]


@pytest.fixture(scope="module")
def digits():
    """Pixels of the package's own training set, and their classes."""
    images = pytest.importorskip("sklearn.datasets").load_digits()
    return np.round(images.images * 255 / 16).astype("uint8")[..., None], images.target


def test_bytes_after_a_dim_calibration(digits, tmp_path):
    """A third of the brightness; the measured range had the scale 1/3, and 43.5 % of the bytes were right."""
    pixels, classes = digits
    net = reskeras.create("cifar_resnet20.digits", include_preprocessing=True)
    reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=pixels[400:600] // 3,
                    io="uint8", strict=False)
    assert open_input(tmp_path / "net.tflite")["quantization"] == (1.0, 0)
    bytes_ = np.round(reskeras.get_preprocessing(net)(pixels[:400]))
    assert (open_file(tmp_path / "net.tflite")(bytes_).argmax(1) == classes[:400]).mean() >= 0.99


def make_net():
    """A net of one convolution."""
    image = keras.Input((32, 32, 3))
    return keras.Model(image, keras.layers.Conv2D(4, 3)(image))


@pytest.mark.parametrize("pixels, low, high, method", [
    ("torch", -0.485 / 0.229, (1 - 0.406) / 0.225, "minmax"), ("caffe", -123.68, 255 - 103.939, "mse")])
def test_prepared_values(tmp_path, pixels, low, high, method):
    """The input's range is what the preprocessing makes of 0 and 255, also where others are narrowed."""
    net = make_net()
    prepare = Preprocessing((32, 32), pixels, crop_pct=1.0)
    reskeras.export(net, tmp_path / "net.tflite", quantize="int8", preprocessing=prepare,
                    calibration_data=PIXELS // 3, calibration_method=method, strict=False)
    scale, zero_point = open_input(tmp_path / "net.tflite")["quantization"]
    assert scale == pytest.approx((high - low) / 255, rel=1e-5)
    assert (-128 - zero_point) * scale == pytest.approx(low, abs=scale)
    assert (127 - zero_point) * scale == pytest.approx(high, abs=scale)


def test_what_is_computed_from_each_pixel(tmp_path):
    """The scaling inside a net keeps its range too, before a padding that it cannot be folded through."""
    net = tiny("resnet18", classifier_activation=None)
    prepare = Preprocessing(net.input_shape[1:3], "torch", crop_pct=1.0)
    whole = keras.Sequential([keras.Input(net.input_shape[1:]), *prepare.as_layers(resize=False), net])
    reskeras.export(whole, tmp_path / "net.tflite", quantize="int8", io="uint8", strict=False,
                    preprocessing=Preprocessing(prepare.size, "raw", crop_pct=1.0),
                    calibration_data=PIXELS // 3)
    scales = [tensor["quantization"][0] for tensor in open_tensors(tmp_path / "net.tflite")
              if tuple(tensor["shape"]) == (1, *net.input_shape[1:]) and tensor["dtype"] == np.int8]
    prepared = prepare.normalize(np.array([[0.0] * 3, [255.0] * 3]))
    assert scales[-1] == pytest.approx(np.ptp(prepared) / 255, rel=1e-5)


def test_a_range_that_is_not_known_is_measured(tmp_path):
    net = make_net()
    images = np.random.default_rng(0).uniform(-3, 5, (40, *net.input_shape[1:])).astype("float32")
    reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images, strict=False)
    assert open_input(tmp_path / "net.tflite")["quantization"][0] == pytest.approx(8 / 255, rel=1e-3)


@pytest.mark.parametrize("pixels", [PIXELS // 8, 200 + PIXELS // 8])
def test_dim_and_bright_pixels_have_been_prepared(pixels):
    """They are refused as floats, which might be of another scale, but not as the bytes that they are."""
    prepare = Preprocessing((32, 32), "torch", crop_pct=1.0)
    loaded = load_images(pixels, prepare, (32, 32, 3)).images
    np.testing.assert_allclose(loaded, prepare(pixels))
    with pytest.raises(ValueError, match="they have not been through it"):
        load_images(loaded, prepare, (32, 32, 3))
