"""Real trained nets on real images, where the folder with them is at hand: it is not ours to distribute."""
import numpy as np
import pytest

import reskeras

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def images(external_file):
    """A thousand images of CIFAR-10 and their classes."""
    z = np.load(external_file("cifar10_test_first1000.npz"))
    return z["x"] if "x" in z else z[z.files[0]], np.ravel(z["y"] if "y" in z else z[z.files[1]])


@pytest.mark.parametrize("depth, error", [(32, 7.2), (44, 6.7)])
def test_akamaster(depth, error, images, external_file):
    x, y = images
    model = reskeras.create(f"akamaster/resnet{depth}",
                            weights=external_file(f"akamaster_resnet{depth}.safetensors"),
                            classifier_activation=None)
    logits = model.predict(((x / 255 - MEAN) / DEVIATION).astype("float32"), verbose=0)
    expected = np.load(external_file(f"akamaster_resnet{depth}_logits.npy"))
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
    assert round(100 * np.mean(logits.argmax(-1) != y), 1) == error


def test_mlperf_tiny(images, external_file):
    x, y = images
    model = reskeras.MLPerfTinyResNet8(weights=external_file("mlperf_tiny_resnet8.h5"))
    assert model.count_params() == 78_666
    probabilities = model.predict(x.astype("float32"), verbose=0)
    assert np.abs(probabilities - np.load(external_file("mlperf_tiny_resnet8_probs.npy"))).max() <= 1e-5
    assert round(100 * np.mean(probabilities.argmax(-1) != y), 1) == 11.9


def test_a_missing_file_is_a_failure_where_there_are_data(external_file, tmp_path, monkeypatch):
    monkeypatch.setenv("RESKERAS_TEST_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="^other.npz is in none of "):
        external_file("other.npz")
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "some.json").touch()
    assert external_file("some.json") == tmp_path / "facts" / "some.json"
