"""What the shell offers beside the library: completion, folders, and JSON."""
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.commands.comparison import Point
from reskeras.commands.html import encode_png

NET = "cifar_resnet20.digits"


def test_list_as_json(capsys):
    assert cli.main(["list", "resnet1?", "--json"]) == 0
    nets = json.loads(capsys.readouterr().out)
    assert {net["name"] for net in nets} == {"resnet10t", "resnet14t", "resnet18"} & {n["name"] for n in nets}
    assert nets[-1] == {"name": "resnet18", "builder": "ResNet18", "family": "resnet",
                        "parameters": 11689512, "macs": 1814073344, "input_size": 224}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    shtab = pytest.importorskip("shtab")
    from reskeras.commands.parser import make_parser
    with pytest.raises(SystemExit) as exit:
        cli.main(["--print-completion", shell])
    out = capsys.readouterr().out
    assert exit.value.code == 0 and out.strip() == shtab.complete(make_parser(), shell).strip()
    assert "benchmark" in out and "--calibration-data" in out


def test_completion_without_shtab(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as exit:
        cli.main(["--print-completion", "bash"])
    assert exit.value.code == 2 and 'pip install "reskeras[completion]"' in capsys.readouterr().err


def test_predict_a_folder(tmp_path, capsys):
    """All images in it, at any depth, and beside other files."""
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = datasets.load_digits(return_X_y=True)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    names = ["photos/3.png", "photos/more/7.png"]
    for name in names:
        digit = (pixels[np.flatnonzero(labels == int(name[-5]))[1]].reshape(8, 8) * 255 / 16).astype("uint8")
        (tmp_path / name).write_bytes(encode_png(np.asarray(Image.fromarray(digit).resize((32, 32)))))
    results = reskeras.predict(NET, tmp_path / "photos", top=1)
    assert [result["image"] for result in results] == [str(tmp_path / name) for name in names]
    assert [result["predictions"][0]["label"] for result in results] == ["3", "7"]
    assert cli.main(["predict", str(tmp_path / "photos"), "--model", NET, "--top", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_names_in_a_chart_do_not_lie_on_each_other(tmp_path):
    """Measured where they are in the file: on the front many nets are alike."""
    pytest.importorskip("matplotlib")
    from reskeras.commands.chart import draw_chart
    points = [Point(f"ANetWithALongName{i}", "resnet", "t", 224, "in1k", 70 + 0.2 * i, 10 ** 7 + i,
                    1e9 * (1 + 0.01 * i), "x", best=("macs", "params")) for i in range(12)]
    drawing = draw_chart(points, "black")
    drawing.savefig(tmp_path / "chart.png", dpi=160)
    drawing.set_dpi(160)
    drawing.draw_without_rendering()
    for axes in drawing.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert boxes and not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
        (legend,) = drawing.legends
        assert not any(box.overlaps(legend.get_window_extent()) for box in boxes)


def test_the_page_has_the_words_of_the_field(tmp_path):
    file = pathlib.Path(reskeras.page("cifar_resnet20", output=tmp_path / "net.html"))
    text = file.read_text()
    assert "receptive field (pixels)" in text and "stride (pixels)" in text
