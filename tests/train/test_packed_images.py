"""The packed store: the same batches as from the images, what is smaller, damage, memory."""
import json
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image
from stopping import StopInSecondEpoch

import reskeras
from reskeras.cli import main
from reskeras.train.data import ImageDataset
from reskeras.train.packed_images import write_packed_images
from reskeras.train.sources import from_arrays, open_source

RNG = np.random.default_rng(0)
PIXELS, LABELS = RNG.integers(0, 256, (24, 8, 8, 3)).astype("uint8"), np.arange(24) % 3
TINY = dict(recipe="cifar_he", size=8, augmentation="pad_crop(8, 2)|flip", batch_size=8, epochs=2, verbose=0,
            schedule="constant", warmup=0, deterministic=True,
            model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})


@pytest.fixture
def photos(tmp_path):
    """Nine .png photos of three classes, high and wide ones, one smaller than 16 pixels."""
    for i, sides in enumerate([(40, 30), (30, 60), (12, 20)] * 3):
        path = tmp_path / "photos" / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (*sides, 3)).astype("uint8")).save(path)
    return tmp_path / "photos"


@pytest.fixture
def store(tmp_path):
    return write_packed_images(from_arrays("arrays", PIXELS, LABELS, ("x", "y", "z")), tmp_path / "store")


def take(data, epoch=0, first_step=0):
    return [(x.numpy(), y.numpy()) for x, y in data.make_epoch(epoch, first_step)]


def are_equal(some, others):
    return len(some) == len(others) and all(
        np.array_equal(x, z) and np.array_equal(y, w) for (x, y), (z, w) in zip(some, others))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_those_of_the_arrays(tmp_path, channels):
    """From a step of an epoch on, in the part of a worker, with weights."""
    weights = np.linspace(0.5, 1, 24, dtype="float32")
    arrays = from_arrays("arrays", PIXELS[..., :channels], LABELS, ("x", "y", "z"), weights)
    packed = open_source(f"packed:{write_packed_images(arrays, tmp_path / 'store')}")
    assert packed.classes == ("x", "y", "z") and packed.channels == channels
    assert packed.pixel_spec == ((8, 8, channels), np.uint8) and not packed.is_resized
    expected, got = ([[part.numpy() for part in batch] for batch in ImageDataset(
        source, 6, "pad_crop(8, 2)|flip", seed=3, worker=1, workers=2).make_epoch(1, 1)]
        for source in (arrays, packed))
    assert len(expected) == len(got) == 3 and all(len(batch) == 3 for batch in got)
    assert all(np.array_equal(a, b) for one, other in zip(expected, got) for a, b in zip(one, other))


def test_photos_are_made_smaller_once(tmp_path, photos, capsys):
    """By Pillow; those that are small already stay, and so do all without a size."""
    files = open_source(f"folder:{photos}")
    originals = [np.asarray(Image.open(file)) for file in files.images]
    for size in (None, 16):
        folder = tmp_path / f"store{size}"
        options = [] if size is None else ["--size", str(size)]
        assert main(["pack", "--data", f"folder:{photos}", "-o", str(folder), *options]) == 0
        assert f"--data packed:{folder}" in capsys.readouterr().out
        packed = open_source(f"packed:{folder}")
        assert packed.is_resized == (size is not None) and packed.classes == files.classes
        np.testing.assert_array_equal(packed.labels, files.labels)
        for i, original in enumerate(originals):
            height, width = original.shape[:2]
            factor = min((size or 99) / min(height, width), 1)
            sides = round(height * factor), round(width * factor)
            expected = original if factor == 1 else np.asarray(Image.fromarray(original).resize(
                sides[::-1], Image.Resampling.BICUBIC))
            np.testing.assert_array_equal(packed.images.read(i), expected)
    # images of several sizes train
    data = ImageDataset(packed, 3, "random_resized_crop(10)|flip")
    assert [x.shape for x, _ in take(data)] == [(3, 10, 10, 3)] * 3
    assert are_equal(take(data, 1)[1:], take(data, 1, first_step=1))


def test_nothing_is_evaluated_on_smaller_images(tmp_path, photos):
    folder = write_packed_images(open_source(f"folder:{photos}"), tmp_path / "store", 16)
    arrays = from_arrays("arrays", PIXELS, LABELS, ("a", "b", "c"))
    for given in (dict(data=arrays, validation_data=f"packed:{folder}"),
                  dict(data=f"packed:{folder}", validation_split=0.3)):
        with pytest.raises(ValueError, match="packed:.*expected the original images"):
            reskeras.fit("cifar_resnet20", **given, **{**TINY, "batch_size": 3})
    net = reskeras.create("cifar_resnet20", weights=None, input_shape=(8, 8, 3), classes=3)
    with pytest.raises(ValueError, match="the original images"):
        reskeras.evaluate(net, f"packed:{folder}", preprocessing="resnet50v1_5.a1_in1k")


def test_fit_trains_as_on_the_arrays_and_resumes_within_an_epoch(tmp_path, store):
    """To the bit."""
    run = str(tmp_path / "run")
    expected = reskeras.fit("cifar_resnet20", (PIXELS, LABELS), **TINY).model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", f"packed:{store}", **TINY, output=run, save_every=1,
                     callbacks=[StopInSecondEpoch()])
    resumed = reskeras.fit(resume=run, verbose=0).model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(expected, resumed))


