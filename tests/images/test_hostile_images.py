"""Small image files that stand for much memory, and files that are no images."""
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hostile_files import EXPECTED, make_exif, make_gif, make_png, save
from PIL import Image

import reskeras
from reskeras.images import limits, transform
from reskeras.images.decode import decode_image
from reskeras.images.headers import cut_gif
from reskeras.images.limits import count_in_flight, get_image_limits, set_image_limits
from reskeras.images.preprocessing import Preprocessing
from reskeras.train.augment import parse_augmentation

NET = "cifar_resnet20.digits"


@pytest.fixture(autouse=True)
def default_limits():
    yield
    set_image_limits()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """What a process with a gigabyte of memory made of the files."""
    folder = tmp_path_factory.mktemp("attacked")
    for name in ("a", "b"):
        (folder / name).mkdir()
        for i in range(8):
            (folder / name / f"{i}.png").write_bytes(make_png(3000, 3000, 2))
    (folder / "a" / "bad.png").write_bytes(make_png(60_000, 60_000, 2, data=b""))
    script = pathlib.Path(__file__).with_name("attack.py")
    # otherwise each thread reserves addresses, which the limit counts
    run = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=300,
                         env={**os.environ, "MALLOC_ARENA_MAX": "1"})
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name, expected", EXPECTED.items())
def test_a_file_takes_little_memory(name, expected, attacked):
    error = attacked["prepare"][name]
    assert error is None if expected is None else error.startswith("ValueError") and expected in error, error


def test_every_form_takes_little_memory(attacked):
    graph, serving = attacked["graph"], attacked["serving"]
    assert [graph[name] for name in ("thinner.png", "flatter.png", "many.png")] == [None] * 3
    assert "more than the limit of" in graph["too_many.png"]
    assert attacked["modes"] == {"squash": None, "border": None}
    assert serving.pop("bomb.gif") is None
    assert all(error.startswith("InvalidArgumentError") for error in serving.values()), serving


def test_large_images_wait_for_each_other(attacked):
    assert attacked["parallel"] == [None] * 16
    count, names = attacked["training"]
    assert count == 16 and [pathlib.Path(name).name for name in names] == ["bad.png"]
    count, names = attacked["evaluation"]
    assert count == 16 and [pathlib.Path(name).name for name in names] == ["bad.png"]


def test_pixels_in_flight():
    set_image_limits(max_pixels_in_flight=10)
    events = []

    def read(pixels, name):
        with count_in_flight(pixels), count_in_flight(pixels):      # a thread does not wait for itself
            events.append((name, limits._in_flight))
            time.sleep(0.05)

    threads = []
    for pixels, name in ((6, "a"), (99, "large"), (1, "b"), (9, "c")):
        threads.append(threading.Thread(target=read, args=(pixels, name)))
        threads[-1].start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert [name for name, _ in events] == ["a", "large", "b", "c"] and limits._in_flight == 0
    with pytest.raises(KeyError):
        with count_in_flight(5):
            raise KeyError
    assert limits._in_flight == 0


