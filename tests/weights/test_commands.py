"""The command line on published weights: `weights list|show|fetch|verify`, and `predict` with a checkpoint from a server."""
import json

import pytest
from checkpoints import randomized, safetensors

import reskeras
from reskeras import cli

NAME = "resnet10t.c3_in1k"


@pytest.fixture
def served(server):
    server.files[f"/timm/{NAME}/model.safetensors"] = safetensors(randomized(reskeras.ResNet10T(weights=None)))
    return server


def test_list_and_show(capsys):
    assert cli.main(["weights", "list", "resnet50v1_5.a1*"]) == 0
    line, = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet50v1_5.a1_in1k")]
    assert "apache-2.0" in line and "80.38 % top-1" in line and line.endswith("default")
    assert cli.main(["weights", "show", "timm/resnet50.a1_in1k"]) == 0
    assert "crop_pct" in capsys.readouterr().out
    assert cli.main(["weights", "list", "nothing*"]) == cli.main(["weights", "show", "resnet50.a1_in1k"]) == 2
    assert [line.startswith("reskeras: ") for line in capsys.readouterr().err.splitlines()] == [True, True]


def test_fetch_and_verify(served, capsys):
    assert cli.main(["weights", "verify", NAME]) == 2 and "reskeras: " in capsys.readouterr().err     # not here yet
    assert cli.main(["weights", "fetch", NAME]) == 0
    assert capsys.readouterr().out.strip().endswith("model.safetensors")
    assert cli.main(["weights", "verify", NAME]) == 0
    assert capsys.readouterr().out.split()[1] == NAME


def test_predict_photographs(served, capfd):
    sklearn = pytest.importorskip("sklearn")
    import pathlib
    photos = [str(pathlib.Path(sklearn.__file__).parent / "datasets" / "images" / f) for f in ("china.jpg", "flower.jpg")]
    assert cli.main(["predict", *photos, "--model", NAME, "--top", "3", "--json"]) == 0
    china, flower = json.loads(capfd.readouterr().out)
    for result in (china, flower):
        scores = [p["score"] for p in result["predictions"]]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert all(p["label"] and not p["label"].isdigit() for p in result["predictions"])      # ImageNet's names
    assert cli.main(["predict", photos[0], __file__, "--model", NAME]) == 1
    out, err = capfd.readouterr()
    assert "china.jpg: " in out and f"reskeras: {__file__}" in err
