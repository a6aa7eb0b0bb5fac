"""`predict` of exported files on a machine without Keras and TensorFlow, and what other commands say."""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from reskeras.images.pillow_transform import resize_and_crop_array
from reskeras.images.sizes import CROP_MODES, INTERPOLATIONS
from reskeras.images.transform import resize_and_crop

INT8 = pathlib.Path(__file__).parents[2] / "saved_models" / "cifar_resnet20.digits.int8.tflite"
BLOCKED = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        blocked = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx", "h5py", "tqdm")
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from reskeras.cli import main
print([main(words) for words in json.loads(sys.argv[1])])
"""


@pytest.fixture
def digits(tmp_path):
    """Two photos of digits, one wider and one higher than the net's images, with transparency."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels, files = *datasets.load_digits(return_X_y=True), []
    for digit, size in ((3, (80, 60)), (7, (40, 64))):
        pixels = (images[np.flatnonzero(labels == digit)[1]].reshape(8, 8) * 255 / 16).astype("uint8")
        image = Image.fromarray(pixels).resize(size).convert("RGBA")
        image.save(tmp_path / f"{digit}.png")
        files.append(str(tmp_path / f"{digit}.png"))
    return files


def test_predict_an_exported_file(digits):
    """Decoding, labels and the likeliest classes, with scores as on a machine with TensorFlow."""
    pytest.importorskip("ai_edge_litert")
    words = ["predict", *digits, "--model", str(INT8), "--top", "2"]
    commands = [[*words, "--json"], words, [*words, "--labels", "digits"],
                ["predict", digits[0], "--model", "cifar_resnet20.digits"],
                ["evaluate", "cifar_resnet20.digits", "--data", "digits"], ["cost", "resnet18"]]
    run = subprocess.run([sys.executable, "-c", BLOCKED, json.dumps(commands)], capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    *printed, codes = run.stdout.splitlines()
    assert codes == "[0, 0, 0, 2, 2, 2]", run.stderr
    lines = [line for line in printed if line.startswith(digits[0])]
    assert len(lines) == 2 and all(line.startswith(f"{digits[0]}: 3 ") for line in lines)

    from reskeras import predict
    there = json.loads("\n".join(printed[:printed.index("]") + 1]))
    for one, other in zip(there, predict(INT8, digits, top=2)):
        assert one["image"] == other["image"]
        best, expected = one["predictions"][0], other["predictions"][0]
        assert best["label"] == expected["label"] == pathlib.Path(one["image"]).stem
        assert best["score"] == pytest.approx(expected["score"], abs=0.02)

    errors = run.stderr.splitlines()
    assert len(errors) == 3 and not any("No module named" in error for error in errors)
    for error in errors:
        assert "is needed and is not installed: pip install" in error
        assert "exported files (.tflite, .onnx, .xml) are run without it by predict" in error


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape, size, channels", [
    ((30, 47, 3), (16, 16), 3), ((47, 30, 3), (16, 20), 3), ((9, 7, 1), (16, 16), 3),
    ((40, 40, 1), (16, 16), 1), ((33, 50, 3), (24, 16), 1), ((5, 300, 3), (16, 16), 3)])
def test_pillow_makes_the_same_pixels(mode, interpolation, shape, size, channels):
    """As TensorFlow's operation, up to one level nearly everywhere: crop, border, gray.

    The images are smooth as photos are; of noise TensorFlow makes other pixels than Pillow.
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, 4, 4, shape[2])).astype("uint8")
    bands = [[np.asarray(Image.fromarray(image[..., c]).resize(shape[1::-1])) for c in range(shape[2])]
             for image in noise]
    pixels = np.stack([np.stack(image, -1) for image in bands])
    target, fill = (round(size[0] / 0.875), round(size[1] / 0.875)), (124.0, 116.0, 104.0)[:channels]
    ours = resize_and_crop_array(pixels, size, target, mode, interpolation, fill)
    theirs = resize_and_crop(pixels, size, target, mode, interpolation, fill).numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    difference = np.abs(ours - theirs)
    assert difference.max() <= 2 and np.mean(difference > 1) < 0.01
