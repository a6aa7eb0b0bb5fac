"""A tf.data service makes the same batches in the same order as one process."""
import csv
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from reskeras.cli import main
from reskeras.errors import ArgumentError
from reskeras.images.preprocessing import Preprocessing
from reskeras.train import data_service
from reskeras.train.data import ImageDataset
from reskeras.train.data_service import connect_data_service

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def service():
    """The address of a dispatcher of this process, and two workers, which the shell starts elsewhere."""
    server = start_dispatcher()
    address = f"127.0.0.1:{server.target.rpartition(':')[2]}"
    workers = [start_worker(address) for _ in range(2)]
    try:
        assert all("worker at 127.0.0.1:" in worker.stdout.readline() for worker in workers)
        yield address, workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
        server._stop()


def start_dispatcher(port=0):
    config = tf.data.experimental.service.DispatcherConfig(port=port, worker_timeout_ms=20_000)
    return tf.data.experimental.service.DispatchServer(config)


def start_worker(dispatcher):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        [sys.executable, "-m", "reskeras", "data-service", "worker", "--dispatcher", dispatcher, "--port",
         str(find_free_port())], cwd="/", env=environment, stdout=subprocess.PIPE, text=True)


def find_free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def photos(tmp_path):
    """240 images of two classes, each of another shade."""
    for i in range(240):
        folder = tmp_path / "photos" / ("cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 16, 3), (i, 255 - i, 128), "uint8")).save(folder / f"{i:03}.png")
    return tmp_path / "photos"


@pytest.fixture
def made_here(monkeypatch):
    """The numbers of the batches that this process makes."""
    steps, make = [], data_service._LocalBatches.make
    monkeypatch.setattr(data_service._LocalBatches, "make",
                        lambda self, step: steps.append(step) or make(self, step))
    monkeypatch.setattr(data_service, "_PATIENCE", 120.0)
    return steps


def read(batches):
    return [[np.asarray(part) for part in batch] for batch in batches]


def check_equal(one, other):
    assert len(one) == len(other)
    for i, (a, b) in enumerate(zip(one, other)):
        assert all(np.array_equal(x, y) for x, y in zip(a, b)), i


def test_a_worker_is_killed_amid_an_epoch(service, photos, made_here, monkeypatch):
    """Each image comes once, in the order and with the pixels of a training without the service."""
    address, workers = service
    monkeypatch.chdir(photos.parent)
    # the first of two processes that train
    data = ImageDataset("folder:photos", 4, "inception_crop(8)|flip|mixup(0.2)", seed=3, workers=2)
    makes = connect_data_service(f"grpc://{address}", [data])
    found = []
    for batch in makes.make_epoch(data, 1):
        found += read([batch])
        if len(found) == 2:
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
            monkeypatch.setattr(data_service, "_PATIENCE", 3.0)
    expected = read(data.make_epoch(1))
    check_equal(found, expected)
    # and the rest of an epoch, as of a training that is resumed in it, by the worker that is left
    monkeypatch.setattr(data_service, "_PATIENCE", 120.0)
    check_equal(read(makes.make_epoch(data, 1, 40)), expected[40:])
    assert made_here and len(made_here) < 40


@pytest.mark.slow
def test_the_dispatcher_starts_anew(photos, made_here, monkeypatch):
    """Each batch is right, also without a dispatcher, and while a worker sends what it made for the first."""
    port = find_free_port()
    server, worker = start_dispatcher(port), start_worker(f"127.0.0.1:{port}")
    try:
        assert "worker at 127.0.0.1:" in worker.stdout.readline()
        data = ImageDataset(f"folder:{photos}", 4, "inception_crop(8)|flip|mixup(0.2)", seed=3)
        makes = connect_data_service(f"127.0.0.1:{port}", [data])
        found = []
        for batch in makes.make_epoch(data, 1):
            found += read([batch])
            if len(found) == 2:
                server._stop()
                monkeypatch.setattr(data_service, "_PATIENCE", 3.0)
        check_equal(found, read(data.make_epoch(1)))
        server = start_dispatcher(port)
        monkeypatch.setattr(data_service, "_PATIENCE", 120.0)
        with pytest.warns(UserWarning, match="batches of another epoch or training .start its workers again"):
            check_equal(read(makes.make_epoch(data, 2)), read(data.make_epoch(2)))
        worker.kill()
        worker.communicate()
        worker = start_worker(f"127.0.0.1:{port}")
        assert "worker at 127.0.0.1:" in worker.stdout.readline()
        made_here.clear()
        check_equal(read(makes.make_epoch(data, 3)), read(data.make_epoch(3)))
        assert not made_here
    finally:
        worker.kill()
        worker.communicate()
        server._stop()


@pytest.mark.slow
def test_every_image_and_no_worker(service, photos, made_here, monkeypatch):
    address, workers = service
    data = ImageDataset(f"folder:{photos}", 4, "inception_crop(8)|flip|mixup(0.2)", seed=3)
    makes = connect_data_service(address, [data])

    # what Python decodes: PNG files of 16 bits, and everything in evaluation, whose last batch is smaller
    for path in photos.glob("dog/*7.png"):
        Image.fromarray(np.asarray(Image.open(path))[..., 0].astype("uint16") * 256).save(path)
    check_equal(read(makes.make_epoch(data, 2)), read(data.make_epoch(2)))
    exact = ImageDataset(f"folder:{photos}", 100, prepare=Preprocessing((6, 6)))
    check_equal(read(makes.make_epoch(exact)), read(exact.make_epoch()))
    assert not made_here

    # what it cannot read is replaced as without the service
    for i in (4, 5, 78):
        (photos / ("cat", "dog")[i % 2] / f"{i:03}.png").write_bytes(b"no image")
    alone = ImageDataset(f"folder:{photos}", 2, "resize(8)")
    left_out = ImageDataset(f"folder:{photos}", 2, "resize(8)", max_unreadable=3)
    check_equal(read(makes.make_epoch(left_out)), read(alone.make_epoch()))
    assert left_out.unreadable_names == alone.unreadable_names and len(alone.unreadable) == 3
    left_out = ImageDataset(f"folder:{photos}", 2, "resize(8)", max_unreadable=2)
    with pytest.raises(ArgumentError, match="max_unreadable=2: expected a higher limit.*004.png"):
        with left_out.explain_errors():
            read(makes.make_epoch(left_out))

    # what only this process can read
    os.symlink(photos, hidden := photos.parent / "hidden")
    monkeypatch.chdir(photos.parent)
    own = ImageDataset(f"folder:/proc/self/cwd/{hidden.name}", 4, "resize(8)")
    with pytest.raises(ValueError, match="cannot read .*self/cwd/hidden.*but this machine can; give all"):
        with own.explain_errors():
            read(makes.make_epoch(own))

    # no worker is left
    made_here.clear()
    monkeypatch.setattr(data_service, "_PATIENCE", 3.0)
    for worker in workers:
        worker.kill()
        worker.wait()
    with pytest.warns(UserWarning, match="has sent no batch for 3 seconds; this process makes the batches"):
        check_equal(read(makes.make_epoch(alone, 7)), read(alone.make_epoch(7)))
    assert len(made_here) == 118


def test_what_is_refused(tmp_path, photos, monkeypatch, capsys):
    """Before the first batch, in one line with the way out."""
    monkeypatch.setattr(data_service, "_START", 0.0)
    free = find_free_port()
    arrays = np.zeros((8, 8, 8, 3), "uint8"), np.arange(8) % 2

    def refuse(data, address=f"localhost:{free}"):
        with pytest.raises(ArgumentError) as error:
            connect_data_service(address, [ImageDataset(data, 2, "resize(8)")])
        return str(error.value)
    assert "expected 'none', because arrays has no image files, which other processes" in refuse(arrays)
    assert refuse(tf.data.Dataset.from_tensor_slices(arrays)).endswith(
        "give image files, folder:PATH or table:FILE, under a path that all machines have")
    text = refuse(f"folder:{photos}")
    assert "expected the address of a dispatcher (ConnectionRefusedError" in text
    assert text.endswith(f"start one there: reskeras data-service dispatcher --port {free}")
    for address in ("localhost", "localhost:", ":5000", "localhost:port", "a:70000", 5000):
        assert "expected HOST:PORT, the address of a tf.data service's dispatcher" in refuse(
            f"folder:{photos}", address)
    assert connect_data_service(None, []) is connect_data_service("none", []) is None

    # the shell's commands
    said = {}
    with socket.create_server(("", 0)) as server:
        taken = str(server.getsockname()[1])
        for words in (["dispatcher", "--port", taken], ["dispatcher", "--port", "0"],
                      ["worker", "--dispatcher", "localhost"],
                      ["worker", "--dispatcher", f"localhost:{free}", "--port", str(find_free_port())]):
            assert main(["data-service", *words]) == 2
            said[words[-1]] = capsys.readouterr().err
    assert all(text.count("\n") == 1 for text in said.values())
    assert f"--port {taken}: expected a free port (OSError" in said[taken]
    assert "--dispatcher localhost: expected HOST:PORT" in said["localhost"]


@pytest.mark.slow
def test_a_training_and_its_end_are_the_same(service, photos, tmp_path, capfd):
    """By the shell, with validation; resumed with the service and without."""
    words = ["train", "cifar_resnet20", "--recipe", "digits", "--data", f"folder:{photos}", "--epochs", "2",
             "--validation-split", "0.2", "--size", "8", "--augmentation", "resize(8)|flip",
             "--batch-size", "16", "--model-overrides", "depths=(1,)", "--model-overrides", "widths=(16,)",
             "--model-overrides", "strides=(1,)", "--optimizer", "sgd", "--learning-rate", "0.01",
             "--schedule", "constant", "--warmup", "0", "--deterministic", "--verbose", "0"]
    for name, more in (("alone", []), ("served", ["--data-service", service[0]])):
        assert main([*words, "--output", str(tmp_path / name), *more]) == 0
    assert read_log(tmp_path / "alone") == read_log(tmp_path / "served")
    assert json.loads((tmp_path / "served" / "run.json").read_text())["data_service"] == service[0]
    assert main(["train", "--resume", str(tmp_path / "served"), "--epochs", "3", "--data-service",
                 "none"]) == 0
    assert main(["train", "--resume", str(tmp_path / "alone"), "--epochs", "3", "--data-service",
                 service[0]]) == 0
    assert read_log(tmp_path / "alone") == read_log(tmp_path / "served")


def read_log(run):
    """The lines of log.csv without the times."""
    return [{name: value for name, value in row.items() if name not in ("images_per_s", "waiting")}
            for row in csv.DictReader(io.StringIO((run / "log.csv").read_text()))]
