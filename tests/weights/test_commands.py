"""The command line on published weights: `weights list|show|fetch|verify`, `predict` with a checkpoint."""
import json
import pathlib

import pytest
from checkpoints import randomized, safetensors
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.images.labels import get_label_set

NAME = "resnet10t.c3_in1k"


@pytest.fixture
def served(server):
    server.files[f"/timm/{NAME}/model.safetensors"] = safetensors(
        randomized(reskeras.ResNet10T(weights=None))
    )
    return server


def test_list_and_show(capsys):
    assert cli.main(["weights", "list", "resnet50v1_5.a1*"]) == 0
    line, = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet50v1_5.a1_in1k")]
    assert "apache-2.0" in line and "80.38 % top-1" in line and line.endswith("default")
    assert cli.main(["weights", "show", "timm/resnet50.a1_in1k"]) == 0
    assert "crop_pct" in capsys.readouterr().out
    assert cli.main(["weights", "show", "keras/ResNet50"]) == 0
    out = capsys.readouterr().out
    assert "gives no crop or interpolation" in out and "Kaiming He's release (MIT)" in out
    assert cli.main(["weights", "list", "nothing*"]) == cli.main(["weights", "show", "resnet50.a1_in1k"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.startswith("reskeras weights ") for line in errors] == [True, True]


def test_fetch_and_verify(served, capsys):
    assert (
        cli.main(["weights", "verify", NAME]) == 2 and "reskeras weights verify: " in capsys.readouterr().err
    )  # not here yet
    assert cli.main(["weights", "fetch", NAME]) == 0
    assert capsys.readouterr().out.strip().endswith("model.safetensors")
    assert cli.main(["weights", "verify", NAME]) == 0
    assert capsys.readouterr().out.split()[1] == NAME


def every_kind(folder, photos):
    """(images, no images)"""
    rgb = Image.open(photos[1]).resize((96, 64))
    alpha, frames = rgb.copy(), [rgb.quantize(255), rgb.rotate(180).quantize(255)]
    alpha.putalpha(200)
    alpha.save(folder / "rgba.png")
    rgb.convert("L").save(folder / "gray.jpg")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    (folder / "truncated.jpg").write_bytes(pathlib.Path(photos[0]).read_bytes()[:20_000])
    (folder / "text.txt").write_text("no image")
    names = ("rgba.png", "gray.jpg", "cmyk.jpg", "animated.gif", "truncated.jpg", "text.txt")
    return [*photos, *(str(folder / n) for n in names[:4])], [str(folder / n) for n in names[4:]]


@pytest.mark.parametrize("model, names", [("cifar_resnet20.digits", "digits"), (NAME, "imagenet-1k")])
def test_predict(served, capfd, tmp_path, model, names):
    """scikit-learn's photographs and files of every kind, by the embedded net and a published checkpoint."""
    datasets = pytest.importorskip("sklearn.datasets")
    folder = pathlib.Path(datasets.__file__).parent / "images"
    images, others = every_kind(tmp_path, [str(folder / "china.jpg"), str(folder / "flower.jpg")])
    assert cli.main(["predict", *images, "--model", model, "--top", "3", "--json"]) == 0
    results = json.loads(capfd.readouterr().out)
    assert [r["image"] for r in results] == images
    known = set(get_label_set(names))
    for result in results:
        scores = [p["score"] for p in result["predictions"]]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert all((p["id"], p["label"]) in known for p in result["predictions"])
    net = reskeras.create(model)        # the same by hand
    for result, scores in zip(results, net.predict(reskeras.get_preprocessing(net)(images), verbose=0)):
        (id, label, score), *_ = reskeras.decode_predictions(scores[None], 1, net)[0]
        assert (result["predictions"][0]["id"], result["predictions"][0]["label"]) == (id, label)
        assert result["predictions"][0]["score"] == pytest.approx(score, rel=1e-3)
    assert cli.main(["predict", *others, images[0], "--model", model]) == 1
    out, err = capfd.readouterr()
    assert out.startswith(f"{images[0]}: ") and len(out.splitlines()) == 1
    assert [line for line in err.splitlines() if line.startswith("reskeras predict: /")] == [
        f"reskeras predict: {path}: not a readable JPEG, PNG, GIF, BMP, WebP, TIFF or HEIC image"
        for path in others]
    if model == NAME:
        assert len(served.gets(f"/timm/{NAME}/model.safetensors")) == 1      # fetched once for all of this
