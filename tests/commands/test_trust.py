"""A SavedModel is a program, so nothing runs one that the user has not said to trust; `verify --sha256`."""
import inspect
import json
import pathlib
import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.exporters.formats import FORMATS, open_file
from reskeras.exporters.measurements import compute_size_and_hash

NET = "cifar_resnet20.digits"
TFLITE = pathlib.Path(__file__).parents[2] / "saved_models" / f"{NET}.int8.tflite"
GIVEN = ["--preprocessing", NET, "--labels", "digits"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A SavedModel that writes a file when it is run, with a forged report that says that it passed."""
    folder = tmp_path_factory.mktemp("hostile")

    class Program(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 1), tf.float32, name="images")])
        def serve(self, images):
            tf.io.write_file(str(folder / "written"), "by the SavedModel")
            return {"scores": tf.zeros((tf.shape(images)[0], 10))}
    program = Program()
    tf.saved_model.save(program, str(folder / "net"), signatures={"serving_default": program.serve})

    report = json.loads(TFLITE.with_name(f"{TFLITE.name}.json").read_text())
    report["bytes"], report["sha256"] = compute_size_and_hash(folder / "net")
    for key in ("runtimes", "thresholds"):
        report[key] = {"TensorFlow": report[key]["LiteRT"]}
    report["measure"] = "log-probabilities"
    (folder / "net.json").write_text(json.dumps(report))
    with np.load(TFLITE.with_name(f"{TFLITE.name}.npz")) as arrays:
        np.savez(folder / "net.npz", **{name: arrays[name] for name in arrays if "logits" not in name})
    Image.fromarray(np.zeros((16, 16), "uint8")).save(folder / "zero.png")
    return folder


@pytest.mark.parametrize("words", [
    ["predict", "zero.png", "--model", "net"],
    ["evaluate", "net", "--data", "digits"],
    ["benchmark", "net"],
    ["benchmark", str(TFLITE), "net"],
    ["verify", "net"]])
def test_every_command_asks(hostile, monkeypatch, capsys, words):
    monkeypatch.chdir(hostile)
    assert cli.main(words) == 2
    line, = capsys.readouterr().err.splitlines()
    assert re.search("--trust: expected consent to run net, a SavedModel: it is a program", line)
    assert not (hostile / "written").exists()


@pytest.mark.parametrize("words, code", [
    (["predict", "zero.png", "--model", "net", *GIVEN], 0), (["verify", "net"], 1)])
def test_what_is_trusted_runs(hostile, monkeypatch, words, code):
    monkeypatch.chdir(hostile)
    assert cli.main([*words, "--trust"]) == code
    (hostile / "written").unlink()      # it was indeed a program


def test_a_tflite_file_may_not_have_operations_of_tensorflow(hostile, monkeypatch, capsys):
    """LiteRT does not run them, the interpreter in some versions of TensorFlow does."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(hostile / "net"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (hostile / "flex.tflite").write_bytes(converter.convert())
    for module in ("litert", "tensorflow"):
        if module == "tensorflow":
            monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        assert cli.main(["predict", str(hostile / "zero.png"), "--model", str(hostile / "flex.tflite"),
                         "--trust", *GIVEN]) == 2
        assert "CUSTOM FlexWriteFile: operations of TensorFlow" in capsys.readouterr().err
    assert not (hostile / "written").exists()


def test_only_true_is_trust(hostile):
    with pytest.raises(ValueError, match="trust='yes': expected consent"):
        reskeras.predict(str(hostile / "net"), hostile / "zero.png", trust="yes", preprocessing=NET)


def test_a_pinned_program_that_was_changed_does_not_run(hostile, monkeypatch, capsys):
    monkeypatch.chdir(hostile)
    assert cli.main(["verify", "net", "--trust", "--sha256", "ab" * 32]) == 1
    assert "not abab" in capsys.readouterr().out and not (hostile / "written").exists()


def test_only_programs_need_trust():
    assert [f.name for f in FORMATS.values() if f.is_program] == ["SavedModel"]
    for command in (reskeras.predict, reskeras.evaluate, reskeras.benchmark, reskeras.verify, open_file):
        assert inspect.signature(command).parameters["trust"].default is False


def test_a_hash_pins_a_file(capsys):
    right = json.loads(TFLITE.with_name(f"{TFLITE.name}.json").read_text())["sha256"]
    assert cli.main(["verify", str(TFLITE), "--sha256", right.upper()]) == 0
    wrong = "ab" * 32
    result = reskeras.verify(TFLITE, sha256=wrong)
    assert not result.passed and not result.runtimes
    assert result.faults == (f"its sha256 is {right}, not {wrong}",)
    assert cli.main(["verify", str(TFLITE), "--sha256", wrong]) == 1
    capsys.readouterr()
    assert cli.main(["verify", str(TFLITE), "--sha256", right[:8]]) == 2
    assert f"--sha256 {right[:8]}: expected 64 hexadecimal digits" in capsys.readouterr().err
    assert cli.main(["verify", str(TFLITE), str(TFLITE), "--sha256", right]) == 2
    assert "expected one file that must have it, not 2" in capsys.readouterr().err
