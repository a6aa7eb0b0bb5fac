"""Labels of TFRecord files that begin at 0 or 1, or are none of the classes; files that are no TFRecords."""
import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras import cli
from reskeras.commands.evaluate import evaluate
from reskeras.errors import ArgumentError
from reskeras.train import tfrecord
from reskeras.train.arguments import FitArguments
from reskeras.train.data import ImageDataset
from reskeras.train.source import DataSource
from reskeras.train.sources import open_source
from reskeras.train.recipes import get_recipe
from reskeras.train.training_data import open_training_sources

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), "uint8")
PNGS = [tf.io.encode_png(image).numpy() for image in IMAGES]
FIELDS = {"size": 8, "augmentation": "resize(8)", "batch_size": 4, "epochs": 1, "warmup": 0}
TINY = {"depths": (1,), "widths": (16,), "strides": (1,)}


def make_record(label, png=PNGS[0], kind="int64_list"):
    lists = {"int64_list": tf.train.Int64List, "bytes_list": tf.train.BytesList,
             "float_list": tf.train.FloatList}
    features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))}
    if label is not None:
        features["image/class/label"] = tf.train.Feature(**{kind: lists[kind](value=[label])})
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, labels):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, label in enumerate(labels):
            writer.write(make_record(label, PNGS[i % 4]))


def train(data, **options):
    return reskeras.fit("cifar_resnet20", data, "digits", verbose=2, model_overrides=TINY,
                        **{**FIELDS, "classes": 4, **options})


def read_labels(source):
    return [int(label) for _, label in source.stream()]


@pytest.mark.parametrize("labels, given, offset", [
    ([0, 1, 2, 3], None, 0), ([1, 2, 3, 4], None, 1), ([2, 3], None, 1), ([2, 3], 0, 0), ([1, 4], 1, 1)])
def test_the_label_of_the_first_class(tmp_path, labels, given, offset):
    write(tmp_path / "train-0", labels)
    source = open_source(f"tfrecord:{tmp_path}/train-*", label_offset=given)
    assert source.label_offset == offset and read_labels(source) == [label - offset for label in labels]
    part, = source.parts
    assert part.images == len(labels)
    assert (part.lowest, part.highest) == (min(labels) - offset, max(labels) - offset)
    source.check_labels(4)
    assert sorted(y for _, ys in ImageDataset(source, 2, "resize(8)").make_epoch() for y in ys.numpy()) \
        == [label - offset for label in labels]