def test_limits_are_options(monkeypatch):
    limit = get_image_limits()
    assert (limit.max_pixels, limit.max_pixels_in_flight) == (256_000_000, 100_000_000)
    reskeras.set_image_limits(max_pixels=5000)
    assert get_image_limits().max_pixels == 5000 and get_image_limits().max_pixels_in_flight == 100_000_000
    assert decode_image(make_png(50, 100)).shape == (100, 50, 3)
    image = Image.new("RGB", (51, 100))
    for data in (make_png(51, 100), save(image, "GIF"), save(image, "BMP"), save(image, "WEBP")):
        with pytest.raises(ValueError, match=r"51 x 100 pixels.*limit of 5,000.*max_pixels"):
            decode_image(data)
    set_image_limits()
    monkeypatch.setenv("RESKERAS_MAX_PIXELS", "5000")
    with pytest.raises(ValueError, match="limit of 5,000"):
        decode_image(make_png(51, 100))
    monkeypatch.setenv("RESKERAS_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="RESKERAS_MAX_PIXELS='many': expected a whole number"):
        decode_image(make_png(51, 100))
    with pytest.raises(ValueError, match="max_pixels_in_flight=0"):
        set_image_limits(max_pixels_in_flight=0)


def test_a_large_jpeg_is_decoded_smaller():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 600, 3), "uint8"))
    data, progressive = save(photo, "JPEG"), save(photo, "JPEG", progressive=True)
    for limit, shape in ((240_000, (400, 600)), (239_999, (200, 300)), (50_000, (100, 150)),
                         (3750, (50, 75))):
        set_image_limits(max_pixels=limit)
        assert decode_image(data).shape == (*shape, 3)
        pipeline = parse_augmentation("inception_crop(32)")
        assert pipeline.augment_image(tf.constant(data), tf.constant([0, 0])).shape == (32, 32, 3)
    set_image_limits(max_pixels=3749)
    with pytest.raises(ValueError, match="75 x 50 pixels"):
        decode_image(data)
    set_image_limits(max_pixels=239_999)        # its decoder keeps all of it
    with pytest.raises(ValueError, match="600 x 400 pixels"):
        decode_image(progressive)


@pytest.mark.filterwarnings("ignore:.*Tag data larger")
def test_orientation_is_found_in_a_large_exif_block():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), "uint8")
    data = make_png(9, 6, 2, [(b"eXIf", make_exif(300, 200_000))], data=zlib.compress(
        b"".join(b"\0" + row.tobytes() for row in pixels)))
    np.testing.assert_array_equal(decode_image(data), np.rot90(pixels, -1))


def test_pixels_of_tiles_are_those_of_the_whole(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 4), "uint8")
    image = Image.fromarray(pixels)
    for mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1"):
        form = "TIFF" if mode == "CMYK" else "PNG"
        data = save(image.convert("RGB").convert(mode), "JPEG" if form == "TIFF" else form)
        whole = decode_image(data)
        for tile in (1, 40, 160):
            monkeypatch.setattr("reskeras.images.decode._TILE", tile)
            np.testing.assert_array_equal(decode_image(data), whole)
            monkeypatch.undo()


def test_other_paths_than_files(tmp_path):
    good, pipe, folder = (tmp_path / name for name in ("good.png", "pipe.png", "folder.png"))
    good.write_bytes(make_png(9, 9))
    os.mkfifo(pipe)
    folder.mkdir()
    results = reskeras.predict(NET, [pipe, good, folder, "/dev/zero", tmp_path / "none.png"])
    assert [r.get("error") for r in results] == [
        "is a pipe; expected a regular file", None, "is a folder; expected a regular file",
        "is a device; expected a regular file", "no such file or directory"]
    with pytest.raises(ValueError, match="is a pipe"):
        Preprocessing((8, 8))(pipe)
    with pytest.raises(ValueError, match=r"pipe.png: is a pipe; expected a regular file"):
        reskeras.explain(NET, pipe, tmp_path / "page.html")


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM")])
def test_too_little_memory_for_one_image(error, tmp_path, monkeypatch):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, file in enumerate(files):
        file.write_bytes(make_png(9 + i, 9))
    resize = transform.resize_and_crop

    def fail(pixels, *geometry):
        if pixels.shape[2] == 10:
            raise error
        return resize(pixels, *geometry)
    monkeypatch.setattr(transform, "resize_and_crop", fail)
    results = reskeras.predict(NET, files)
    assert [r.get("error") for r in results] == [None, "not enough memory to resize it", None]


def test_a_gif_is_cut_after_its_first_frame():
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 256, (40, 50, 3), "uint8")).quantize(50) for _ in range(5)]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"x" * 700, loop=0)
    cut, sides = cut_gif(tf.constant(data))
    assert len(cut.numpy()) < len(data) / 2 and sides.numpy().tolist() == [40, 50]
    np.testing.assert_array_equal(tf.io.decode_gif(cut)[0], tf.io.decode_gif(data)[0])
    for broken in (data[:30], data[:100], b"GIF8", b"GIF89a" + bytes(20), make_gif(3, 2)[:-30]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            cut_gif(tf.constant(broken))
