"""What replaces tensorflow-addons computes the same: tests/golden/tfa.json is its output, see
tests/tfa/write_reference.py.
"""
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from reskeras.blocks.drop_layers import StochasticDepth
from reskeras.train import optimizers
from reskeras.train.augment_ops import make_box_mask

TFA = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "tfa.json").read_text())
RATE, DECAY = TFA["rate"], TFA["decay"]


def stepped(optimizer, averages=False):
    """The kernel and the bias after each of the reference's steps, or their averages."""
    variables = [keras.Variable(TFA[name], name=name) for name in ("kernel", "bias")]
    optimizer.build(variables)
    for gradients in TFA["gradients"]:
        optimizer.apply([tf.constant(g) for g in gradients], variables)
        yield optimizers.get_averages(optimizer) if averages else variables


# Addons' decay is a share of the weights, Keras' and ours a share per learning rate.
@pytest.mark.parametrize(
    "name, optimizer",
    [
        (
            "lamb",
            lambda: keras.optimizers.Lamb(RATE, epsilon=1e-6),
        ),  # decay: Keras' own is outside of the trust ratio
        ("lamb_decay", lambda: optimizers.Lamb(
            RATE, epsilon=1e-6, weight_decay=DECAY, decayed_weights="kernels")),
        ("adamw", lambda: keras.optimizers.AdamW(RATE, weight_decay=DECAY / RATE, epsilon=1e-7)),
        ("adamw", lambda: optimizers.AdamW(RATE, weight_decay=DECAY / RATE, epsilon=1e-7)),
        ("sgdw", lambda: keras.optimizers.SGD(RATE, momentum=0.9, weight_decay=DECAY / RATE)),
    ],
    ids=["lamb", "own lamb with decay", "adamw", "own adamw", "sgdw"],
)
def test_optimizers(name, optimizer):
    for variables, reference in zip(stepped(optimizer()), TFA[name], strict=True):
        for variable, value in zip(variables, reference, strict=True):
            np.testing.assert_allclose(variable, value, atol=3e-6)


def test_keras_lamb_is_another_one_with_decay():
    """Why there is one of ours."""
    *_, (kernel, _) = stepped(keras.optimizers.Lamb(RATE, epsilon=1e-6, weight_decay=DECAY))
    assert np.abs(kernel - np.array(TFA["lamb_decay"][-1][0])).max() > 1e-3


def test_moving_average():
    """Both begin with the weights after the first step (addons' with start_step=1)."""
    for averages, reference in zip(
        stepped(optimizers.SGD(RATE, use_ema=True, ema_momentum=0.9), averages=True), TFA["moving_average"],
        strict=True):
        for average, value in zip(averages, reference, strict=True):
            np.testing.assert_allclose(average, value, atol=3e-6)


@pytest.mark.parametrize("case", TFA["stochastic_depth"], ids=lambda case: str(case["survival"]))
def test_stochastic_depth(case):
    """Addons' scales the branch at inference as the paper does, ours in training: the same on a branch of
    that scale.
    """
    shortcut, residual = np.array(case["shortcut"], "float32"), np.array(case["residual"], "float32")
    layer = StochasticDepth(1 - case["survival"], mode="batch", seed=1)
    branch = case["survival"] * residual
    np.testing.assert_allclose(shortcut + layer(branch, training=False), case["inference"], atol=1e-6)
    outputs = [np.ravel(shortcut + layer(branch, training=True)) for _ in range(30)]
    kept = [np.abs(out - case["kept"]).max() < np.abs(out - case["dropped"]).max() for out in outputs]
    assert 0 < sum(kept) < 30
    for out, keeps in zip(outputs, kept):
        np.testing.assert_allclose(out, case["kept" if keeps else "dropped"], atol=1e-6)


def image(mask):
    return np.array([[pixel == "." for pixel in row] for row in mask])


@pytest.mark.parametrize(
    "case", TFA["cutout"]["placed"], ids=lambda case: f"{case['size']} at {case['centre']}")
def test_cutout(case):
    """The square that keras-cv's RandomCutout fills, and the one that `erase` and `cutmix` cut."""
    size, (y, x) = case["size"], case["centre"]
    fill = pytest.importorskip("keras_cv.src.utils.fill_utils")
    filled = fill.fill_rectangle(
        tf.ones((1, 8, 8, 1)), *(tf.constant([v]) for v in (x, y, size, size)), tf.zeros((1, 8, 8, 1)))
    np.testing.assert_array_equal(filled[0, ..., 0], image(case["mask"]))
    begin = tf.constant([y - size / 2, x - size / 2], tf.float32)
    np.testing.assert_array_equal(
        ~make_box_mask(begin, tf.constant([size, size], tf.float32), [8, 8, 1])[..., 0], image(case["mask"]))


def test_random_cutout():
    """Of 8x8 pixels: addons' square of 4 stays inside of the image, as `erase`'s does; keras-cv's may hang
    over the border.
    """
    layers = pytest.importorskip("keras_cv.layers")
    areas = 64 - np.sum(
        layers.RandomCutout(0.5, 0.5, seed=1)(np.ones((200, 8, 8, 1), "float32"), training=True), (1, 2, 3))
    assert TFA["cutout"]["random_areas"] == [16]
    assert areas.max() == 16 and areas.min() < 16