def damage(folder, what):
    """Changes a store; returns what the error says."""
    pixels, index = folder / "pixels.bin", folder / "index.npz"
    data = bytearray(pixels.read_bytes())
    arrays = dict(np.load(index))
    if what == "a changed byte":
        data[5 * 192 + 7] ^= 1
        pixels.write_bytes(data)
        return "pixels.bin is damaged: the checksum of image 5"
    if what == "cut off":
        pixels.write_bytes(data[:-1])
        return "pixels.bin has 4,607 bytes, but index.npz says 4,608: it is cut off"
    if what == "without pixels":
        pixels.unlink()
        return "has no pixels.bin; write it again with `reskeras pack`"
    if what == "a half index":
        index.write_bytes(index.read_bytes()[:400])
        return "index.npz"
    if what == "another npz":
        np.savez(index, x=PIXELS)
        return "is not the index of a packed store, because it has no 'version'"
    changes = {"a later version": ({"version": 2}, "has the version 2; expected 1"),
               "huge sides": ({"sides": np.full((24, 2), 2 ** 40)}, "its values cannot be those of images"),
               "negative sides": ({"sides": -arrays["sides"]}, "its values cannot be those of images"),
               "other sides": ({"sides": 2 * arrays["sides"]}, "pixels.bin has 4,608 bytes"),
               "sides in text": ({"sides": arrays["sides"].astype("str")}, "its values cannot be"),
               "two channels": ({"channels": 2}, "its values cannot be"),
               "few labels": ({"labels": LABELS[:5]}, "labels of shape"),
               "another task": ({"task": "segmentation"}, "its values cannot be"),
               "few checksums": ({"checksums": arrays["checksums"][:5]}, "its values cannot be")}
    replaced, message = changes[what]
    np.savez(index, **{**arrays, **replaced})
    return message


@pytest.mark.parametrize("what", [
    "a changed byte", "cut off", "without pixels", "a half index", "another npz", "a later version",
    "huge sides", "negative sides", "other sides", "sides in text", "two channels", "few labels",
    "another task", "few checksums"])
def test_damaged_stores_are_said_in_one_line(store, what, capsys):
    message = damage(store, what)
    assert main(["train", "cifar_resnet20", "--data", f"packed:{store}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "store" in error


def test_what_cannot_be_packed(tmp_path, photos, store):
    with pytest.raises(FileNotFoundError, match="packed:nowhere: no such folder"):
        open_source("packed:nowhere")
    with pytest.raises(ValueError, match="not a packed store, because it has no index.npz"):
        open_source(f"packed:{photos}")
    with pytest.raises(ValueError, match="expected a folder on a disk"):
        open_source("packed:s3://bucket/store")
    with pytest.raises(ValueError, match="expected image files, or gray or RGB pixels of 8 bits"):
        write_packed_images(from_arrays("arrays", PIXELS.astype("float32"), LABELS), tmp_path / "new")
    with pytest.raises(ValueError, match="size=0"):
        write_packed_images(from_arrays("arrays", PIXELS, LABELS), tmp_path / "new", 0)
    with pytest.raises(FileExistsError, match="is not a packed store"):
        write_packed_images(from_arrays("arrays", PIXELS, LABELS), photos)
    # of a damaged photo nothing is written, and the old store stays
    (photos / "c" / "8.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    for folder in (tmp_path / "new", store):
        with pytest.raises(ValueError, match="8.png"):
            write_packed_images(open_source(f"folder:{photos}"), folder)
    assert not (tmp_path / "new").exists() and len(open_source(f"packed:{store}")) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "store"]
    write_packed_images(from_arrays("arrays", PIXELS[:9], LABELS[:9]), store)
    assert len(open_source(f"packed:{store}")) == 9


def test_a_store_needs_no_memory_of_its_size(tmp_path):
    """300 MB of pixels are written, opened and read within 150 MB more than the process had."""
    program = """
        import json, pathlib, re, resource, sys
        import numpy as np
        from reskeras.train.data import ImageDataset
        from reskeras.train.packed_images import write_packed_images
        from reskeras.train.sources import from_arrays, open_source

        def limit_memory(more):
            status = pathlib.Path("/proc/self/status").read_text()
            used = int(re.search(r"VmData:\\s+(\\d+)", status)[1]) * 1024
            resource.setrlimit(resource.RLIMIT_DATA, (used + more, resource.RLIM_INFINITY))
        folder = pathlib.Path(sys.argv[1])
        list(ImageDataset((np.zeros((4, 8, 8, 3), "uint8"), np.arange(4) % 2), 2, "crop(8)").make_epoch())
        with open(folder / "zeros", "wb") as file:
            file.truncate(100 * 1000 * 1000 * 3)
        pixels = np.memmap(folder / "zeros", "uint8", "r", shape=(100, 1000, 1000, 3))
        limit_memory(150 * 2 ** 20)
        store = write_packed_images(from_arrays("zeros", pixels, np.arange(100) % 2), folder / "store")
        batches = ImageDataset(open_source(f"packed:{store}"), 2, "crop(8)").make_epoch()
        print(json.dumps([list(x.shape) for x, _ in batches]))
    """
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], text=True,
                            capture_output=True)
    assert result.returncode == 0, result.stderr[-500:]
    assert json.loads(result.stdout) == [[2, 8, 8, 3]] * 50
