"""Sources, batches, order, workers, what cannot be read, TFRecord files."""
import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from reskeras.train import tfrecord
from reskeras.train.data import ImageDataset
from reskeras.train.seeds import fold_seed
from reskeras.train.source import DataSource
from reskeras.train.sources import open_source
from reskeras.images.decode import decode_image

PIPELINE = "inception_crop(16)|flip|erase(0.25)|mixup(0.2)"


def jpeg(shade, height=24, width=32):
    pixels = np.full((height, width, 3), (shade, 255 - shade, 128), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    """cat and dog, 10 images each, every one of another shade."""
    for c, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "photos" / name / f"{i}.jpg").write_bytes(jpeg(20 * i + 10 * c))
    return tmp_path / "photos"


def whole(x):
    """An image as it is, of the test folder's size, from bytes or pixels."""
    return (
        tf.ensure_shape(tf.io.decode_image(x, 3, expand_animations=False), (24, 32, 3))
        if x.dtype == tf.string
        else x)


def batches(data):
    return [(np.asarray(x), np.asarray(y)) for x, y in data]


def same(a, b):
    return len(a) == len(b) and all((x == z).all() and (y == w).all() for (x, y), (z, w) in zip(a, b))


def shades(found):
    return sorted(int(image[0, 0, 0]) for x, _ in found for image in x)


def numbered(n):
    """n images of one pixel that say which they are."""
    return np.arange(n, dtype="uint8").reshape(n, 1, 1, 1), np.arange(n)


def seen(data):
    return [int(i) for x, _ in data for i in np.ravel(x)]


# sources

def test_folder(photos):
    found = open_source(f"folder:{photos}")
    assert found.classes == ("cat", "dog") and len(found) == 20 and found.has_files
    assert [pathlib.Path(p).parts[-2] for p in found.images] == [found.classes[i] for i in found.labels]
    for split in ("train", "val"):
        (photos / split).mkdir()
        for name in ("cat", "dog"):
            (photos / split / name).mkdir()
            (photos / split / name / "x.png").write_bytes(b"")
    assert open_source(f"folder:{photos}").images[0].endswith("train/cat/x.png")
    assert open_source(f"folder:{photos}", "test").images[0].endswith("val/cat/x.png")


def test_arrays_and_npz(tmp_path):
    x, y = np.zeros((4, 8, 8), "uint8"), np.arange(4)
    assert open_source((x, y)).images.shape == (4, 8, 8, 1)
    np.savez(tmp_path / "one.npz", x=x, y=y[:, None])
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    assert len(open_source(f"npz:{tmp_path}/one.npz")) == len(open_source(f"npz:{tmp_path}/two.npz")) == 4
    assert len(open_source(f"npz:{tmp_path}/two.npz", "test")) == 1


@pytest.mark.parametrize("kind, head", [("cifar10", 1), ("cifar100", 2)])
def test_cifar_binaries_and_npz(tmp_path, kind, head):
    rng = np.random.default_rng(0)
    names = (
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        if kind == "cifar10"
        else ["train.bin", "test.bin"])
    lines = {name: rng.integers(0, 10, (3, head + 3072)).astype("uint8") for name in names}
    for name, data in lines.items():
        data.tofile(tmp_path / name)
    train, test = (open_source(f"{kind}:{tmp_path}", split) for split in ("train", "test"))
    assert (
        len(train) == 3 * (len(names) - 1)
        and len(test) == 3
        and len(test.classes) == (10 if head == 1 else 100))
    last = lines[names[-1]]
    assert (test.labels == last[:, head - 1]).all()
    assert (
        test.images[1, 2, 5] == [last[1, head + channel * 1024 + 2 * 32 + 5] for channel in range(3)]).all()
    np.savez(tmp_path / "local.npz", x=test.images, y=test.labels)
    assert (open_source(f"{kind}:{tmp_path}/local.npz").images == test.images).all()
    (tmp_path / names[-1]).write_bytes(b"abc")
    with pytest.raises(ValueError, match="3 bytes are no whole number"):
        open_source(f"{kind}:{tmp_path}", "test")


def test_digits_are_the_demo_s():
    pytest.importorskip("sklearn")
    from reskeras.commands.digits import load_digits
    train, _, test = load_digits()
    for split, part in (("train", train), ("test", test)):
        found = open_source("digits", split)
        assert (found.images == part.pixels).all() and (found.labels == part.labels).all()


