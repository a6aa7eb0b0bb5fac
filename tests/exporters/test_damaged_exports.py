"""Exports that do not belong together, are damaged, or were made to harm: one line, never a traceback."""
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import reskeras
from reskeras.cli import main
from reskeras.exporters.exported_metadata import read_exported_metadata
from reskeras.exporters.formats import open_file
from reskeras.exporters.measurements import compute_size_and_hash
from reskeras.exporters.report import ExportReport
from reskeras.exporters.thresholds import Threshold
from reskeras.exporters.verify import verify_file
from reskeras.files import atomic_write

SUFFIXES = ("", ".json", ".npz")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Two exports of nets that differ, "a" and "b"."""
    place = tmp_path_factory.mktemp("exports")
    for name, bias in (("a", 0.0), ("b", 1.0)):
        net = reskeras.create("cifar_resnet20.digits")
        weights = net.get_weights()
        weights[-1] = weights[-1] + bias * np.arange(10)
        net.set_weights(weights)
        report = reskeras.export(net, place / name / "net.tflite")

        # what stands for a SavedModel: TensorFlow would take long to write one, and it is never run here
        folder = place / name / "net"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(name)
        (folder / "variables" / "variables.index").write_text("same")
        size, digest = compute_size_and_hash(folder)
        replace(report, bytes=size, sha256=digest).write(place / name / "net.json")
        shutil.copy(place / name / "net.tflite.npz", place / name / "net.npz")
    return place


def copy(source, goal, file, suffixes=SUFFIXES):
    for suffix in suffixes:
        path = source / f"{file}{suffix}"
        if path.is_dir():
            shutil.copytree(path, goal / path.name)
        else:
            shutil.copy(path, goal / path.name)


def run_command(capsys, *arguments):
    """The exit code, and the lines on stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out.strip(), err.strip().splitlines()


# What belongs together


@pytest.mark.parametrize("file", ["net.tflite", "net"])
@pytest.mark.parametrize("others", [(".json",), (".npz",), (".json", ".npz")])
def test_files_of_two_exports_are_refused(exports, tmp_path, capsys, file, others):
    """A writer that was killed may leave them so."""
    copy(exports / "a", tmp_path, file, [suffix for suffix in SUFFIXES if suffix not in others])
    copy(exports / "b", tmp_path, file, others)
    found = verify_file(tmp_path / file)
    assert not found.passed
    assert "sha256 is different; if an export was killed, export again" in found.faults[0]
    code, out, _ = run_command(capsys, "verify", tmp_path / file)
    assert code == 1 and "FAILED" in out


def test_a_report_without_the_hash_of_its_images_is_read(exports, tmp_path):
    """Older versions wrote none."""
    copy(exports / "a", tmp_path, "net.tflite")
    path = tmp_path / "net.tflite.json"
    held = json.loads(path.read_text())
    assert len(held.pop("reference_sha256")) == 64
    path.write_text(json.dumps(held))
    assert ExportReport.read(path).reference_sha256 is None and verify_file(tmp_path / "net.tflite").passed


def test_labels_of_another_file_are_not_taken(exports, tmp_path):
    """`predict` reads those of a SavedModel from the report, those of a .tflite from inside."""
    copy(exports / "a", tmp_path, "net", [""])
    copy(exports / "b", tmp_path, "net", [".json"])
    with pytest.raises(ValueError, match="net.json is not the report of net: its sha256 is different"):
        read_exported_metadata(tmp_path / "net")
    copy(exports / "b", tmp_path, "net.tflite", [".json"])
    copy(exports / "a", tmp_path, "net.tflite", [""])
    assert read_exported_metadata(tmp_path / "net.tflite").labels
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(ValueError, match="net.json is not JSON"):
        read_exported_metadata(tmp_path / "net")
    (tmp_path / "net.json").write_text('{"class_name": "Functional"}')     # of Keras 2
    assert not read_exported_metadata(tmp_path / "net").labels


WRITER = """
import pathlib, random, shutil, sys, time
from reskeras.files import atomic_write
exports, place, k = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
for i in range(k, k + 12):
    with atomic_write(place / "net.tflite") as new:
        for suffix in ("", ".json", ".npz"):
            shutil.copyfile(exports / "ab"[i % 2] / ("net.tflite" + suffix), new.with_name(new.name + suffix))
    time.sleep(random.uniform(0, 0.4))
"""


def test_four_writers_and_verify(exports, tmp_path):
    """It finds three files each time, and accepts only those that belong together."""
    with atomic_write(tmp_path / "net.tflite") as new:
        copy(exports / "a", new.parent, "net.tflite")
    arguments = [sys.executable, "-c", WRITER, str(exports), str(tmp_path)]
    writers = [subprocess.Popen([*arguments, str(i)], stderr=subprocess.PIPE) for i in range(4)]
    passed = 0
    while any(writer.poll() is None for writer in writers):
        found = verify_file(tmp_path / "net.tflite")    # an error if a file is missing
        passed += found.passed
        assert found.passed or "again and again" in found.faults[0], found.faults
        # outputs of one net beside those of the other differ by far more
        assert not found.passed or found.difference_from_export < 1e-3
    assert [writer.communicate()[1] for writer in writers] == [b""] * 4
    assert passed and verify_file(tmp_path / "net.tflite").passed
    assert sorted(os.listdir(tmp_path)) == ["net.tflite", "net.tflite.json", "net.tflite.npz"]


