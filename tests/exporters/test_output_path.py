"""A full disk, an interrupt, a place that cannot be written: what was there is there, and nothing else."""
import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny import tiny

import reskeras
from reskeras import files
from reskeras.exporters.report import ExportReport
from reskeras.files import atomic_write


def content(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def write(path, text):
    """A net of two files, and its report."""
    for name in (path, path.with_suffix(".bin"), path.with_name(f"{path.name}.json")):
        name.write_text(text)


def test_all_files_together(tmp_path):
    for text in ("old", "new"):
        with atomic_write(tmp_path / "net.xml") as new:
            write(new, text)
        assert content(tmp_path) == {name: text.encode() for name in ("net.xml", "net.bin", "net.xml.json")}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "no space left on device"),
                                   MemoryError])
def test_an_error_while_writing(tmp_path, error):
    with atomic_write(tmp_path / "net.xml") as new:
        write(new, "old")
    before = content(tmp_path)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        with atomic_write(tmp_path / "net.xml") as new:
            new.write_text("half")
            raise error
    assert content(tmp_path) == before and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("moves", range(3))
def test_an_interrupt_between_any_two_moves(tmp_path, monkeypatch, moves):
    with atomic_write(tmp_path / "net.xml") as new:
        write(new, "old")
    before, true, count = content(tmp_path), os.replace, [0]

    def interrupted(*paths):
        count[0] += 1
        if count[0] == moves + 1:
            raise KeyboardInterrupt
        true(*paths)
    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with atomic_write(tmp_path / "net.xml") as new:
            write(new, "new")
    assert content(tmp_path) == before and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("file", ["net.tflite", "net"])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, file):
    net = tiny("cifar_resnet20")
    reskeras.export(net, tmp_path / file)
    before = content(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(ExportReport, "write", full)
    with pytest.raises(OSError, match="No space left"):
        reskeras.export(net, tmp_path / file)
    assert content(tmp_path) == before


def test_sigint_leaves_the_earlier_file(tmp_path):
    """In a process of its own, at whatever it is doing then."""
    (tmp_path / "net.tflite").write_text("earlier")
    code = ("import reskeras, signal, sys; net = reskeras.create('cifar_resnet20.digits')\n"
            # a shell's background jobs ignore it
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "print('begun', flush=True)\n"
            "while True:\n"
            "    try:\n"
            "        reskeras.export(net, sys.argv[1] + '/net.tflite', thresholds={'difference': 0})\n"
            "    except RuntimeError:\n        pass")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"begun\n"
        for _ in range(40):         # TensorFlow's converter may turn one into an error of its own
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            if process.poll() is not None:
                break
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in (0, -signal.SIGKILL)
    assert content(tmp_path) == {"net.tflite": b"earlier"} and len(list(tmp_path.iterdir())) == 1


def test_a_folder_has_a_name(tmp_path, monkeypatch):
    """The folder that one is in cannot be replaced."""
    monkeypatch.chdir(tmp_path)
    for path in ("", "."):
        with pytest.raises(ValueError, match="expected the name of a file or of a new folder"):
            reskeras.export(tiny("cifar_resnet20"), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file, others", [("model", "model.json"), ("model", "model.npz"),
                                          ("net.xml", "net.bin")])
def test_somebody_elses_files_stay(tmp_path, file, others):
    """Keras 2 kept the architecture in model.json; a .bin may be anything."""
    if file.endswith(".xml"):
        pytest.importorskip("openvino")
    (tmp_path / others).write_text("mine")
    with pytest.raises(ValueError, match=f"{others} is not of an earlier export"):
        reskeras.export(tiny("cifar_resnet20"), tmp_path / file)
    assert content(tmp_path) == {others: b"mine"}


def test_an_earlier_export_under_another_name_is_replaced(tmp_path):
    net = tiny("cifar_resnet20")
    reskeras.export(net, tmp_path / "old.keras")
    for suffix in ("", ".json", ".npz"):
        (tmp_path / f"old.keras{suffix}").rename(tmp_path / f"new.keras{suffix}")
    assert reskeras.export(net, tmp_path / "new.keras").file == "new.keras"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot be written"):
        reskeras.export(tiny("cifar_resnet20"), tmp_path / "net.tflite")
