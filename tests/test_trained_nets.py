"""Real trained nets on real images, where the folder with them is at hand: it is not ours to distribute."""
import pathlib

import numpy as np
import pytest

import reskeras

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the trained nets are not in {DATA}")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def images():
    z = np.load(DATA / "cifar10_test_first1000.npz")
    return z["x"] if "x" in z else z[z.files[0]], np.ravel(z["y"] if "y" in z else z[z.files[1]])


@pytest.mark.parametrize("depth, error", [(32, 7.2), (44, 6.7)])
def test_akamaster(depth, error):
    x, y = images()
    model = reskeras.create(f"akamaster/resnet{depth}", weights=DATA / f"akamaster_resnet{depth}.safetensors",
                            classifier_activation=None)
    logits = model.predict(((x / 255 - MEAN) / DEVIATION).astype("float32"), verbose=0)
    expected = np.load(DATA / f"akamaster_resnet{depth}_logits.npy")
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
    assert round(100 * np.mean(logits.argmax(-1) != y), 1) == error


def test_mlperf_tiny():
    x, y = images()
    model = reskeras.MLPerfTinyResNet8(weights=DATA / "mlperf_tiny_resnet8.h5")
    assert model.count_params() == 78_666
    probabilities = model.predict(x.astype("float32"), verbose=0)
    assert np.abs(probabilities - np.load(DATA / "mlperf_tiny_resnet8_probs.npy")).max() <= 1e-5
    assert round(100 * np.mean(probabilities.argmax(-1) != y), 1) == 11.9
