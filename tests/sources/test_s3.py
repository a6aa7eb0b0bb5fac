"""A local server of S3 (moto): data, a run folder that is resumed, and errors without bucket or access."""
import fsspec
import keras
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import remote_paths
from reskeras.cli import main
from reskeras.file_reading import read_bytes, read_text
from reskeras.files import atomic_write, write_bytes, write_text
from reskeras.train.data import ImageDataset
from reskeras.train.sources import open_source
from reskeras.train.tfrecord import write_records

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), "uint8")
LABELS = np.arange(12) % 3
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket():
    """A bucket on a server of this process, and the variables with which programs find it."""
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("photos")
        yield "s3://photos"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def test_data(bucket, tmp_path):
    for i, image in enumerate(IMAGES):
        place = tmp_path / "photos" / "abc"[LABELS[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:02}.png")
    np.savez(tmp_path / "images.npz", x=IMAGES, y=LABELS)
    system = fsspec.filesystem("s3")
    system.put(f"{tmp_path}/photos/", "photos/folder/", recursive=True)
    system.put(str(tmp_path / "images.npz"), "photos/images.npz")
    for place in (tmp_path / "records", f"{bucket}/records"):
        write_records(open_source(f"folder:{tmp_path}/photos"), place, shards=2)
    for own, other in ((f"folder:{bucket}/folder", f"folder:{tmp_path}/photos"),
                       (f"npz:{bucket}/images.npz", f"npz:{tmp_path}/images.npz"),
                       (f"tfrecord:{bucket}/records/train-*", f"tfrecord:{tmp_path}/records/train-*")):
        batches = [list(ImageDataset(data, 4, "resize(8)|flip", seed=1).iterate_batches())
                   for data in (own, other)]
        assert len(batches[0]) == 3
        for (x, y), (u, v) in zip(*batches, strict=True):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)


class StopInSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_run_folder(bucket, tmp_path):
    options = dict(recipe="cifar_he", strategy="none", verbose=0, deterministic=True, model_overrides=[
        "depths=(1,)", "widths=(16,)", "strides=(1,)"], overrides={
            "size": 8, "augmentation": "flip", "batch_size": 4, "epochs": 2, "learning_rate": 0.1,
            "schedule": "constant"})
    np.savez(tmp_path / "images.npz", x=IMAGES, y=LABELS)
    expected = reskeras.fit("cifar_resnet20", f"npz:{tmp_path}/images.npz", **options).model
    fsspec.filesystem("s3").put(str(tmp_path / "images.npz"), "photos/images.npz")
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", f"npz:{bucket}/images.npz", output=f"{bucket}/run",
                     callbacks=[StopInSecondEpoch()], **options)
    assert main(["train", "--resume", f"{bucket}/run", "--verbose", "0"]) == 0
    own = reskeras.load(f"{bucket}/run/last.keras")
    for weights, others in zip(own.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(weights, others)
    assert main(["evaluate", f"{bucket}/run/last.keras", "--data", f"npz:{bucket}/images.npz"]) == 0


def test_large_files_arrive_in_parts(bucket, monkeypatch):
    """From 64 MiB on a file is sent in several requests; here from the first byte on, in parts of 50 MiB."""
    data = np.random.default_rng(0).bytes(60 * 2 ** 20)
    monkeypatch.setattr(remote_paths, "_WHOLE_BYTES", 0)
    write_bytes(f"{bucket}/large", data)
    assert read_bytes(f"{bucket}/large") == data
    with pytest.raises(RuntimeError), atomic_write(f"{bucket}/large") as new:
        new.write_bytes(b"half")
        raise RuntimeError
    assert fsspec.filesystem("s3").size("photos/large") == len(data)


def test_errors_are_one_line(bucket, monkeypatch, capsys):
    write_text(f"{bucket}/file", "old")
    for path in ("s3://no-such-bucket/file", "s3://no-such-bucket/folder/file"):
        with pytest.raises(FileNotFoundError, match=f"{path}: no such file, folder or bucket"):
            write_text(path, "new")
    assert main(["predict", "--model", f"{bucket}/none.keras", "x.png"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(PermissionError, match="no credentials were found.*AWS_ACCESS_KEY_ID") as error:
        write_text(f"{bucket}/file", "new")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    fsspec.filesystem("s3").clear_instance_cache()
    assert read_text(f"{bucket}/file") == "old"


def test_a_table_and_a_sweep(bucket, tmp_path, monkeypatch, capsys):
    """A table whose images are in the bucket; a sweep with a run that fails goes on there."""
    system = fsspec.filesystem("s3")
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        system.put(str(tmp_path / f"{i}.png"), f"photos/table/{i}.png")
    system.pipe("photos/table/t.csv", b"image,label,split\n" + b"".join(
        b"%d.png,%d,%s\n" % (i, i % 3, b"val" if i % 4 == 0 else b"train") for i in range(12)))
    table = f"""
        nets = ["cifar_resnet20"]
        recipes = ["cifar_he"]
        data = "table:{bucket}/table/t.csv"
        validation_data = "table:{bucket}/table/t.csv"
        class_weight = "balanced"
        [overrides.good]
        batch_size = 4
        [overrides.bad]
        batch_size = 40
        """
    for name in ("good", "bad"):
        table = table.replace(f"[overrides.{name}]\n", f"""[overrides.{name}]
        epochs = 1\nsize = 8\ntest_size = 8\naugmentation = "resize(8)"\nwarmup = 0\nschedule = "constant"
        model.depths = [1]\nmodel.widths = [16]\nmodel.strides = [1]\n""")
    write_text(f"{bucket}/sweep.toml", table)
    monkeypatch.chdir(tmp_path)
    before = sorted(file.name for file in tmp_path.iterdir())
    texts = []
    for _ in range(2):
        assert main(["sweep", f"{bucket}/sweep.toml", "--output", f"{bucket}/swept"]) == 1
        texts.append(capsys.readouterr().out)
    assert "good.seed0: finished before" in texts[1] and "finished before" not in texts[0]
    assert "batch_size=40: expected at most 9" in texts[1] and f"{bucket}/swept/sweep.csv" in texts[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == before
