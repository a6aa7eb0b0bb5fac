"""Images of four bands: transparency where a file says so, and nothing that is dropped elsewhere."""
import io
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import reskeras
from reskeras.images.pillow_transform import resize_and_crop_array
from reskeras.images.preprocessing import Preprocessing

RAW = Preprocessing((16, 16), "raw", crop_pct=1.0)
COLORS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
BANDS = np.concatenate([COLORS, COLORS[..., :1]], -1)
CLASSES = np.arange(8) % 3
REFUSED = r"images of 4 channels: expected gray \(1\) or RGB \(3\); .*transparency, leave it out: x\[..., :3"


def make_net():
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    net = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    return reskeras.set_metadata(net, RAW, list("abc"))


def save(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def make_files():
    """name -> (the file's bytes, its colors); the last band is transparency, as the file says."""
    opaque = Image.fromarray(BANDS[0])
    gray = opaque.convert("LA")
    files = {"rgba.png": (opaque, "PNG", {}), "la.png": (gray, "PNG", {}), "rgba.tif": (opaque, "TIFF", {}),
             "la.tif": (gray, "TIFF", {}), "rgba.webp": (opaque, "WEBP", {"lossless": True, "exact": True})}
    return {name: (save(image, form, **options), np.asarray(image.convert("RGB")))
            for name, (image, form, options) in files.items()}


def make_four_band_tiff():
    """A TIFF whose fourth band is not said to be transparency, such as infrared."""
    data = save(Image.fromarray(BANDS[0]), "TIFF")
    place = data.index(struct.pack("<HHI", 338, 3, 1)) + 8      # ExtraSamples: 2 is transparency
    assert data[place] == 2
    return data[:place] + b"\0" + data[place + 1:]


@pytest.mark.parametrize("name", make_files())
def test_transparency_of_a_file_is_left_out(name, tmp_path):
    data, colors = make_files()[name]
    np.testing.assert_array_equal(RAW(data)[0], colors)
    (tmp_path / name).write_bytes(data)
    (tmp_path / "colors.png").write_bytes(save(Image.fromarray(colors), "PNG"))
    first, second = reskeras.predict(make_net(), [tmp_path / name, tmp_path / "colors.png"])
    assert first["predictions"] == second["predictions"]


def test_bands_of_an_array_are_not_dropped():
    net = make_net()
    calls = [
        lambda: RAW(BANDS), lambda: RAW(BANDS[0]), lambda: RAW([BANDS[0]]),
        lambda: tf.data.Dataset.from_tensor_slices(BANDS).map(RAW),
        lambda: resize_and_crop_array(BANDS, (16, 16), (16, 16), "center", "bicubic", (0.0, 0.0, 0.0)),
        lambda: reskeras.export(net, "net.tflite", quantize="int8", calibration_data=np.repeat(BANDS, 5, 0))]
    for call in calls:
        with pytest.raises(ValueError, match=REFUSED):
            call()
    with pytest.raises(ValueError, match="expected one for images of 4 channels .*it is for 3 channels of 8"):
        reskeras.evaluate(net, (BANDS, CLASSES))
    with pytest.raises(ValueError, match="takes images of 3 channels, but those of arrays have 4"):
        reskeras.fit(net, (BANDS, CLASSES), "finetune", steps=1, verbose=0)
    with pytest.raises(ValueError, match=r"x has the shape \(8, 16, 16, 4\): expected \(height, width, 3\)"):
        reskeras.preprocess_input(BANDS, net)


def test_gray_with_a_second_band():
    with pytest.raises(ValueError, match=r"images of 2 channels: .*: x\[..., :1\]"):
        RAW(BANDS[..., :2])
    with pytest.raises(ValueError, match=r"images of 5 channels: expected gray \(1\) or RGB \(3\)$"):
        RAW(np.zeros((4, 4, 5), "uint8"))


def test_the_way_out():
    assert reskeras.evaluate(make_net(), (BANDS[..., :3], CLASSES)).images == 8


def test_a_fourth_band_of_a_file(tmp_path, capsys):
    """Refused by name; the other images are still used."""
    net = make_net()
    for name, pixels in zip("ab", COLORS):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "colors.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bands.tif").write_bytes(make_four_band_tiff())
    (result,) = reskeras.predict(net, tmp_path / "c")
    assert "it has 4 bands, and what is behind the first 3 is not said to be transparency" in result["error"]
    evaluation = reskeras.evaluate(net, f"folder:{tmp_path}")
    assert evaluation.images == 2 and [name[-9:] for name in evaluation.skipped] == ["bands.tif"]
    reskeras.fit(net, f"folder:{tmp_path}", "finetune", steps=1, batch_size=2, verbose=2, size=16,
                 test_size=16)
    assert "bands.tif" in "".join(capsys.readouterr())
