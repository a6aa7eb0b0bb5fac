"""Where the images to calibrate on come from, and which are refused."""
import numpy as np
import pytest
import tensorflow as tf

from reskeras.quantization.calibration import load_images
from reskeras.images.preprocessing import Preprocessing

SHAPE = (16, 20, 3)
PREPARE = Preprocessing(SHAPE[:2], "torch")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), "uint8")
FLOATS = PREPARE(PIXELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of two sizes at two depths, and one that is no image."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "deep").mkdir()
    for i, pixels in enumerate(PIXELS[:6]):
        place = folder / "deep" if i % 2 else folder
        (place / f"{i}.png").write_bytes(tf.io.encode_png(pixels[:, :16 + 2 * (i % 3)]).numpy())
    (folder / "notes.txt").write_text("none")
    return folder


def sources(folder):
    pairs = tf.data.Dataset.from_tensor_slices((PIXELS, np.arange(40) % 3))
    files = sorted(str(f) for f in folder.rglob("*.png"))
    return {"floats": (FLOATS, 40, None), "uint8": (PIXELS, 40, None),
            "pair": ((FLOATS, np.arange(40)), 40, 39),
            "folder": (folder, 6, None), "path": (str(folder), 6, None), "files": (files, 6, None),
            "data set": (tf.data.Dataset.from_tensor_slices(PIXELS), 40, None),
            "batched pairs": (pairs.batch(7), 40, 0),
            "prepared": (pairs.map(PREPARE), 40, 0)}


@pytest.mark.parametrize("kind", ["floats", "uint8", "pair", "folder", "path", "files", "data set",
                                  "batched pairs", "prepared"])
def test_sources(kind, folder):
    source, count, last = sources(folder)[kind]
    found = load_images(source, PREPARE, SHAPE)
    assert found.images.shape == (count, *SHAPE) and found.images.dtype == "float32"
    assert (found.classes is None) == (last is None) and (last is None or found.classes[-1] == last)
    if count == 40:
        np.testing.assert_allclose(found.images, FLOATS, atol=1e-6)


def test_at_most_so_many_evenly(folder):
    assert len(load_images(folder, PREPARE, SHAPE, limit=3).images) == 3
    assert len(load_images(tf.data.Dataset.from_tensor_slices(PIXELS).repeat(), PREPARE, SHAPE,
                           limit=50).images) == 50


@pytest.mark.parametrize("images, prepare, message", [
    (PIXELS.astype("float32"), PREPARE, "have not been through it"),
    (PIXELS / np.float32(255), PREPARE, "have not been through it"),
    (FLOATS * 0.1, PREPARE, "have not been through it"),
    (PIXELS / np.float32(255), Preprocessing(SHAPE[:2], "raw"), "have not been through it"),
    (PIXELS / np.float32(255), Preprocessing(SHAPE[:2], "tf"), "have not been through it"),
    (PIXELS.astype("float32"), None, "give reskeras.Preprocessing.* as `preprocessing`"),
    (PIXELS, None, "does not say how they are prepared"),
    (np.where(PIXELS == 7, np.nan, FLOATS), PREPARE, "of 40 images hold numbers that are not finite"),
    (np.where(PIXELS == 7, np.inf, FLOATS), None, "not finite"),
    (FLOATS[:1].repeat(40, 0), PREPARE, "constant"),
    (np.ones((40, *SHAPE), "float32") * np.arange(40)[:, None, None, None] / 40, PREPARE, "constant"),
    (FLOATS[:, :5], PREPARE, r"expected \(N, 16, 20, 3\)"),
    ((FLOATS, [1, 2]), PREPARE, "2 classes for 40 images"),
    ((FLOATS, np.eye(4)[np.arange(40) % 4]), PREPARE,
     r"classes of shape \(40, 4\) .*: expected whole numbers"),
    ((FLOATS, ["cat"] * 40), PREPARE, "expected whole numbers"),
    ((FLOATS, np.arange(40) + 0.5), PREPARE, "expected whole numbers"),
    ([FLOATS, np.arange(40)], PREPARE, "a list of ndarray: expected an array"),
    ((image for image in FLOATS), PREPARE, "a generator: expected an array"),
    (tf.data.Dataset.from_tensor_slices((FLOATS[:1].repeat(300, 0), np.eye(4)[np.arange(300) % 4])), PREPARE,
     r"classes of shape \(256, 4\)"),
])
def test_refused(images, prepare, message):
    with pytest.raises(ValueError, match=message):
        load_images(images, prepare, SHAPE)


def test_refused_files(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_images(tmp_path / "none", PREPARE, SHAPE)
    with pytest.raises(ValueError, match="holds no image files"):
        load_images(tmp_path, PREPARE, SHAPE)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="broken.png: not a readable"):
        load_images(tmp_path, PREPARE, SHAPE)
    with pytest.raises(ValueError, match="the data set is empty"):
        load_images(tf.data.Dataset.from_tensor_slices(PIXELS[:0]), PREPARE, SHAPE)


@pytest.mark.parametrize("pixels", ["torch", "tf", "caffe", "raw"])
def test_prepared_images_are_never_refused(pixels):
    prepare = Preprocessing(SHAPE[:2], pixels)
    assert len(load_images(prepare(PIXELS), prepare, SHAPE).images) == 40
    assert len(load_images(PIXELS, prepare, SHAPE).images) == 40