def test_tfds(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds, "builder", lambda name: tfds.testing.DummyMnist(data_dir=tmp_path))
    found = open_source("tfds:dummy_mnist", "test")
    data = batches(
        ImageDataset(
            found, 8, prepare=lambda x: tf.ensure_shape(tf.io.decode_png(x, 1), (28, 28, 1))).make_epoch())
    assert [x.shape for x, _ in data] == [(8, 28, 28, 1)] * 2 + [(4, 28, 28, 1)] and found.classes == tuple(
        "0123456789")
    with pytest.raises(TypeError, match="is a stream"):
        len(found)


@pytest.mark.parametrize(
    "what, message",
    [
        ("foldr:x", "did you mean 'folder'?"), ("foldr:x", "expected folder:PATH, table:FILE, tfrecord:GLOB"),
        ("folder:", "expected folder:PATH"), ("folder", "expected folder:PATH"),
        ("digits:x", "expected digits, without a path"), ("cifar10:", "expected folder:PATH"),
        (3, "data=3: expected folder:PATH"),
        ((np.zeros((2, 8, 8, 3), "bool"), [0, 1]), "expected numbers, (N, height, width) or"),
        ((np.zeros((2, 8, 8, 3), "uint8"), [0]), "expected a class number"),
        ((np.zeros((2, 8, 8, 3), "uint8"), [0.5, np.nan]), "labels of image 1: nan is not a finite number"),
        ((np.zeros((2, 8, 8, 3), "uint8"), [0, -1]), "expected a class number")])
def test_sources_say_what_was_expected(what, message):
    with pytest.raises(ValueError) as error:
        open_source(what)
    assert message in str(error.value)


def test_missing_places(tmp_path, photos):
    for what in ("folder:/nowhere", "npz:/nowhere.npz", "tfrecord:/nowhere*", f"cifar10:{photos}"):
        with pytest.raises(FileNotFoundError, match="nowhere|no such file"):
            open_source(what)
    (photos / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has none"):
        open_source(f"folder:{photos}")
    np.savez(tmp_path / "z.npz", a=1)
    with pytest.raises(ValueError, match="it has a"):
        open_source(f"npz:{tmp_path}/z.npz")
    with pytest.raises(ValueError, match="did you mean 'train'"):
        open_source("digits", "trian")


# batches

def test_evaluation_has_each_image_once(photos):
    found = batches(ImageDataset(f"folder:{photos}", 8, prepare=whole).make_epoch())
    assert [len(y) for _, y in found] == [8, 8, 4] and ImageDataset(
        f"folder:{photos}", 8, prepare=whole).steps_per_epoch == 3
    assert [int(i) for _, y in found for i in y] == [0] * 10 + [1] * 10
    assert len(set(shades(found))) == 20


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_workers_share_evaluation(workers):
    parts = [
        seen(ImageDataset(numbered(23), 12, prepare=whole, worker=w, workers=workers).make_epoch())
        for w in range(workers)]
    assert sorted(sum(parts, [])) == list(range(23))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_training(workers):
    parts = [
        batches(ImageDataset(numbered(23), 6, "flip", worker=w, workers=workers).make_epoch(4))
        for w in range(workers)]
    assert all(len(part) == 3 and {len(y) for _, y in part} == {6 // workers} for part in parts)
    together = [[int(i) for part in parts for i in part[step][1]] for step in range(3)]
    alone = batches(ImageDataset(numbered(23), 6, "flip").make_epoch(4))
    assert [sorted(step) for step in together] == [sorted(y) for _, y in alone]     # the same global batches


def test_epochs_differ_and_repeat(photos):
    first, again, other = (ImageDataset(f"folder:{photos}", 4, PIPELINE, seed=s) for s in (0, 0, 1))
    there = batches(first.make_epoch(2))
    assert same(there, batches(again.make_epoch(2))) and same(there, batches(first.make_epoch(2)))
    assert not same(there, batches(first.make_epoch(3))) and not same(there, batches(other.make_epoch(2)))


def test_going_on_in_the_middle(photos):
    data = ImageDataset(f"folder:{photos}", 4, PIPELINE)
    assert same(batches(data.make_epoch(1))[2:], batches(data.make_epoch(1, first_step=2)))


def test_files_in_two_parts_are_the_images_in_one(photos):
    """Files are decoded in one function and augmented in another one; both have the image's own seed."""
    data = ImageDataset(f"folder:{photos}", 5, "inception_crop(16)|flip|erase(0.5)|affine(0.5)", seed=3)
    assert data.augmentation.has_two_parts
    for (index, repetition), image in zip(data.epoch_order(1), np.concatenate([x for x, _ in batches(
            data.make_epoch(1))])):
        seed = fold_seed(fold_seed(fold_seed(tf.constant([3, 0]), 1), index), repetition)
        file = tf.io.read_file(data.source.images[index])
        np.testing.assert_allclose(image, data.augmentation.augment_image(file, seed), atol=1e-3)


def test_fast_mode_has_the_same_images():
    x = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype("uint8")
    one, other = (
        batches(
            ImageDataset((x, np.arange(64)), 64, "crop(6)|flip|jitter(0.4, 0.4)", deterministic=d).make_epoch(
                1))
        for d in (False, True))
    (x, y), (z, w) = one[0], other[0]
    assert (x[np.argsort(y)] == z[np.argsort(w)]).all()


@pytest.mark.parametrize("deterministic", [False, True])
def test_no_loop_and_no_python_in_the_graph(photos, deterministic):
    data = ImageDataset(f"folder:{photos}", 4, PIPELINE, deterministic=deterministic)
    graph = (
        tf.function(lambda: data.make_epoch().reduce(0, lambda n, batch: n + 1))
        .get_concrete_function()
        .graph.as_graph_def())
    found = [n.op for n in graph.node] + [n.op for f in graph.library.function for n in f.node_def]
    assert {"ReduceDataset", "DecodeAndCropJpeg", "ReadFile"} <= set(found)
    found.remove("PyFunc")      # for large images only
    assert not {op for op in found if "PyFunc" in op or "While" in op}


def test_repeats():
    data = ImageDataset(numbered(24), 8, "flip", augmentation_repeats=3)
    labels = [int(i) for _, y in batches(data.make_epoch()) for i in y]
    assert len(labels) == 24 and all(labels.count(i) == 3 for i in set(labels)) and len(set(labels)) == 8
    photos = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    (x, y), = batches(ImageDataset((photos, np.arange(4)), 4, "crop(8)", augmentation_repeats=2).make_epoch())
    assert all(len(np.unique(x[y == i], axis=0)) == 2 for i in set(y))      # each its own draw


def test_labels_and_scaling(photos):
    data = ImageDataset(f"folder:{photos}", 4, PIPELINE, normalize=lambda x: x / 255)
    x, y = batches(data.make_epoch())[0]
    assert x.shape == (4, 16, 16, 3) and 0 <= x.min() <= x.max() <= 1 and x.max() > 0.5
    assert y.shape == (4, 2) and np.allclose(y.sum(1), 1)


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(batch_size=4), "either augmentation"),
        (dict(batch_size=4, augmentation="flip", prepare=whole), "either augmentation"),
        (dict(batch_size=5, augmentation="flip", workers=2), "multiple of workers=2"),
        (dict(batch_size=4, augmentation="flip", worker=1), "worker=1"),
        (dict(batch_size=32, augmentation="flip"), "at most 8, the number of images"),
        (dict(batch_size=4, augmentation="mixup(0.2)"), "unless classes=")])