def test_training_says_which_and_keeps_it(tmp_path, capsys):
    """One file alone has the label 0; few images to validate on lack it."""
    write(tmp_path / "train-0", [1, 2, 3] * 2)
    write(tmp_path / "train-1", [0, 1, 2])
    write(tmp_path / "test-0", [1, 2, 3])
    data, test = f"tfrecord:{tmp_path}/train-*", f"tfrecord:{tmp_path}/test-*"
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["loss"]))
    history = train(data, validation_data=test, output=tmp_path / "run", callbacks=[Look()])
    assert "has the label 0 (label_offset=0)" in capsys.readouterr().out and len(seen) == 2
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["data"]["label_offset"] == 0 and info["arguments"]["label_offset"] is None
    # the validation has the same classes: its loss is that of the labels 1, 2 and 3
    prepare = history.model.metadata.get_preprocessing(history.model.input_shape[1:], "the net")
    scores = history.model(np.concatenate([prepare(image) for image in IMAGES[:3]])).numpy()
    expected = -np.log(scores[np.arange(3), [1, 2, 3]]).mean()
    assert history.history["val_loss"][0] == pytest.approx(expected, rel=1e-3)

    write(tmp_path / "train-1", [1, 2, 3])
    write(tmp_path / "test-0", [1, 2, 3])
    with pytest.raises(ValueError, match="label_offset are 1, but the training was started with 0"):
        reskeras.fit(resume=tmp_path / "run", verbose=0)
    with pytest.raises(ArgumentError, match="label_offset=1: expected None, with which the training in"):
        reskeras.fit(resume=tmp_path / "run", verbose=0, label_offset=1)

    # earlier versions did not write it down: it was 1
    del info["data"]["label_offset"], info["arguments"]["label_offset"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert reskeras.fit(resume=tmp_path / "run", verbose=0).epoch == [0]
    write(tmp_path / "train-1", [0, 1, 2])
    with pytest.raises(ValueError, match="label_offset are 0, but the training was started with 1"):
        reskeras.fit(resume=tmp_path / "run", verbose=0)


@pytest.mark.parametrize("train_labels, test_labels, options, message", [
    ([0, 1, 2, 4], None, {}, r"train-0: label 4 is not one of 0 \.\.\. 3; with label_offset=0 .* give "
     "label_offset=1"),
    ([0, 1, 2, 3], None, {"label_offset": 1}, r"train-0: label 0 is not one of 1 \.\.\. 4"),
    ([1, 2, 3, 5], None, {}, r"train-0: label 5 is not one of 1 \.\.\. 4"),
    ([1, 2, 3, 10 ** 9], None, {}, r"train-0: label 1000000000 is not one of 1 \.\.\. 4"),
    ([-1, 2, 3, 3], None, {}, r"train-0: label -1 is not one of 0 \.\.\. 3"),
    ([-2 ** 63, 2, 3, 3], None, {}, r"train-0: label -9223372036854775808 is not one of 0 \.\.\. 3"),
    ([2 ** 63 - 1, 2, 3, 3], None, {}, r"train-0: label 9223372036854775807 is not one of 1 \.\.\. 4"),
    ([1, 2, 3, 4], [0, 1, 2, 3], {}, r"test-0: label 0 is not one of 1 \.\.\. 4, the classes of tfrecord:"),
    ([0, 1, 2, 3], [1, 2, 3, 4], {}, r"test-0: label 4 is not one of 0 \.\.\. 3, the classes of tfrecord:"),
    ([1, 2, 3, 4], [], {}, "test-0: the file is empty"),
    ([], None, {}, "train-0: the file is empty")])
def test_every_label_of_every_stream_is_checked(tmp_path, train_labels, test_labels, options, message):
    write(tmp_path / "train-0", train_labels)
    if test_labels is not None:
        write(tmp_path / "test-0", test_labels)
        options = {**options, "validation_data": f"tfrecord:{tmp_path}/test-*"}
    with pytest.raises(ValueError, match=message):
        train(f"tfrecord:{tmp_path}/train-*", **options)


def test_each_shard_is_checked(tmp_path):
    for i in range(3):
        write(tmp_path / f"train-{i}", [0, 1, 2, 3])
    data = f"tfrecord:{tmp_path}/train-*"
    assert [part.images for part in open_source(data).parts] == [4, 4, 4]
    write(tmp_path / "train-1", [])
    with pytest.raises(ValueError, match="train-1: the file is empty"):
        train(data)
    write(tmp_path / "train-1", [0, 7])
    with pytest.raises(ValueError, match="train-1: label 7 is not one of"):
        train(data)


def test_where_there_are_no_records(tmp_path):
    write(tmp_path / "train-0", [0, 1, 2, 3])
    for wrong in (2, -1, True, "1", 0.0):
        with pytest.raises(ArgumentError, match="label_offset=.*: expected 0 or 1"):
            train(f"tfrecord:{tmp_path}/train-*", label_offset=wrong)
        with pytest.raises(ArgumentError, match="label_offset=.*: expected 0 or 1"):
            evaluate("cifar_resnet20.digits", "digits", label_offset=wrong)
    arrays = IMAGES, np.arange(4)
    with pytest.raises(ArgumentError, match="label_offset=0: expected None, because neither data nor valid"):
        train(arrays, label_offset=0)
    with pytest.raises(ArgumentError, match="label_offset=0: expected None, because data are no TFRecord"):
        evaluate("cifar_resnet20.digits", "digits", label_offset=0)
    arguments = FitArguments("resnet18", arrays, validation_data=f"tfrecord:{tmp_path}/train-*",
                             label_offset=np.int64(0))
    sources = open_training_sources(arguments, get_recipe("cifar_he"))
    assert sources.validation.label_offset == 0 and sources.train.label_offset is None


def test_arrays_and_other_streams(tmp_path):
    far = np.array([0, 1, 2, 10 ** 9])
    with pytest.raises(ArgumentError, match="classes=None: expected the number of classes, because arrays "
                       "has the label 1000000000, but only 4 images"):
        train((IMAGES, far), classes=None)
    with pytest.raises(ArgumentError, match="classes=4: expected at least 1000000001"):
        train((IMAGES, far))
    with pytest.raises(ValueError, match="expected a class number for each"):
        train((IMAGES, np.array([0, 1, 2, 2 ** 63], "uint64")))
    with pytest.raises(ValueError, match=r"arrays: label 7 is not one of 0 \.\.\. 3, the classes of arrays"):
        train((IMAGES, np.arange(4)), validation_data=(IMAGES, np.array([0, 1, 2, 7])))

    def stream(labels):
        return lambda: tf.data.Dataset.from_tensor_slices((IMAGES[:len(labels)], np.array(labels, "int32")))
    for labels, message in (([0, 1, -1, 3], r"here: label -1 is not one of 0 \.\.\. 3"),
                            ([0, 1, 2, 4], r"here: label 4 is not one of 0 \.\.\. 3"),
                            ([], "here: it has no images")):
        with pytest.raises(ValueError, match=message):
            train(DataSource("here", stream=stream(labels)))
    folder = tmp_path / "cifar"
    folder.mkdir()
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        np.full(3073, 200, "uint8").tofile(folder / name)
    with pytest.raises(ValueError, match=r"cifar10:.*: label 200 is not one of 0 \.\.\. 9"):
        train(f"cifar10:{folder}", classes=None)


def test_the_shell(tmp_path, capsys):
    """Exit 2 and one line; the option is the argument."""
    write(tmp_path / "test-0", [0, 1, 2, 9])
    data = f"tfrecord:{tmp_path}/test-*"
    net = ["evaluate", "cifar_resnet20.digits", "--data", data]
    assert cli.main([*net, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label_offset"] == 0
    assert cli.main(net) == 0
    assert "the first class has the label 0 (label_offset=0)" in capsys.readouterr().out
    for words, message in ((["--label-offset", "1"], "test-0: label 0 is not one of 1 ... 10"),
                           (["--label-offset", "2"], "--label-offset 2: expected 0 or 1")):
        assert cli.main([*net, *words]) == 2
        assert cli.main(["train", "cifar_resnet20", "--recipe", "digits", "--data", data, "--classes", "10",
                         "--output", str(tmp_path / "run"), *words]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2 and all(message in line for line in lines)
    write(tmp_path / "test-0", [0, 1, 2, 10])
    assert cli.main(net) == 2
    assert "test-0: label 10 is not one of 0 ... 9" in capsys.readouterr().err


# damaged files

def test_damaged_files_end_in_one_line_with_the_files_name(tmp_path, capsys):
    write(tmp_path / "train-0", [0, 1, 2, 3])
    good, bad = (tmp_path / "train-0").read_bytes(), tmp_path / "train-1"
    length = len(good) // 4
    huge = (2 ** 40).to_bytes(8, "little") + good[8:]
    flipped = bytearray(good)
    flipped[length + 40] ^= 1
    attacks = {"flipped": bytes(flipped), "cut": good[:-5], "head": good[:7], "text": b"no record" * 100,
               "huge": huge, "gzip": b"\x1f\x8b" + good, "zeros": bytes(1000)}
    for name, data in attacks.items():
        bad.write_bytes(data)
        code = cli.main(["train", "cifar_resnet20", "--recipe", "digits", "--classes", "4", "--data",
                         f"tfrecord:{tmp_path}/train-*", "--output", str(tmp_path / "run")])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1) and str(bad) in error, (name, error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("record", [
    make_record(None), make_record(b"1", kind="bytes_list"), make_record(1.0, kind="float_list"),
    b"no example", b"\xef\xf0\x1b no text", b""])
def test_records_of_another_kind(tmp_path, record):
    with tf.io.TFRecordWriter(str(tmp_path / "train-0")) as writer:
        writer.write(make_record(0))
        writer.write(record)
    with pytest.raises(ValueError, match="train-0: it has records that are damaged, or are not images"):
        open_source(f"tfrecord:{tmp_path}/train-*")


def test_a_file_that_is_damaged_while_training(tmp_path):
    write(tmp_path / "train-0", [0, 1, 2, 3] * 2)

    class Damage(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            data = bytearray((tmp_path / "train-0").read_bytes())
            data[200] ^= 1
            (tmp_path / "train-0").write_bytes(data)
    with pytest.raises(ValueError, match=r"tfrecord:.* cannot be read any more \(corrupted record at "):
        train(f"tfrecord:{tmp_path}/train-*", callbacks=[Damage()], epochs=2)


def test_labels_beside_the_records(tmp_path):
    write(tmp_path / "train-0", [1, 2])
    labels = tmp_path / "labels.txt"
    labels.write_text("1:cat\n2:dog\n")
    assert open_source(f"tfrecord:{tmp_path}/train-*").classes == ("cat", "dog")
    for text in (b"1:cat\n\n", b"\xff\xfe1:cat", b"cat\ndog\n"):
        labels.write_bytes(text)
        with pytest.raises(ValueError, match="labels.txt"):
            open_source(f"tfrecord:{tmp_path}/train-*")
    labels.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(labels)
        with pytest.raises(ValueError, match="labels.txt"):
            open_source(f"tfrecord:{tmp_path}/train-*")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_no_images(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name / "more.png").mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(PNGS[0])
        os.mkfifo(tmp_path / name / "b.png")
    os.symlink("nowhere", tmp_path / "cat" / "c.png")
    os.mkfifo(tmp_path / "x.npz")
    files = open_source(f"folder:{tmp_path}").images
    assert [pathlib.Path(file).name for file in files] == ["a.png", "c.png", "a.png"]
    with pytest.raises(ValueError, match="pipe"):
        open_source(f"npz:{tmp_path}/x.npz")


def test_damaged_npz(tmp_path, capsys):
    file = tmp_path / "x.npz"
    np.savez_compressed(file, x=IMAGES, y=np.arange(4))
    good = file.read_bytes()
    objects = tmp_path / "o.npz"
    np.savez(objects, x=np.array([{}, 1], object), y=np.arange(2))
    for data in (good[:-100], good[:50], b"", b"PK\x03\x04" + bytes(50),
                 good[:100] + bytes([good[100] ^ 255]) + good[101:], objects.read_bytes()):
        file.write_bytes(data)
        code = cli.main(["evaluate", "cifar_resnet20.digits", "--data", f"npz:{file}"])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1) and "x.npz" in error, error


def test_records_that_were_written_here(tmp_path):
    tfrecord.write_records(DataSource("here", IMAGES, np.arange(4)), tmp_path, shards=2)
    source = open_source(f"tfrecord:{tmp_path}/train-*")
    assert source.label_offset == 1 and sorted(read_labels(source)) == [0, 1, 2, 3]
