"""Formats of photos, scans and scientific images: TIFF, HEIC, 16 bits, and more than three bands."""
import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras.exporters.signatures import _decode_image
from reskeras.images import depth
from reskeras.images.decode import decode_image
from reskeras.images.preprocessing import Preprocessing
from reskeras.train.augment import parse_augmentation

COLORS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
GRAY = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype("uint16")      # 12 bits
NET = "cifar_resnet20.digits"


@pytest.fixture(autouse=True)
def say_again():
    depth._announce.cache_clear()


def save(image, form, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def make_png(pixels):
    """A PNG of 16 bits, which Pillow writes for gray alone."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    head = struct.pack(">2I5B", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff(mode, compression):
    image = Image.fromarray(COLORS).convert(mode)
    data = save(image, "TIFF", compression=compression, save_all=True,
                append_images=[image.rotate(180)])      # the first page counts
    np.testing.assert_array_equal(decode_image(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_tiff_is_turned_as_a_png(value):
    exif = Image.Exif()
    exif[0x0112] = value
    tiff, png = (decode_image(save(COLORS, form, exif=exif)) for form in ("TIFF", "PNG"))
    np.testing.assert_array_equal(tiff, png)


def test_tiff_of_values_that_are_no_colors():
    with pytest.raises(ValueError, match="floats, negative, or of more than 16 bits"):
        decode_image(save(COLORS[..., 0].astype("float32"), "TIFF"))
    with pytest.raises(ValueError, match="floats, negative, or of more than 16 bits"):
        decode_image(save(COLORS[..., 0].astype("int32"), "TIFF"))


def test_a_fourth_band_is_not_dropped_without_a_word():
    data = save(Image.fromarray(COLORS).convert("RGBA"), "TIFF")
    place = data.index(struct.pack("<HHI", 338, 3, 1)) + 8      # ExtraSamples: 2 is transparency
    assert data[place] == 2
    band = data[:place] + b"\0" + data[place + 1:]
    with pytest.raises(ValueError, match="it has 4 bands, and what is behind the first 3 is not said"):
        decode_image(band)


@pytest.mark.parametrize("form, options", [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})])
def test_12_bits_have_256_levels(form, options):
    data = save(GRAY, form, **options)
    with pytest.warns(UserWarning, match="below 4,096 are taken for 12 bits"):
        pixels = decode_image(data)
    assert len(np.unique(pixels)) == 256 and pixels.max() == 255
    np.testing.assert_array_equal(pixels[..., 1], GRAY >> 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_image(data)                                      # it is said once
        assert decode_image(data, bits=16).max() == 15          # as it is asked for
        assert decode_image(data, bits=10).max() == 255


@pytest.mark.parametrize("largest, bits", [(255, 8), (256, 10), (1023, 10), (1024, 12), (16383, 14),
                                           (16384, 16), (65535, 16)])
def test_the_largest_value_says_how_many_bits(largest, bits):
    pixels = np.array([[0, largest // 2, largest]], "uint16")
    np.testing.assert_array_equal(decode_image(save(pixels, "PNG"))[..., 0], pixels >> (bits - 8))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colors_of_16_bits(channels):
    pixels = np.random.default_rng(1).integers(0, 4096, (20, 30, channels))
    if channels in (2, 4):
        pixels[..., -1] = 65535         # opaque; says nothing of the colors
    colors = pixels[..., [0, 0, 0] if channels == 2 else [0, 1, 2]]
    data = make_png(pixels)
    np.testing.assert_array_equal(decode_image(data), colors >> 4)
    np.testing.assert_array_equal(decode_image(data, bits=16), colors >> 8)


@pytest.mark.parametrize("bits", [0, 16])
def test_every_reader_has_the_same_levels(bits):
    """A file is prepared, augmented, and read by a server alike."""
    data = save(GRAY, "PNG")
    expected = (GRAY >> ((bits or 12) - 8)).astype("float32")
    own = Preprocessing((64, 64), "raw", crop_pct=1.0, bits=bits)
    np.testing.assert_array_equal(own(data)[0, ..., 0], expected)
    (in_graph,) = tf.data.Dataset.from_tensors(data).map(own)
    np.testing.assert_array_equal(in_graph[..., 0], expected)
    augmentation = parse_augmentation("resize(64)")
    augmentation = type(augmentation)(augmentation.text, augmentation.image_operations, (), bits)
    (augmented,) = tf.data.Dataset.from_tensors(data).map(lambda x: augmentation.augment_image(x, [0, 0]))
    np.testing.assert_array_equal(augmented[..., 0], expected)
    served = tf.function(lambda x: _decode_image(x, bits))(tf.constant(data))
    np.testing.assert_array_equal(served[..., 0], expected)


def test_a_model_keeps_the_bits(tmp_path):
    own = Preprocessing((32, 32), "raw", bits=12)
    assert Preprocessing.from_config(own.get_config()) == own
    assert "bits" not in Preprocessing((32, 32)).get_config()       # older versions read it, too
    for wrong in (8, 17, True, 12.0):
        with pytest.raises(ValueError, match="bits=.*: expected"):
            Preprocessing((32, 32), bits=wrong)


def test_heic_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    file = tmp_path / "photo.heic"
    file.write_bytes(b"\0\0\0\x1cftypheic" + bytes(100))
    (result,) = reskeras.predict(NET, [file])
    assert result["error"] == "it is a HEIC image, which is read by pillow-heif: pip install pillow-heif"


def test_heic():
    heif = pytest.importorskip("pillow_heif")
    pixels, file = np.linspace(0, 255, 64 * 48 * 3).reshape(64, 48, 3).astype("uint8"), io.BytesIO()
    heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95)
    data = file.getvalue()
    assert np.abs(decode_image(data).astype(int) - pixels).max() <= 4
    for length in (20, 200, len(data) - 100):
        with pytest.raises(ValueError, match="not a readable JPEG"):
            decode_image(data[:length])