def test_data_says_what_was_expected(given, message):
    with pytest.raises(ValueError) as error:
        ImageDataset(numbered(8), **given)
    assert message in str(error.value)


def test_files_need_a_size(photos):
    with pytest.raises(ValueError, match="one size, such as resize"):
        ImageDataset(f"folder:{photos}", 4, "flip")


# what cannot be read

@pytest.fixture
def damaged(photos):
    (photos / "cat" / "3.jpg").write_bytes(b"no image")
    (photos / "cat" / "7.jpg").write_bytes(jpeg(1)[:200])
    (photos / "dog" / "0.jpg").write_bytes(b"")
    return [str(photos / "cat" / "3.jpg"), str(photos / "cat" / "7.jpg"), str(photos / "dog" / "0.jpg")]


@pytest.mark.parametrize("deterministic", [False, True])
def test_broken_images_are_left_out_and_named(photos, damaged, deterministic):
    data = ImageDataset(f"folder:{photos}", 4, prepare=whole, deterministic=deterministic)
    for _ in range(2):
        labels = [int(i) for _, y in batches(data.make_epoch()) for i in y]
        assert (labels.count(0), labels.count(1)) == (8, 9) and data.unreadable_names == damaged
    assert data._unreadable.number == 3                                  # each is counted once


def test_broken_images_have_a_limit(photos, damaged):
    assert (
        len(batches(ImageDataset(f"folder:{photos}", 4, prepare=whole, max_unreadable=3).make_epoch())) == 5)
    data = ImageDataset(f"folder:{photos}", 4, prepare=whole, max_unreadable=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more unreadable images than max_unreadable"):
        batches(data.make_epoch())
    with pytest.raises(
        ValueError, match="max_unreadable=0: expected a higher limit, .* cannot be read: .*jpg"):
        list(ImageDataset(f"folder:{photos}", 4, prepare=whole, max_unreadable=0).iterate_batches())
    assert data.unreadable_names == damaged


def test_going_on_after_a_broken_image(photos, damaged):
    data = ImageDataset(f"folder:{photos}", 2, PIPELINE)
    there = batches(data.make_epoch(1))
    rest = ImageDataset(f"folder:{photos}", 2, PIPELINE, excluded=data.unreadable)
    assert (
        len(there) == 8
        and same(there[5:], batches(rest.make_epoch(1, first_step=5)))
        and rest.unreadable_names == damaged)


def test_a_broken_image_costs_no_batch_while_there_are_others(photos, damaged):
    """20 images, 17 of which are good: two batches of 8 in each epoch, wherever the others fall."""
    data = ImageDataset(f"folder:{photos}", 8, PIPELINE)
    assert [len(batches(data.make_epoch(i))) for i in range(5)] == [2] * 5


def test_pillow_s_errors_are_skipped_too(photos, damaged):
    from reskeras.inputs_outputs import get_preprocessing
    data = ImageDataset(f"folder:{photos}", 32, prepare=get_preprocessing("resnet50v1_5.a1_in1k"))
    assert [len(y) for _, y in batches(data.make_epoch())] == [17] and data.unreadable_names == damaged


# TFRecord files

def test_tfrecord_round_trip(tmp_path, photos):
    found = open_source(f"folder:{photos}")
    paths = tfrecord.write_records(found, tmp_path / "records", "validation", shards=3)
    assert [pathlib.Path(p).name for p in paths] == [f"validation-0000{i}-of-00003" for i in range(3)]
    data = ImageDataset(f"tfrecord:{tmp_path}/records/validation-*", 8, prepare=whole)
    assert data.source.classes == ("cat", "dog")
    there, here = batches(data.make_epoch()), batches(ImageDataset(found, 8, prepare=whole).make_epoch())
    assert shades(there) == shades(here) and same(there, batches(data.make_epoch()))
    assert {(int(i[0, 0, 0]), int(y)) for x, ys in there for i, y in zip(x, ys)} == {
        (int(i[0, 0, 0]), int(y)) for x, ys in here for i, y in zip(x, ys)}
    record = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(paths))).numpy()).features.feature
    assert (
        record["image/class/label"].int64_list.value[0] in (1, 2)
        and record["image/height"].int64_list.value[0] == 24)
    assert (
        record["image/width"].int64_list.value[0] == 32
        and record["image/format"].bytes_list.value[0] == b"JPEG")
    assert record["image/class/synset"].bytes_list.value[0] in (b"cat", b"dog")


