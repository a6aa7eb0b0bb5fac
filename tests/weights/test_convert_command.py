"""`reskeras weights convert`: every kind of source, and errors of one line."""
import json

import pytest
from safetensors.numpy import load_file
from tiny import tiny, trained

import reskeras
from reskeras import cli

SIZES = {"width": 1, "widths": (8, 8, 16, 16), "stem_width": 64}


@pytest.fixture(scope="module")
def model():
    return trained(tiny("resnet18", **SIZES))


def test_a_keras_file(model, tmp_path, capsys):
    reskeras.save(model, tmp_path / "net.keras")
    there = tmp_path / "new" / "model.safetensors"
    assert cli.main(["weights", "convert", str(tmp_path / "net.keras"), str(there)]) == 0
    assert capsys.readouterr().out.split() == [str(there), str(there.with_name("config.json"))]
    assert json.loads(there.with_name("config.json").read_text())["architecture"] == "resnet18"
    again = tiny("resnet18", **SIZES, weights=there)
    assert all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_a_file_of_weights_and_a_net(tmp_path, capsys):
    net = reskeras.create("resnet18", weights=None, input_shape=(32, 32, 3))
    net.save_weights(tmp_path / "net.weights.h5")
    there = str(tmp_path / "net.safetensors")
    assert cli.main(["weights", "convert", str(tmp_path / "net.weights.h5"), there, "--net", "timm/resnet18",
                     "--naming", "torchvision"]) == 0
    assert capsys.readouterr().out.split() == [there]
    assert load_file(there)["fc.weight"].shape == (1000, 512)


def test_a_checkpoint(server, tmp_path, capsys):
    from checkpoints import randomized, safetensors
    net = randomized(reskeras.ResNet10T(weights=None))
    server.files["/timm/resnet10t.c3_in1k/model.safetensors"] = safetensors(net)
    assert cli.main(["weights", "convert", "timm/resnet10t.c3_in1k", str(tmp_path / "m.safetensors")]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architecture"] == "resnet10t" and config["pretrained_cfg"]["crop_pct"] == 0.875
    assert config["label_names"][0] == "n01440764"


@pytest.mark.parametrize("arguments, message", [
    (["net.pth", "net.safetensors"], "--net: expected the name of the net that net.pth has"),
    (["net.pth", "net.pth", "--net", "resnet18"], "net.pth: expected a path that ends in .safetensors"),
    (["net.keras", "net.safetensors"], "net.keras: no such file"),
    (["resnet18.a1_in1k", "net.safetensors", "--net", "resnet34"], "is a checkpoint of resnet18"),
    (["hf://user", "net.safetensors"], "a repository such as 'hf://user/name'"),
    (["resnet18.none", "net.safetensors"], "resnet18.none: expected"),
    (["keras/ResNet50.keras_in1k", "net.safetensors"], "--naming timm: expected a package that has"),
    (["resnet50d.ra2_in1k", "net.safetensors", "--naming", "torchvision"], "naming='timm' has it"),
    (["resnet50d.ra2_in1k", "net.safetensors", "--naming", "timn"], "did you mean 'timm'"),
])
def test_errors(arguments, message, tmp_path, monkeypatch, capsys, server):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["weights", "convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.glob("*.safetensors*"))
    assert not server.log       # nothing was downloaded
