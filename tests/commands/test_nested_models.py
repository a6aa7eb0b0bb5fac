"""Nets inside other models, as in keras.io's transfer learning: Grad-CAM sees their layers."""
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import reskeras
from reskeras.commands.grad_cam import compute_grad_cam
from reskeras.images.preprocessing import Preprocessing
from reskeras.cli import main

TINY = {"weights": None, "depths": (1, 1, 1), "input_shape": (32, 32, 3)}
RAW = Preprocessing((32, 32), "raw")


def transfer():
    """keras.io's guide to transfer learning: scaling, a frozen backbone with training=False, a head."""
    backbone = reskeras.CifarResNet20(include_top=False, **TINY)
    backbone.trainable = False
    image = keras.Input((32, 32, 3))
    x = backbone(layers.Rescaling(1 / 255)(image), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def pooled_transfer():
    backbone = reskeras.CifarResNet20(include_top=False, pooling="avg", **TINY)
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), backbone,
                             layers.Dense(5, activation="softmax")])


def whole_net_inside():
    """The advice of this package: the layers of the preprocessing, then the net."""
    preprocessing = Preprocessing((32, 32), "torch")
    return keras.Sequential([keras.Input((32, 32, 3)), *preprocessing.as_layers(),
                             reskeras.CifarResNet20(classes=5, **TINY)])


def twice_nested():
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(2.0), whole_net_inside()])


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), "uint8")
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("make", [transfer, pooled_transfer, whole_net_inside, twice_nested])
def test_explain(photo, tmp_path, make):
    keras.utils.set_random_seed(0)
    net = make()
    page = reskeras.explain(net, photo, tmp_path / "e.html", preprocessing=RAW)
    assert "Grad-CAM" in page.read_text() and "conv4_block1" in page.read_text()

    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    seen = compute_grad_cam(net, image)
    np.testing.assert_allclose(seen.scores, np.asarray(net(image))[0], rtol=1e-4, atol=1e-6)
    assert seen.layer.startswith("conv4_block1") and all(cam.shape == (8, 8) for cam in seen.cams.values())
    assert len(seen.maps) > 2


def test_the_logits_of_a_nested_net_are_explained():
    """The softmax inside the nested net is not differentiated: where it is certain, its gradient vanishes."""
    keras.utils.set_random_seed(0)
    inner = reskeras.CifarResNet20(classes=5, **TINY)
    inner.get_layer("predictions").kernel.assign(inner.get_layer("predictions").kernel * 1e4)
    image = np.random.default_rng(0).uniform(0, 1, (1, 32, 32, 3)).astype("float32")
    nested = compute_grad_cam(keras.Sequential([keras.Input((32, 32, 3)), inner]), image, classes=range(5))
    plain = compute_grad_cam(inner, image, classes=range(5))
    for i in range(5):
        np.testing.assert_allclose(nested.cams[i], plain.cams[i], atol=1e-4)


def test_in_the_shell(photo, tmp_path):
    keras.utils.set_random_seed(0)
    net = reskeras.set_metadata(whole_net_inside(), RAW)
    reskeras.save(net, tmp_path / "own.keras")
    page = tmp_path / "s.html"
    assert main(["explain", str(photo), "--model", str(tmp_path / "own.keras"), "--output", str(page)]) == 0
    assert page.exists()
