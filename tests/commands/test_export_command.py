"""From the shell: export, verify, benchmark; the index of the folder; the edge example; C arrays."""
import csv
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny

import reskeras
from reskeras.cli import main
from reskeras.exporters import c_array
from reskeras.exporters.c_array import measure_arena_size, write_c_array
from reskeras.exporters.folder_index import read_index, update_index
from reskeras.commands.benchmark import benchmark

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = "cifar_resnet20.digits"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Forty images of digits' size."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(40):
        pixels = np.kron(random.integers(0, 256, (4, 4, 1), "uint8"), np.ones((4, 4, 1), "uint8"))
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


@pytest.fixture(scope="module")
def saved_models(pictures, tmp_path_factory):
    """A folder in which two exports were made from the shell, to the default place."""
    place = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["reskeras", "export", DIGITS])
        assert main(["export", DIGITS]) == 0
        assert main(["export", DIGITS, "--quantize", "int8", "--calibration-data", str(pictures), "--threads",
                     "2"]) == 0
    return place / "saved_models"


def test_export_to_the_folder_keeps_its_index(saved_models):
    lines = {line["file"]: line
             for line in csv.DictReader((saved_models / "INDEX.tsv").open(), delimiter="\t")}
    assert set(lines) == {f"{DIGITS}.tflite", f"{DIGITS}.int8.tflite"}
    for file, line in lines.items():
        held = json.loads((saved_models / f"{file}.json").read_text())
        assert line["sha256"] == held["sha256"] and int(line["bytes"]) == (saved_models / file).stat().st_size
        assert line["variant"] == "cifar_resnet20" and line["command"] == f"reskeras export {DIGITS}"
    assert held["threads"] in (1, 2)


def test_index_lines_are_replaced_and_dropped(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).touch()
        update_index(tmp_path, {"file": name, "bytes": 1})
    (tmp_path / "a").unlink()
    update_index(tmp_path, {"file": "b", "bytes": 2})
    assert [(line["file"], line["bytes"]) for line in read_index(tmp_path)] == [("b", "2")]
    assert {f.name for f in tmp_path.iterdir()} == {"b", "INDEX.tsv"}


def test_index_of_several_writers(tmp_path):
    """None loses another's line."""
    names = [f"{i}.tflite" for i in range(12)]
    for name in names:
        (tmp_path / name).touch()
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: update_index(tmp_path, {"file": name}), names))
    assert sorted(line["file"] for line in read_index(tmp_path)) == sorted(names)
    assert {f.name for f in tmp_path.iterdir() if "INDEX" in f.name} <= {"INDEX.tsv", ".INDEX.tsv.lock"}


@pytest.mark.parametrize("text", ["no table\n", "variant\tfile\nA\n", "variant\tfile\nA\ta.tflite\tmore\n"])
def test_a_broken_index_is_named_and_kept(tmp_path, text):
    (tmp_path / "a.tflite").touch()
    (tmp_path / "INDEX.tsv").write_text(text)
    with pytest.raises(ValueError, match="INDEX.tsv, line [12]: expected the columns variant, file, sha256"):
        update_index(tmp_path, {"file": "a.tflite"})
    assert (tmp_path / "INDEX.tsv").read_text() == text


def test_a_broken_index_is_an_error_before_the_net_is_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "INDEX.tsv").write_text("no table\n")
    assert main(["export", DIGITS]) == 2
    assert "INDEX.tsv, line 1: expected the columns" in capsys.readouterr().err
    assert [f.name for f in (tmp_path / "saved_models").iterdir()] == ["INDEX.tsv"]


def test_debug_quantization_prints_layers(pictures, tmp_path, capsys):
    assert main(["export", DIGITS, str(tmp_path / "net.tflite"), "--quantize", "int8", "--calibration-data",
                 str(pictures),
                 "--debug-quantization", "--float-layers", "predictions"]) == 0
    out = capsys.readouterr().out
    assert "error / range" in out and "conv4_block3_2_conv" in out and "passed" in out
    assert "XNNPACK would leave" in out


def test_debug_quantization_of_too_few_images(pictures, tmp_path, capsys):
    """Said before the table, which takes its time."""
    few = tmp_path / "few"
    few.mkdir()
    for i in range(3):
        (few / f"{i}.png").write_bytes((pictures / f"{i}.png").read_bytes())
    assert main(["export", DIGITS, str(tmp_path / "net.tflite"), "--quantize", "int8", "--calibration-data",
                 str(few),
                 "--debug-quantization"]) == 2
    out, err = capsys.readouterr()
    assert not out and "3 images to calibrate on: at least 32" in err


