"""`doctor`: what it says of this machine, of a machine without Keras, and of each extra."""
import configparser
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import reskeras
from reskeras.cli import main
from reskeras.commands import doctor

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "keras":
            raise ModuleNotFoundError("No module named 'keras'", name="keras")
sys.meta_path.insert(0, Blocked())
from reskeras.cli import main
sys.exit(main(["doctor"]))
"""


def test_every_extra_is_explained():
    config = configparser.ConfigParser()
    config.read(pathlib.Path(__file__).parents[2] / "setup.cfg")
    assert set(config["options.extras_require"]) == set(doctor.EXTRAS)


def test_this_machine(capsys):
    import keras
    import numpy

    report = reskeras.doctor()
    assert report["packages"]["numpy"] == numpy.__version__
    assert report["packages"]["keras"] == keras.__version__
    assert report["backend"] == keras.backend.backend() and "cpu:0" in report["devices"]
    assert report["problem"] is None
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_missing_packages(monkeypatch, capsys):
    """Each package that pip would bring is asked for by its name; one is missing here."""
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [
        "numpy", "onnx; extra == 'onnx'", 'tf2onnx>=1; extra == "onnx"', "pytest; extra == 'unknown'"])
    find_version = doctor._find_version
    monkeypatch.setattr(doctor, "_find_version",
                        lambda name: None if name == "tf2onnx" else find_version(name))
    assert reskeras.doctor()["extras"]["onnx"] == ["tf2onnx"]
    assert main(["doctor"]) == 0
    assert re.search(r'onnx +needs tf2onnx: pip install "reskeras\[onnx\]"\n +for: write and run \.onnx',
                     capsys.readouterr().out)


def test_a_machine_without_keras():
    run = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "Keras cannot be imported: ModuleNotFoundError" in run.stdout
