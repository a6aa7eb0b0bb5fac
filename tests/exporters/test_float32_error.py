"""A net that float32 itself computes badly is held to that, and to no more."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.exporters import reference_outputs
from reskeras.exporters.tflite import tflite
from reskeras.exporters.random_images import MAX_LOGIT
from reskeras.exporters.float32_error import FACTOR, MAX_DIFFERENCE


def cancelling(step):
    """The difference of two nearly equal sums of 4,096 products: `step` of each is left."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 256))
    sums = layers.Dense(2, name="sums")
    net = keras.Model(image, layers.Dense(1, name="difference")(sums(layers.Flatten()(image))))
    kernel = np.random.default_rng(0).standard_normal((4096, 2)).astype("float32")
    kernel[:, 1] = kernel[:, 0] + step * kernel[:, 1]
    sums.set_weights([kernel, np.ones(2)])
    net.layers[-1].set_weights([np.array([[1.], [-1.]]), np.zeros(1)])
    return net


@pytest.mark.parametrize("step, noisy", [(1, False), (1e-3, True)])
def test_the_threshold_is_what_float32_allows(tmp_path, step, noisy):
    report = reskeras.export(cancelling(step), tmp_path / "net.tflite", strict=False)
    allowed = report.thresholds["LiteRT"].difference
    assert (report.float32_error is not None) == noisy and report.passed
    assert ("Keras in float32 differs" in report.summary()) == noisy
    if noisy:
        assert allowed == FACTOR * report.float32_error < MAX_DIFFERENCE and allowed > 1e-4
    else:
        assert allowed == 1e-4


def test_a_wrong_file_is_still_refused(tmp_path, monkeypatch):
    def wrong(model, path, options):
        *others, kernel, bias = model.get_weights()
        model.set_weights([*others, 1.03 * kernel, bias])
        right(model, path, options)
    right = tflite.write
    monkeypatch.setattr(tflite, "write", wrong)
    with pytest.raises(RuntimeError, match="outputs differ from Keras by 0.03.* relative, more than 0.00"):
        reskeras.export(cancelling(1e-3), tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


def test_what_was_asked_for_is_obeyed(tmp_path):
    with pytest.raises(RuntimeError, match="more than 1e-07"):
        reskeras.export(cancelling(1e-3), tmp_path / "net.tflite", thresholds={"difference": 1e-7})


def test_a_net_that_scales_pixels_is_compared_on_pixels(tmp_path):
    """Of a normal distribution it would see next to nothing."""
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    net = keras.Model(image, layers.Dense(5)(x))
    reskeras.export(net, tmp_path / "net.tflite")
    assert np.ptp(reference_outputs.read_reference_outputs(tmp_path / "net.tflite.npz").images) > 200


def test_random_images_leave_the_classes_undecided(tmp_path):
    """A softmax of logits of some thousands agrees with anything; a wrong file is seen."""
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 3))
    large = keras.initializers.RandomNormal(stddev=500)
    head = layers.Dense(5, activation="softmax", kernel_initializer=large, use_bias=False)
    net = keras.Model(image, head(layers.Flatten()(image)))
    report = reskeras.export(net, tmp_path / "net.tflite")
    held = reference_outputs.read_reference_outputs(tmp_path / "net.tflite.npz")
    assert 10 < report.scale <= MAX_LOGIT and held.keras.min() > 1e-30
