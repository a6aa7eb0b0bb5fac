"""A file of the user's own for images of another number of channels, as a published checkpoint is used."""
import numpy as np
import pytest
from checkpoints import SMALL, randomized, safetensors, same, torch_arrays
from safetensors.numpy import save

import reskeras

SMALLER = {**SMALL, "width": 0.125}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same net in each kind of file."""
    folder = tmp_path_factory.mktemp("own")
    net = randomized(reskeras.ResNet18(weights=None, classes=5, input_shape=(64, 64, 3), **SMALLER))
    reskeras.save(net, folder / "own.keras")
    net.save_weights(folder / "own.weights.h5")
    net.save(folder / "own.h5")
    (folder / "own.safetensors").write_bytes(safetensors(net))
    return net, folder


def build(path, channels, **arguments):
    return reskeras.ResNet18(**{"weights": path, "classes": 5, "input_shape": (64, 64, channels), **SMALLER,
                                **arguments})


@pytest.mark.parametrize("suffix, channels", [(".keras", 1), (".keras", 4), (".keras", 12), (".h5", 4),
                                              (".weights.h5", 12), (".safetensors", 1), (".safetensors", 12)])
def test_channels(files, capsys, suffix, channels):
    """One channel sees what three equal ones did; more are the old ones again, scaled (timm)."""
    net, folder = files
    path = folder / f"own{suffix}"
    model = build(path, channels)
    same(model, net, but=["conv1_conv"])
    old, new = (m.get_layer("conv1_conv").kernel.numpy() for m in (net, model))
    expected = old.sum(2, keepdims=True) if channels == 1 else \
        np.concatenate([old] * 4, axis=2)[:, :, :channels] * (3 / channels)
    np.testing.assert_allclose(new, expected, rtol=1e-6)
    message = f"{path}: the first convolution, of 3 channels, is adapted to {channels}"
    assert message in capsys.readouterr().err


def test_gray_images_are_scored_as_in_colour(files):
    net, folder = files
    gray = build(folder / "own.keras", 1)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 1)).astype("float32")
    np.testing.assert_allclose(gray(x), net(np.repeat(x, 3, -1)), rtol=1e-4, atol=1e-5)


def test_twelve_bands_of_equal_triples_are_scored_as_in_colour(files):
    net, folder = files
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(build(folder / "own.keras", 12)(np.tile(x, 4)), net(x), rtol=1e-4, atol=1e-5)


def test_from_many_bands_and_back(tmp_path):
    wide = randomized(build(None, 12))
    wide.save_weights(tmp_path / "w.weights.h5")
    kernel = build(tmp_path / "w.weights.h5", 3).get_layer("conv1_conv").kernel
    np.testing.assert_allclose(kernel, wide.get_layer("conv1_conv").kernel.numpy()[:, :, :3] * 4, rtol=1e-6)


def test_without_the_classifier(files):
    """keras.io's transfer learning: a backbone for other images."""
    net, folder = files
    backbone = build(folder / "own.keras", 4, include_top=False, pooling="avg", classes=None)
    same(backbone, net, but=["conv1_conv", "predictions"])


def test_other_classes_say_what_to_do(files):
    with pytest.raises(ValueError, match=r"unequal shapes.*classes=5, or with include_top=False"):
        build(files[1] / "own.keras", 3, classes=7)
    build(files[1] / "own.keras", 3, classes=5)


@pytest.mark.parametrize("channels, message", [(0, "unequal shapes"), (5000, "at most 1024 are expected")])
def test_a_number_of_channels_that_no_image_has(tmp_path, files, channels, message):
    arrays = torch_arrays(files[0])
    key = next(key for key, array in arrays.items() if array.ndim == 4 and array.shape[1] == 3)
    arrays[key] = np.zeros((len(arrays[key]), channels, 7, 7), "float32")
    (tmp_path / "w.safetensors").write_bytes(save(arrays))
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "w.safetensors", 3)
