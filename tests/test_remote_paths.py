"""What is read from memory:// and written there is what a disk has, in Python and in the shell."""
import errno
import json
import pathlib
import tempfile

import fsspec
import numpy as np
import pytest
from PIL import Image
from stopping import StopInSecondEpoch

import reskeras
from reskeras.cli import main
from reskeras.file_reading import open_regular_file, read_bytes, read_text
from reskeras.files import atomic_write, write_bytes, write_text
from reskeras.remote_paths import to_url
from reskeras.train.data import ImageDataset
from reskeras.train.sources import open_source
from reskeras.train.tfrecord import write_records

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.integers(0, 256, (12, 8, 8, 3), "uint8"), np.arange(12) % 3
TRAINING = ["size=8", "augmentation=flip", "batch_size=4", "epochs=2", "learning_rate=0.1",
            "schedule=constant"]
NET = ["depths=(1,)", "widths=(16,)", "strides=(1,)"]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with images, TFRecord files, and an .npz file."""
    folder = tmp_path_factory.mktemp("local")
    for i, image in enumerate(IMAGES):
        place = folder / "photos" / "train" / "abc"[LABELS[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:02}.png")
    (folder / "photos" / "train" / "a" / "notes.txt").write_text("no image")
    (folder / "photos" / "train" / "a" / ".hidden.png").write_text("no image")
    write_records(open_source(f"folder:{folder / 'photos'}"), folder / "records", shards=3)
    np.savez(folder / "images.npz", x=IMAGES, y=LABELS)
    return folder


@pytest.fixture(scope="module")
def remote(local):
    """The same in a file system in memory."""
    fsspec.filesystem("memory").put(str(local), "/bucket/data", recursive=True)
    yield "memory://bucket/data"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def list_own_temporary_folders():
    return sorted(pathlib.Path(tempfile.gettempdir()).glob("reskeras-*"))


@pytest.mark.parametrize("source", ["folder:{}/photos", "tfrecord:{}/records/train-*", "npz:{}/images.npz"])
def test_batches_are_those_of_local_files(source, local, remote):
    before = list_own_temporary_folders()
    own, other = open_source(source.format(remote)), open_source(source.format(local))
    assert own.classes == other.classes and [p.images for p in own.parts] == [p.images for p in other.parts]
    assert [name.removeprefix(remote) for name in own.left_out] == [
        name.removeprefix(str(local)) for name in other.left_out]
    for epoch in (0, 1):
        batches = [list(ImageDataset(each, 4, "resize(8)|flip", seed=1).iterate_batches(epoch))
                   for each in (own, other)]
        assert len(batches[0]) == len(batches[1]) == 3
        for (x, y), (u, v) in zip(*batches):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)
    assert list_own_temporary_folders() == before       # a copy of a shard is deleted


def test_records_are_written_as_on_a_disk(local, remote):
    source = open_source(f"npz:{local / 'images.npz'}")
    written = write_records(source, f"{remote}/written", shards=2)
    expected = write_records(source, local / "written", shards=2)
    names = [path.removeprefix(str(local)) for path in expected]
    assert [path.removeprefix(remote) for path in written] == names
    assert [read_bytes(path) for path in written] == [read_bytes(path) for path in expected]


def fit(data, output, **options):
    return reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data=data, output=output,
                        strategy="none", overrides=TRAINING, model_overrides=NET, deterministic=True,
                        verbose=0, **options)


def test_run_folder(local, remote, tmp_path, capsys):
    """A training in memory:// that is stopped within an epoch, and resumed in the shell."""
    before, run = list_own_temporary_folders(), "memory://bucket/run"
    expected = fit(f"npz:{local / 'images.npz'}", tmp_path / "run").model
    with pytest.raises(KeyboardInterrupt):
        fit(f"npz:{remote}/images.npz", run, save_every=1, callbacks=[StopInSecondEpoch()])
    assert list_own_temporary_folders() == before
    assert main(["train", "--resume", run, "--verbose", "1"]) == 0
    out = capsys.readouterr().out
    assert f"resuming {run}, which was started" in out and f"\n{run}/last.keras" in out and "/tmp" not in out
    for own, other in zip(reskeras.load(f"{run}/last.keras").get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(own, other)

    names = {name.removeprefix("/bucket/run/") for name in fsspec.filesystem("memory").find("/bucket/run")}
    on_disk = {file.relative_to(tmp_path / "run").as_posix() for file in (tmp_path / "run").rglob("*.*")}
    assert {name for name in on_disk if "events" not in name} <= names
    assert len([name for name in names if name.startswith("events/")]) == 2
    assert json.loads(read_text(f"{run}/run.json"))["resume"] == f"reskeras train --resume {run}"

    assert main(["evaluate", f"{run}/last.keras", "--data", f"npz:{remote}/images.npz"]) == 0
    accuracy = reskeras.evaluate(expected, (IMAGES, LABELS)).top1
    assert f"top-1 {accuracy:.2f} %" in capsys.readouterr().out
    own = reskeras.predict(f"{run}/last.keras", f"{remote}/photos/train/b")
    other = reskeras.predict(expected, local / "photos" / "train" / "b")
    assert [result["predictions"] for result in own] == [result["predictions"] for result in other]
    assert [result["image"] for result in own] == [
        f"{remote}/photos/train/b/{i:02}.png" for i in (1, 4, 7, 10)]

    with pytest.raises(ValueError, match="output='memory://bucket/run': expected a new or empty folder"):
        fit(f"npz:{remote}/images.npz", run)
    assert main(["train", "--resume", "memory://bucket/none"]) == 2
    assert "memory://bucket/none: no training was started there" in capsys.readouterr().err
    assert list_own_temporary_folders() == before


def test_exported_file(remote, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = reskeras.CifarResNet20(weights=None, depths=(1,), widths=(16,), strides=(1,), input_shape=(8, 8, 3))
    reskeras.save(net, "memory://bucket/net.keras")
    loaded = reskeras.load("memory://bucket/net.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], net.get_weights()[0])
    assert main(["export", "memory://bucket/net.keras", "memory://bucket/exported/net.tflite"]) == 0
    assert fsspec.filesystem("memory").size("/bucket/exported/net.tflite") > 1000
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_object(monkeypatch):
    """If the writer fails, and if the store does; other files of the same write are not there either."""
    system = fsspec.filesystem("memory")
    write_text("memory://bucket/file", "old")
    with pytest.raises(RuntimeError), atomic_write("memory://bucket/file") as new:
        new.write_text("new")
        raise RuntimeError
    assert read_text("memory://bucket/file") == "old"

    def fail(self, path, value, **options):
        raise OSError(errno.EIO, "the connection was lost")
    monkeypatch.setattr(type(system), "pipe_file", fail)
    with pytest.raises(OSError, match="^memory://bucket/file: OSError: .*the connection was lost") as error:
        write_bytes("memory://bucket/file", b"new")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert read_text("memory://bucket/file") == "old"


def test_folder_is_replaced():
    for names in ("ab", "bc"):
        with atomic_write("memory://bucket/folder") as new:
            (new / "inner").mkdir(parents=True)
            for name in names:
                (new / "inner" / name).write_text(name)
    assert fsspec.filesystem("memory").find("/bucket/folder") == [
        "/bucket/folder/inner/b", "/bucket/folder/inner/c"]


def test_reading():
    write_bytes("memory://bucket/bytes", b"0123456789")
    with open_regular_file("memory://bucket/bytes") as file:
        file.seek(4)
        assert file.read(2) == b"45" and file.fileno() > 0
    with pytest.raises(ValueError, match="memory://bucket/bytes has 10 bytes; at most 9 are expected"):
        read_bytes("memory://bucket/bytes", 9)
    with pytest.raises(FileNotFoundError, match="memory://bucket/none: no such file"):
        read_bytes("memory://bucket/none")


@pytest.mark.parametrize("path, url", [
    ("s3://b/x", "s3://b/x"), (pathlib.PurePosixPath("s3://b/x"), "s3://b/x"), ("gs://b", "gs://b"),
    ("/tmp/x", ""), ("x", ""), ("C:/x", ""), (pathlib.PurePosixPath("C://x"), ""), ("file:///x", ""),
    ("hf://user/net", ""), ("npz:x", ""), (3, ""), ("", "")])
def test_what_is_remote(path, url):
    assert to_url(path) == url


@pytest.mark.parametrize("command, message", [
    (["predict", "--model", "cifar_resnet20.digits", "nosuch://x/y.png"],
     "nosuch://x/y.png: nosuch:// is no kind of path that fsspec knows"),
    (["evaluate", "cifar_resnet20.digits", "--data", "folder:memory://none"], "no such folder, or no files"),
    (["evaluate", "cifar_resnet20.digits", "--data", "tfrecord:memory://none/*"], "no such files"),
    (["evaluate", "cifar_resnet20.digits", "--data", "npz:memory://none/x.npz"], "no such file"),
    (["train", "cifar_resnet20", "--data", "digits", "--output", "nosuch://x"], "is no kind of path")])
def test_errors_are_one_line(command, message, capsys):
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_missing_package(monkeypatch, capsys):
    def fail(url):
        raise ImportError("Install s3fs to access S3")
    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    assert main(["predict", "--model", "s3://bucket/net.keras", "x.png"]) == 2
    error = capsys.readouterr().err
    assert 'needs a package for s3://' in error and 'pip install "reskeras[remote]"' in error
    assert error.count("\n") == 1
