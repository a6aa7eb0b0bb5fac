"""int8 of trained nets with group normalization: within a point of the float net (docs/exports.md)."""
import keras
import numpy as np
import pytest

import reskeras
from reskeras.exporters.export import export
from reskeras.images.preprocessing import Preprocessing

TEST = 360      # images
POINT = 0.01


def train(builder):
    """A small net of it, trained on digits, and the pixels and classes."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = (np.kron(data.images, np.ones((4, 4)))[..., None] * 255 / 16).astype("uint8").repeat(3, -1)
    keras.utils.set_random_seed(0)
    net = builder(weights=None, classes=10, input_shape=(32, 32, 3), depths=(1, 1, 1, 1), width=0.25)
    net = reskeras.set_metadata(net, Preprocessing((32, 32), "tf"), [str(digit) for digit in range(10)])
    images = reskeras.get_preprocessing(net)(pixels)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, 12 * 45)
    net.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    net.fit(images[:-TEST], data.target[:-TEST], epochs=12, batch_size=32, verbose=0)
    return net, pixels, images, data.target


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["ResNet50GN", "ResNetV2_50x1BiT"])
def test_integers_are_within_a_point_of_floats(builder, tmp_path):
    net, pixels, images, classes = train(getattr(reskeras, builder))
    validation, calibration = (pixels[-TEST:], classes[-TEST:]), pixels[:200]

    def measure(model, **options):
        report = export(model, tmp_path / "net.tflite", validation_data=validation, strict=False, **options)
        return report.first_result.accuracy
    exact = measure(net)
    assert exact > 0.9
    accuracies = {
        "int8": measure(net, quantize="int8", calibration_data=calibration, calibration_method="mse"),
        "int16x8": measure(net, quantize="int16x8", calibration_data=calibration)}
    aware = reskeras.quantization_aware(net, calibration)
    aware.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    aware.fit(images[:-TEST], classes[:-TEST], epochs=3, batch_size=32, verbose=0)
    accuracies["trained for int8"] = measure(aware)
    for name, accuracy in accuracies.items():
        assert accuracy >= exact - POINT - 1e-6, (name, accuracy, exact)