# What is damaged


@pytest.mark.parametrize("change, message", [
    ({"runtimes": {"LiteRT": 1}}, "'runtimes.LiteRT' is 1: expected a dictionary"),
    ({"sha256": 5}, "'sha256' is 5: expected a text"), ({"bytes": "12"}, "'bytes' is '12'"),
    ({"thresholds": {"LiteRT": {"difference": [1]}}}, "'thresholds.LiteRT.difference' is"),
    ({"operators": ["CONV_2D"]}, "'operators' is"), ({"runtimes": None}, "'runtimes' is None"),
    ({"passed": "yes"}, "'passed' is 'yes': expected true or false"), ([], "expected a dictionary"),
    ({"metadata": 3, "memory": "x"}, "'memory' is 'x'")])
def test_types_of_a_report_are_checked(exports, tmp_path, capsys, change, message):
    copy(exports / "a", tmp_path, "net.tflite")
    path = tmp_path / "net.tflite.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change if change else change))
    code, out, err = run_command(capsys, "verify", tmp_path / "net.tflite")
    assert code == 2 and not out and len(err) == 1
    assert "net.tflite.json is not the report of an export" in err[0] and message in err[0]


def test_an_unknown_runtime_in_a_report(exports, tmp_path, capsys):
    copy(exports / "a", tmp_path, "net.tflite")
    path = tmp_path / "net.tflite.json"
    path.write_text(path.read_text().replace('"LiteRT"', '"LiteRT\\u001b[2J"'))
    code, _, err = run_command(capsys, "verify", tmp_path / "net.tflite")
    assert code == 2 and len(err) == 1 and "no runtime of TFLite files" in err[0] and "\x1b" not in err[0]


def test_compressed_images_do_not_fill_the_memory(exports, tmp_path, capsys):
    """100 GB of zeros would be compressed to some MB; here a header states them."""
    copy(exports / "a", tmp_path, "net.tflite")
    path = tmp_path / "net.tflite.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False,
                                                  "shape": (4, 10 ** 5, 10 ** 5, 1)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(10 ** 6))
    code, _, err = run_command(capsys, "verify", tmp_path / "net.tflite")
    assert code == 2 and len(err) == 1 and "net.tflite.npz" in err[0]
    np.savez_compressed(path, images=np.zeros((5, 2 ** 13, 2 ** 13, 1), "uint8"))
    code, _, err = run_command(capsys, "verify", tmp_path / "net.tflite")
    assert code == 2 and len(err) == 1 and "at most 268,435,456 are expected" in err[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["net.tflite", "net.tflite.json", "net.tflite.npz"])
def test_a_pipe_is_not_opened(exports, tmp_path, capsys, name):
    copy(exports / "a", tmp_path, "net.tflite")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    code, out, err = run_command(capsys, "verify", tmp_path / "net.tflite")
    assert code in (1, 2) and name in (out + "".join(err))
    if name == "net.tflite":
        with pytest.raises(ValueError, match="is not a regular file"):
            open_file(tmp_path / name)


def test_an_input_that_fills_the_memory(exports, tmp_path):
    """A file of some kB may ask for images of gigabytes."""
    from reskeras.exporters.tflite import flatbuffer
    model = flatbuffer.unpack((exports / "a" / "net.tflite").read_bytes())
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = np.array([1, 2 ** 14, 2 ** 14, 1], "int32")
    (tmp_path / "net.tflite").write_bytes(flatbuffer.pack(model))
    with pytest.raises(ValueError, match="net.tflite cannot be read .* its input has the shape"):
        open_file(tmp_path / "net.tflite")


