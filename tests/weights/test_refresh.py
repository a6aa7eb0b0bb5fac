"""The script that brings the table up to date, on a made-up timm and the local hub."""
import hashlib
import importlib.util
import json
import pathlib
import sys
import types

import pytest
from server import COMMIT

from reskeras.weights.table import TABLE_FILE, get_weights

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "refresh_weights.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("refresh_weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "table.json").write_text(TABLE_FILE.read_text())
    monkeypatch.setattr(module, "TABLE_FILE", tmp_path / "table.json")
    monkeypatch.setattr(sys, "argv", ["refresh_weights.py"])
    return module


def timm(monkeypatch, **configs):
    """A timm that knows these checkpoints only: name -> what changed against resnet50.a1_in1k."""
    checkpoint = get_weights("timm/resnet50.a1_in1k")
    base = {
        "hf_hub_id": "timm/",
        "url": "",
        "num_classes": 1000,
        "label_offset": None,
        "license": "apache-2.0",
        "input_size": (3, 224, 224),
        "test_input_size": (3, 288, 288),
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
    }
    known = {
        name.replace("__", "."): types.SimpleNamespace(**{**base, **changes})
        for name, changes in configs.items()
    }
    models = types.ModuleType("timm.models")
    models.list_pretrained, models.get_pretrained_cfg, models.is_model = (
        lambda: list(known),
        known.get,
        lambda name: True,
    )
    monkeypatch.setitem(sys.modules, "timm", types.ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.models", models)


def test_nothing_new(script, monkeypatch, capsys):
    timm(monkeypatch, resnet50__a1_in1k={})
    script.main()
    assert capsys.readouterr().out == "" and script.TABLE_FILE.read_text() == TABLE_FILE.read_text()


def test_changed_and_new(script, monkeypatch, capsys):
    timm(
        monkeypatch,
        resnet50__a1_in1k={"crop_pct": 0.9},
        resnet34__x9_in1k={"mean": (0.5,) * 3, "std": (0.5,) * 3},
        convnext__x_in1k={},
    )
    script.main()
    assert capsys.readouterr().out.splitlines() == [
        "changed timm/resnet50.a1_in1k",
        "new timm/resnet34.x9_in1k",
    ]
    entries = {e["id"]: e for e in json.loads(script.TABLE_FILE.read_text())}
    changed, new = entries["timm/resnet50.a1_in1k"], entries["timm/resnet34.x9_in1k"]
    assert changed["crop_pct"] == 0.9 and changed["is_default"] and changed["top1"] == 80.382
    assert new["spec_fields"] == {"pixels": "tf"} and new["variant"] == "resnet34" and "is_default" not in new
    assert [e["variant"] for e in entries.values()] == sorted(
        (e["variant"] for e in entries.values()), key=list(script.VARIANTS).index
    )


def test_hub(script, server):
    server.files["/timm/resnet50.a1_in1k/model.safetensors"] = b"weights"
    found = script.read_hub_fields({"repo": "timm/resnet50.a1_in1k", "file": "model.safetensors"})
    assert found == {"sha256": hashlib.sha256(b"weights").hexdigest(), "revision": COMMIT}
