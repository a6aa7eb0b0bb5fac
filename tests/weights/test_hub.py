"""`push_to_hub` and `from_pretrained`, through a server like the hub, and through hostile ones."""
import json
import pathlib
import re

import keras
import numpy as np
import pytest
from huggingface_hub import hf_api
from PIL import Image
from tiny import tiny, trained

import reskeras
from reskeras import pretrained
from reskeras.sharing import model_card
from reskeras.weights import hub

SIZES = {"width": 1, "widths": (8, 8, 16, 16), "stem_width": 64}
SAVED_RUN = pathlib.Path(__file__).parents[1] / "saved" / "before_rename" / "run"
NAME = "hf://user/name"


@pytest.fixture
def hub_server(server, monkeypatch):
    monkeypatch.setattr(hf_api.constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(hub.fetch, "BACKOFF", 0.01)
    return server


@pytest.fixture(scope="module")
def model():
    net = trained(tiny("resnet18", classes=3, **SIZES))
    return reskeras.set_metadata(net, reskeras.Preprocessing((64, 64)), ["cat", "dog", "eel"])


def push(hub_server, model, **arguments):
    url = reskeras.push_to_hub(model, "user/name", **arguments)
    assert url.startswith(f"{hub_server.url}/user/name/commit/")
    return {path.rpartition("/")[2]: data for path, data in hub_server.files.items()}


def test_a_model_comes_back(hub_server, model):
    files = push(hub_server, model)
    assert sorted(files) == ["README.md", "config.json", "model.keras", "model.safetensors"]
    again = reskeras.from_pretrained(NAME)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert reskeras.get_metadata(again) == reskeras.get_metadata(model)
    assert reskeras.from_pretrained(f"{NAME}@main").count_params() == model.count_params()
    assert reskeras.cost(NAME).params == reskeras.cost(model).params      # as every `model` argument


def test_config_says_the_net(hub_server, model):
    config = json.loads(push(hub_server, model)["config.json"])
    ours = config["reskeras"]
    assert ours["variant"] == "resnet18" and ours["version"] == reskeras.__version__
    assert ours["overrides"] == {"depths": [2, 1, 1, 1], "widths": [8, 8, 16, 16]}
    assert ours["metadata"]["labels"] == config["label_names"] == ["cat", "dog", "eel"]
    rebuilt = reskeras.create(ours["variant"], weights=None, classes=3, **ours["overrides"])
    assert rebuilt.count_params() == model.count_params()
    assert config["architecture"] == "resnet18" and config["num_classes"] == 3      # timm's


def test_weights_load_by_file(hub_server, model, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(push(hub_server, model)["model.safetensors"])
    again = tiny("resnet18", classes=3, **SIZES, weights=tmp_path / "w.safetensors")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_a_net_that_timm_does_not_have(hub_server, tmp_path):
    net = trained(tiny("resnet50"))
    files = push(hub_server, net)
    config = json.loads(files["config.json"])
    assert list(config) == ["reskeras"] and config["reskeras"]["variant"] == "resnet50"
    (tmp_path / "w.safetensors").write_bytes(files["model.safetensors"])
    again = tiny("resnet50", weights=tmp_path / "w.safetensors")
    for a, b in zip(net.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_functional_model(hub_server):
    own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    files = push(hub_server, own, license="mit")
    assert json.loads(files["config.json"])["reskeras"]["variant"] is None
    assert reskeras.from_pretrained(NAME).count_params() == own.count_params()
    assert 'license: "mit"' in files["README.md"].decode()


def test_the_card(hub_server, model, tmp_path, monkeypatch):
    """It says what the run knows, and its example runs."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "log.csv"):
        (run / name).write_bytes((SAVED_RUN / name).read_bytes())
    card = push(hub_server, model, run=run, license="apache-2.0")["README.md"].decode()
    assert card.startswith("---\n") and 'license: "apache-2.0"' in card and "`resnet18`" in card
    assert "* **Recipe**: `digits`" in card and "digits, 1255 images" in card and "% top-1" in card
    assert "1. dog" in card and "Preprocessing(" in card
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (80, 60), "red").save("image.jpg")
    code, = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    exec(code, {})


def test_names_in_a_card_are_one_line_each(model):
    net = reskeras.set_metadata(tiny("resnet18", classes=2, **SIZES), labels=["a\n# b", "c\x1b[31m"])
    metadata = reskeras.get_metadata(net)
    card = model_card.make_model_card(net, "user/name", "resnet18", metadata, None, None, {})
    assert "\n# b" not in card and "\x1b" not in card and "license:" not in card.split("---")[1]


def test_the_checkpoint_it_began_with(hub_server):
    net = reskeras.create("cifar_resnet20.digits")
    card = push(hub_server, net)["README.md"].decode()
    assert "`cifar_resnet20.digits`" in card and "Began with the weights" in card


@pytest.mark.parametrize("repo", ["name", "user/name/more", "../name", "user name/x", "hf://user/name", 3])
def test_wrong_names_to_push(repo, model):
    with pytest.raises(ValueError, match="'user/name'"):
        reskeras.push_to_hub(model, repo)


@pytest.mark.parametrize("name", ["user/name", "hf://name", "hf://a/b/c", "hf://user/../x", "hf://", 3])
def test_wrong_names_to_open(name):
    with pytest.raises(ValueError, match="hf://user/name"):
        reskeras.from_pretrained(name)


def test_the_hub_refuses(hub_server, model):
    hub_server.refuses_commits = 403
    with pytest.raises(OSError, match="hf://user/name: the hub does not take the model") as caught:
        reskeras.push_to_hub(model, "user/name")
    assert "\n" not in str(caught.value) and not hub_server.files


def test_a_damaged_run_is_an_error_before_the_upload(hub_server, model, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json is damaged"):
        reskeras.push_to_hub(model, "user/name", run=tmp_path)
    assert not hub_server.log


CONFIG = json.dumps({"reskeras": {}}).encode()
HOSTILE = {
    "no repository": ({}, OSError, "config.json cannot be downloaded"),
    "no model": ({"config.json": CONFIG}, OSError, "model.keras cannot be downloaded"),
    "no JSON": ({"config.json": b"{"}, ValueError, "config.json is damaged"),
    "a list": ({"config.json": b"[]"}, ValueError, "another package"),
    "timm's": ({"config.json": b'{"architecture": "resnet50"}'}, ValueError, "it is timm's resnet50"),
    "an escape": ({"config.json": b'{"architecture": "a\\u001b[31m"}'}, ValueError, "it is timm's a"),
    "no .keras file": ({"config.json": CONFIG, "model.keras": b"<html>"}, ValueError, "model.keras"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_repositories(case, hub_server):
    files, error, message = HOSTILE[case]
    hub_server.files.update({f"/user/name/{name}": data for name, data in files.items()})
    with pytest.raises(error, match=message) as caught:
        reskeras.from_pretrained(NAME)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_file_larger_than_plausible(hub_server, monkeypatch):
    monkeypatch.setattr(pretrained, "_MAX_MODEL", 1000)
    files = {"config.json": CONFIG, "model.keras": b"PK" + bytes(100_000)}
    hub_server.files.update({f"/user/name/{name}": data for name, data in files.items()})
    with pytest.raises(OSError, match="at most 1,000") as caught:
        reskeras.from_pretrained(NAME)
    assert "\n" not in str(caught.value)


def test_a_connection_that_breaks_is_tried_again(hub_server, model):
    push(hub_server, model)
    hub_server.faults["/user/name/model.keras"] = [("cut", 1000)]
    assert reskeras.from_pretrained(NAME).count_params() == model.count_params()