# Mutates one of the files of an export, and verifies and opens it; prints what is no single line.
FUZZ = """
import contextlib, io, json, pathlib, random, resource, sys
import numpy as np
from reskeras.cli import main
from reskeras.exporters import verify
from reskeras.exporters.measurements import compute_size_and_hash
from reskeras.exporters.formats import find_format

good, place, name, count = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
verify._PAUSE = 0
files = [file.name for file in find_format(name).files(pathlib.Path(name))] + [name + ".json", name + ".npz"]
whole = {file: (good / file).read_bytes() for file in files}
report = json.loads(whole[name + ".json"])
del report["reference_sha256"]

def mutate(data, draw):
    data, kind = bytearray(data), draw.randrange(4)
    place = draw.randrange(min(len(data), draw.choice([200, 4000, len(data)])))
    if kind == 0:
        return bytes(data[:draw.randrange(len(data))])
    if kind == 1:
        for _ in range(draw.choice([1, 4, 32])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 2:
        data[place:place + 4] = draw.choice([2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 0]).to_bytes(4, "little")
    else:
        width = draw.randrange(1, 300)
        data[place:place + width] = draw.randbytes(width)
    return bytes(data)

def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(map(str, arguments)))
    lines = err.getvalue().strip().splitlines()
    if code not in (0, 1, 2) or len(lines) > 1 or code == 2 and not lines:
        print("FAULT", arguments, code, lines)
    codes[code] = codes.get(code, 0) + 1

codes, idle = {}, 0
for i in range(-1, count):
    for damaged in files:
        draw = random.Random(f"{i} {damaged}")
        for file in files:
            changed = whole[file] if file != damaged or i < 0 else mutate(whole[file], draw)
            (place / file).write_bytes(changed)
        if not damaged.endswith(".json"):       # as if the report were that of the damaged file
            paths = find_format(name).files(place / name)
            report["bytes"], report["sha256"] = compute_size_and_hash(*paths)
            (place / (name + ".json")).write_text(json.dumps(report))
        run("verify", place / name)
        if damaged in files[:-2]:
            run("predict", "--model", place / name, good / "image.png")
    if i < 0:
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(codes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024, "MB over idle")
"""


def test_mutations_end_in_one_line(exports, tmp_path):
    """A few; tests/fuzz has many, of all formats."""
    from PIL import Image
    Image.fromarray(np.zeros((16, 16), "uint8")).save(exports / "a" / "image.png")
    arguments = [str(exports / "a"), str(tmp_path), "net.tflite", "20"]
    child = subprocess.run([sys.executable, "-c", FUZZ, *arguments],
                           capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stdout + child.stderr
    assert "FAULT" not in child.stdout and "Traceback" not in child.stderr, child.stdout + child.stderr
    memory = int(child.stdout.split()[-4])
    assert memory < 2000, child.stdout


# Exit codes of `export`


def test_a_strict_export_that_fails_is_one_line(tmp_path, monkeypatch, capsys):
    """With 1, as `verify`: the input was right, the file did not pass."""
    from reskeras.exporters import export as exporter
    monkeypatch.setattr(exporter, "choose_threshold", lambda *_, **__: Threshold(difference=0.0))
    monkeypatch.setattr(exporter, "relax_float32_thresholds", lambda report, measure: report)
    code, out, err = run_command(capsys, "export", "cifar_resnet20.digits", tmp_path / "net.tflite")
    assert code == 1 and not out and len(err) == 1
    assert "the outputs differ from Keras" in err[0] and "nothing was written" in err[0]
    assert os.listdir(tmp_path) == []


def test_a_file_that_no_runtime_accepts_is_one_line(exports, tmp_path, monkeypatch, capsys):
    """The name is that of the goal, not of the file in the hidden folder."""
    from reskeras.exporters.tflite import tflite
    data = (exports / "a" / "net.tflite").read_bytes()
    monkeypatch.setattr(tflite, "write", lambda model, path, options: path.write_bytes(data))
    with monkeypatch.context() as patch:
        patch.setattr(tflite, "find_faults", lambda *arguments: ["3 x CUSTOM: not a builtin operator"])
        code, out, err = run_command(capsys, "export", "cifar_resnet20.digits", tmp_path / "net.tflite")
    assert code == 1 and len(err) == 1 and "3 x CUSTOM" in err[0] and os.listdir(tmp_path) == []

    def refuse(*arguments, **keywords):
        raise RuntimeError("no memory for its tensors")
    monkeypatch.setattr(tflite, "load", refuse)
    code, out, err = run_command(capsys, "export", "cifar_resnet20.digits", tmp_path / "net.tflite")
    assert code == 1 and len(err) == 1 and "no memory for its tensors" in err[0]
    assert f"{tmp_path / 'net.tflite'} cannot be read" in err[0] and os.listdir(tmp_path) == []


# What no command sends


def test_openvino_reports_nothing(tmp_path):
    """Its telemetry would tell a server of each import and conversion, from a forked process."""
    pytest.importorskip("openvino")
    code = ("import multiprocessing, sys; from reskeras.exporters import openvino\n"
            "openvino.import_openvino()\n"
            "assert sys.modules['openvino_telemetry'] is None and not multiprocessing.active_children()")
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


def test_onnx_runtime_reports_nothing(tmp_path):
    """It would collect reports in the user's cache."""
    pytest.importorskip("onnxruntime")
    code = ("import pathlib; from reskeras.exporters import onnx\n"
            "try:\n    onnx.load(pathlib.Path('missing.onnx'))\n"
            "except Exception as error:\n    assert 'missing.onnx' in str(error), error")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
                           env=environment)
    assert child.returncode == 0, child.stderr
    assert not [file for file in tmp_path.rglob("*") if "onnxruntime" in file.name]