def test_tfrecord_of_pixels(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 1)).astype("uint8")
    tfrecord.write_records(DataSource("here", x, np.arange(5)), tmp_path, shards=1)
    found = sorted(tfrecord.read_records(f"{tmp_path}/train-*").as_numpy_iterator(), key=lambda pair: pair[1])
    assert all((decode_image(data)[..., :1] == x[i]).all() for i, (data, _) in enumerate(found))
    assert not tfrecord.read_class_names(f"{tmp_path}/train-*")


def test_tfrecord_streams_train(tmp_path, photos):
    tfrecord.write_records(open_source(f"folder:{photos}"), tmp_path, shards=2)
    data = ImageDataset(f"tfrecord:{tmp_path}/train-*", 4, PIPELINE)
    first = batches(data.make_epoch(1))
    assert [len(y) for _, y in first] == [4] * 5 and same(first, batches(data.make_epoch(1)))
    assert same(first[2:], batches(data.make_epoch(1, first_step=2))) and not same(
        first, batches(data.make_epoch(2)))
    parts = [
        batches(
            ImageDataset(f"tfrecord:{tmp_path}/train-*", 4, prepare=whole, worker=w, workers=2).make_epoch())
        for w in (0, 1)]
    assert len(set(shades(parts[0] + parts[1]))) == 20


def test_tfrecord_half_written_is_none(tmp_path, photos, damaged):
    with pytest.raises(ValueError, match="3.jpg|7.jpg|0.jpg"):
        tfrecord.write_records(open_source(f"folder:{photos}"), tmp_path / "records", shards=2)
    assert not list((tmp_path / "records").iterdir())
    with pytest.raises(ValueError, match="expected 1 to 20, the number of images"):
        tfrecord.write_records(open_source(f"folder:{photos}"), tmp_path / "records", shards=21)