@pytest.mark.parametrize("arguments, message", [
    ((DIGITS, "net.tfl"), "did you mean '.tflite'"), (("cifar_resnet20.digit", "net.tflite"), "digits"),
    (("no.keras", "net.tflite"), "no such file"),
    ((DIGITS, "net.tflite", "--quantize", "int8"), "--calibration-data: expected"),
    ((DIGITS, "net.tflite", "--quantize", "int8", "--calibration-data", "nowhere"), "no such folder"),
    ((DIGITS, "net", "--c-array"), "defined for .tflite")])
def test_bad_export_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_verify_and_benchmark_from_the_shell(saved_models, capsys):
    files = [str(saved_models / f"{DIGITS}.tflite"), str(saved_models / f"{DIGITS}.int8.tflite")]
    assert main(["verify", *files]) == 0
    assert capsys.readouterr().out.count("passed") == 2
    assert main(["benchmark", *files, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["ratio"] == 1 and first["agreement"] == 1 and second["bytes"] < 0.3 * first["bytes"]
    assert second["median_ms"] <= second["p90_ms"] and second["images_per_second"] > 0


def test_benchmark_of_every_format(tmp_path):
    net = tiny("cifar_resnet20")
    files = ["net.keras", "net", "net.tflite"]
    files += ["net.onnx"] * (importlib.util.find_spec("tf2onnx") is not None)
    files += ["net.xml"] * (importlib.util.find_spec("openvino") is not None)
    for file in files:
        reskeras.export(net, tmp_path / file)
    lines = benchmark([tmp_path / file for file in files], trust=True)
    assert [pathlib.Path(line.file).name for line in lines] == files + ["net.xml"] * ("net.xml" in files)
    assert all(line.agreement == 1 for line in lines if line.runtime != "OpenVINO bf16")
    reskeras.export(tiny("cifar_resnet20", input_shape=(16, 16, 3)), tmp_path / "other.tflite")
    with pytest.raises(ValueError, match="different shapes"):
        benchmark([tmp_path / "net.tflite", tmp_path / "other.tflite"])
    with pytest.raises(ValueError, match="no files"):
        benchmark([])


def test_edge_example_needs_litert_alone(saved_models, tmp_path):
    pytest.importorskip("ai_edge_litert")
    sklearn = pytest.importorskip("sklearn.datasets")
    data = sklearn.load_digits()
    right = 0
    for i in range(3):
        pixels = np.clip(data.images[i] * 16, 0, 255).astype("uint8")
        (tmp_path / "digit.pgm").write_bytes(b"P5\n8 8\n255\n" + pixels.tobytes())
        out = subprocess.run([sys.executable, str(ROOT / "examples" / "export_edge.py"),
                              str(saved_models / f"{DIGITS}.tflite"),
                              str(tmp_path / "digit.pgm")], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        right += re.match(r"\s*[\d.]+%\s+(\d)", out.stdout)[1] == str(data.target[i])
    assert right == 3
    for files in ((saved_models / f"{DIGITS}.tflite", tmp_path / "no.pgm"), (tmp_path / "digit.pgm",) * 2):
        out = subprocess.run([sys.executable, str(ROOT / "examples" / "export_edge.py"), *map(str, files)],
                             capture_output=True, text=True)
        assert out.returncode == 1 and len(out.stderr.splitlines()) == 1 and "Traceback" not in out.stderr
    code = open(ROOT / "examples" / "export_edge.py").read()
    assert not re.search(r"^\s*(import|from) (tensorflow|keras|reskeras)", code, flags=re.M)


def test_the_c_array_has_a_name_of_c(saved_models, tmp_path, monkeypatch):
    monkeypatch.setattr(c_array, "measure_arena_size", lambda file: 16)
    for name in ("9 é²-net.tflite", "int.tflite", "a\nint evil = 1;\rb.tflite"):
        (tmp_path / name).write_bytes((saved_models / f"{DIGITS}.tflite").read_bytes())
        write_c_array(tmp_path / name, tmp_path / "net.cc")
        code = [line for line in (tmp_path / "net.cc").read_text().splitlines() if not line.startswith("//")]
        names = re.findall(r"(?:int|char) (.*?)(?:\[\])? =", "\n".join(code))
        assert len(names) == 3 and all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) for name in names), names


def test_c_array_is_the_file(saved_models, tmp_path):
    pytest.importorskip("tflite_micro")
    file = saved_models / f"{DIGITS}.int8.tflite"
    arena = write_c_array(file, tmp_path / "net.cc")
    text = (tmp_path / "net.cc").read_text()
    numbers = bytes(int(n, 16) for n in re.findall(r"0x[0-9a-f]+", text))
    assert numbers == file.read_bytes() and f"arena_size = {arena};" in text and "alignas(16)" in text
    assert arena % 16 == 0 and 16 * 16 * 16 < arena < 10 * file.stat().st_size
    assert arena == measure_arena_size(file)
