"""The range test of learning rates, against a plain loop of Keras with the same batches."""
import csv
import json

import keras
import numpy as np
import pytest
import small_training
import tensorflow as tf

import reskeras
from reskeras import cli
from reskeras.commands import find_learning_rate
from reskeras.train.learning_rate_finder import _make_curve

IMAGES, LABELS = small_training.make_images(32)
LABELS = LABELS % 4


def make_net():
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 1))
    x = keras.layers.Dense(8, "tanh")(keras.layers.Flatten()(image))
    net = keras.Model(image, keras.layers.Dense(4, "softmax", name="predictions")(x))
    return reskeras.set_metadata(net, preprocessing="cifar_resnet20.digits")


OPTIONS = dict(recipe="digits", augmentation="", size=16, batch_size=32, label_smoothing=0, weight_decay=0,
               optimizer="sgd", momentum=0, verbose=0)


def test_losses_are_those_of_a_plain_loop(tmp_path):
    """One batch has all images, so that their order does not matter; the weights are restored."""
    net = make_net()
    before = net.get_weights()
    curve = reskeras.find_learning_rate(net, (IMAGES, LABELS), lowest_rate=1e-3, highest_rate=1e5, updates=40,
                                        micro_batches=2, base_batch_size=64, learning_rate_scaling="linear",
                                        output=tmp_path / "curve.json", **OPTIONS)
    for one, other in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)

    pixels = reskeras.get_metadata(net).preprocessing.normalize(tf.cast(IMAGES, "float32"))
    optimizer, losses = keras.optimizers.SGD(), []
    net.compile(optimizer, "sparse_categorical_crossentropy")
    for rate in curve.rates:
        optimizer.learning_rate = rate
        losses.append(float(net.train_on_batch(pixels, LABELS)))
    stable = [rate < 1 for rate in curve.rates]       # above, rounding grows
    assert sum(stable) > 10
    np.testing.assert_allclose(np.array(curve.losses)[stable], np.array(losses)[stable], rtol=1e-3)
    np.testing.assert_allclose(curve.rates, [1e-3 * 1e8 ** (i / 39) for i in range(len(curve.rates))])
    assert curve.exploded and len(curve.rates) < 40
    assert curve.rates[int(np.argmin(curve.smoothed))] / 10 == curve.minimum_over_10
    # the field is for 64 images, the batch has 32
    assert curve.learning_rate == pytest.approx(2 * curve.minimum_over_10)
    assert json.loads((tmp_path / "curve.json").read_text())["minimum_over_10"] == curve.minimum_over_10


def test_a_quadratic_explodes_where_it_must(tmp_path):
    """Noisy gradient descent on h x^2 / 2 diverges at rates above 2 / h; the smallest loss lies before."""
    h, x, rates, losses = 8.0, 1.0, [1e-4 * 1e5 ** (i / 199) for i in range(200)], []
    random = np.random.default_rng(0)
    for rate in rates:
        losses.append(h * x * x / 2 + 1)
        x -= rate * (h * x + random.normal())
        if losses[-1] > 100:
            break
    curve = _make_curve(rates[:len(losses)], losses, 1.0, True)
    assert 0.1 / h < curve.minimum_over_10 * 10 < 2 / h < rates[len(losses) - 1]
    assert 1e-3 < curve.steepest <= curve.minimum_over_10 * 10 and "suggestion: " in str(curve)
    pytest.importorskip("matplotlib")
    find_learning_rate._write(curve, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="exploded after 1 updates, .* give a lower lowest_rate"):
        _make_curve([1.0], [3.0], 1.0, True)


def test_the_shell_writes_the_curve(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    words = ["find-learning-rate", "cifar_resnet20", "--data", f"npz:{tmp_path / 'images.npz'}", "--recipe",
             "digits", "--batch-size", "8", "--augmentation", "resize(8)", "--size", "8", "--test-size", "8",
             "--model-overrides", "depths=(1,)", "--model-overrides", "widths=(16,)", "--model-overrides",
             "strides=(1,)", "--updates", "12", "--lowest-rate", "1e-5", "--highest-rate", "1", "--verbose",
             "0"]
    assert cli.main([*words, "--output", str(tmp_path / "curve.csv")]) == 0
    assert "a tenth of the rate with the smallest loss" in capsys.readouterr().out
    rows = list(csv.reader((tmp_path / "curve.csv").open()))
    assert rows[0] == ["learning_rate", "loss", "smoothed_loss"] and float(rows[1][0]) == pytest.approx(1e-5)
    assert cli.main([*words, "--output", str(tmp_path / "curve.txt")]) == 2
    assert "curve.txt: expected a file that ends in .png, .csv, .json" in capsys.readouterr().err
    assert cli.main([*words, "--epochs", "3"]) == 2
    assert "--epochs 3: expected none, because the range test sets it" in capsys.readouterr().err
