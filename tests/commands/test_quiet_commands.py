"""TensorFlow's log is kept off the terminal by every command; stderr has our own lines alone."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from test_messages import list_options

import reskeras
from reskeras.commands.html import encode_png
from reskeras.commands.published_costs import PUBLISHED_NETS

# In one process each, as each imports TensorFlow first in its own way; {d} is the folder
FIRST = [["predict", "{d}/7.png", "--model", "cifar_resnet20.digits"], ["doctor"]]
LIGHT = [["list", "resnet1?"], ["show", "resnet18"], ["compare", "resnet18"], ["recipes", "list"],
         ["recipes", "show", "CIFAR_HE"], ["weights", "list", "resnet18*"],
         ["weights", "show", "resnet18.a1_in1k"],
         ["weights", "verify", "cifar_resnet20.digits"], ["weights", "fetch", "cifar_resnet20.digits"],
         ["cost", "cifar_resnet20"], ["page", "cifar_resnet20", "--output", "{d}/n.html"],
         ["recipes", "compare"], ["tour", "--output", "{d}/t.html"]]
TRAINING = ["cifar_resnet20", "--recipe", "cifar_he", "--data", "npz:{d}/data.npz", "--augmentation",
            "resize(8)", "--size", "8", "--test-size", "8", "--batch-size", "4", "--model-overrides",
            "depths=(1,)", "--model-overrides", "widths=(16,)", "--model-overrides", "strides=(1,)"]
WITH_TENSORFLOW = [
    ["train", *TRAINING, "--steps", "2", "--output", "{d}/run", "--verbose", "2"],
    ["find-learning-rate", *TRAINING, "--updates", "10", "--output", "{d}/curve.csv"],
    ["cross-validate", *TRAINING, "--folds", "2", "--steps", "1", "--output", "{d}/folds"],
    ["sweep", "{d}/table.toml", "--output", "{d}/sweep"],
    ["export", "{d}/run/last.keras", "{d}/n.tflite", "--no-strict"],
    ["export", "{d}/run/last.keras", "{d}/saved", "--no-strict"], ["verify", "{d}/n.tflite"],
    ["benchmark", "{d}/n.tflite"], ["predict", "{d}/7.png", "--model", "{d}/n.tflite"],
    ["evaluate", "{d}/run/last.keras", "--data", "npz:{d}/data.npz"],
    ["explain", "{d}/7.png", "--model", "cifar_resnet20.digits", "--output", "{d}/e.html"],
    ["pack", "--data", "npz:{d}/data.npz", "--output", "{d}/packed"],
    ["optimize", "{d}/run/last.keras", "--output", "{d}/fast.keras"],
    ["weights", "convert", "{d}/net.keras", "{d}/timm/model.safetensors", "--naming", "timm"]]
TABLE = """
nets = ["cifar_resnet20"]
recipes = ["cifar_he"]
seeds = [0]
data = "npz:{d}/data.npz"
validation_data = "npz:{d}/data.npz"
[overrides.short]
steps = 1
batch_size = 4
augmentation = "resize(8)"
size = 8
test_size = 8
model.depths = [1]
model.widths = [16]
model.strides = [1]
"""
RUN = """
import json, os, sys
from reskeras.cli import main
for words in json.loads(sys.argv[1]):
    sys.stderr.flush()
    os.write(2, ("== " + " ".join(words) + chr(10)).encode())
    code = main(words)
    print("==", code, " ".join(words), flush=True)
"""


def list_noise(commands, folder):
    """Command -> the lines that it wrote to stderr."""
    commands = [[word.format(d=folder) for word in words] for words in commands]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", RUN, json.dumps(commands)], capture_output=True, text=True,
                          env={**environment, "PYTHONWARNINGS": "default::UserWarning:reskeras"})
    codes = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("== ")]
    assert [code for _, code, _ in codes] == ["0"] * len(commands), done.stderr[-3000:]
    lines = {}
    for line in done.stderr.splitlines():
        if line.startswith("== "):
            current = lines.setdefault(line[3:], [])
        else:
            current.append(line)
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet")
    pixels, labels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), "uint8"), np.arange(8) % 2
    np.savez(folder / "data.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    (folder / "table.toml").write_text(TABLE.format(d=folder))
    net = reskeras.create("resnet18", weights=None, classes=2, depths=(1, 1, 1, 1), input_shape=(32, 32, 3))
    reskeras.save(net, folder / "net.keras")
    (folder / "7.png").write_bytes(encode_png(np.zeros((32, 32), "uint8")))
    return folder


def check(commands, folder):
    noise = {command: [line for line in lines if not line.startswith(("reskeras", "cifar_resnet20"))]
             for command, lines in list_noise(commands, folder).items()}
    assert len(noise) == len(commands) and not any(noise.values()), noise


@pytest.mark.parametrize("commands", [FIRST, LIGHT], ids=["first", "light"])
def test_commands_without_training(commands, folder):
    check(commands, folder)


def test_commands_that_run_tensorflow(folder):
    check(WITH_TENSORFLOW, folder)


@pytest.mark.slow
def test_the_demo(folder):
    check([["demo", "--output", "{d}/demo"]], folder)


def test_every_command_is_here():
    words = [" ".join(command[:2]) for command in FIRST + LIGHT + WITH_TENSORFLOW] + ["demo --output"]
    # run until they are ended: tests/train/test_data_service.py
    words += ["data-service dispatcher", "data-service worker"]
    leaves = [name for name in list_options() if name and not any(
        other.startswith(f"{name} ") for other in list_options())]
    missing = [name for name in leaves if not any(f"{line} ".startswith(f"{name} ") for line in words)]
    assert not missing


@pytest.mark.parametrize("net", PUBLISHED_NETS, ids=lambda net: net.name)
def test_a_net_of_others_is_added_by_the_switch_alone(net, capsys):
    from reskeras import cli
    printed = {}
    for options in ((), ("--literature",)):
        for form in ("--csv", "--markdown"):
            assert cli.main(["compare", "resnet50v1_5", form, *options]) == 0
            printed[options, form] = [line.replace("|", ",").split(",") for line
                                      in capsys.readouterr().out.splitlines()]
    for (options, _), rows in printed.items():
        names = [cell.strip() for row in rows for cell in row]
        assert names.count(net.name) == (1 if options else 0)
        assert "ResNet50V1_5" in names


def test_the_page_of_a_comparison_has_them_by_the_switch_alone(tmp_path):
    """In the table and in the chart."""
    pytest.importorskip("matplotlib")
    for literature in (False, True):
        page = reskeras.compare(["resnet18"], literature=literature,
                                output=tmp_path / "c.html").file.read_text()
        assert [net.name in page for net in PUBLISHED_NETS] == [literature] * len(PUBLISHED_NETS)
