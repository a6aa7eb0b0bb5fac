"""Comparisons: the figures are the tables' and the library's, the front is a front, the literature is as
published.
"""
import csv
import io
import pathlib
import re
import sys

import keras
import pytest
from browser import opened

from reskeras import catalog, cli, variants
from reskeras.graph.cost.cost import measure_cost
from reskeras.commands import comparison
from reskeras.commands.chart import draw_chart
from reskeras.commands.compare import compare, make_rows
from reskeras.commands.comparison import Point, find_pareto_front, time_one_image
from reskeras.commands.published_costs import PUBLISHED_NETS
from reskeras.weights.table import get_weights

FACTS = pathlib.Path(__file__).parents[1] / "facts"


def test_points_are_the_tables_and_the_librarys():
    result = compare(["resnet50v1_5", "resnetv2_50x1_bit", "timm/legacy_seresnext50_32x4d.in1k"],
                     literature=True).points
    assert [p.name for p in result[:3]] == ["ResNet50V1_5", "ResNetV2_50x1BiT", "SEResNeXt50_32x4d"]
    for p in result[:3]:
        row = catalog.list_builders()[p.name]
        w = get_weights(f"{row}.{p.tag}")
        assert (p.top1, p.size, p.data, p.source, p.family) == (w.top1, w.top1_size, w.dataset, w.id,
                                                                variants.VARIANTS[row].family)
        with keras.StatelessScope(initialize_variables=False):      # without the memory
            built = measure_cost(variants.VARIANTS[row](weights=None, **w.spec_fields), (p.size, p.size, 3))
        assert (p.params, p.macs) == (built.params, built.macs)
    assert [p.name for p in result[3:]] == [x.name for x in PUBLISHED_NETS]


def test_literature_is_as_published():
    with (FACTS / "torchvision.csv").open(newline="") as file:
        reference = {line["name"]: line for line in csv.DictReader(file)}
    ours = {"AlexNet": "alexnet", "VGG-16": "vgg16", "VGG-19": "vgg19", "GoogLeNet": "googlenet",
            "Inception-v3": "inception_v3"}
    for x in PUBLISHED_NETS:
        if x.name in ours:
            line = reference[ours[x.name]]
            assert (x.params, x.size, x.top1) == (int(line["params"]), int(line["size"]), float(line["top1"]))
            assert x.macs == pytest.approx(1e9 * float(line["gmacs"]), abs=1)
    (v4,) = [x for x in PUBLISHED_NETS if x.name == "Inception-v4"]
    size = catalog.read_costs()["inception_v4"]
    assert v4.top1 == 100 - 20.0 and v4.params == size.params and v4.macs == pytest.approx(size.macs, abs=5e5)


def test_front():
    costs, top1 = [1, 2, 2, 3, 4, None, 1], [50, 60, 61, 61, 70, 99, 50]
    members = find_pareto_front(costs, top1)
    reference = [i for i, c in enumerate(costs) if c is not None]
    better = {i for i in reference if any(costs[j] <= costs[i] and top1[j] >= top1[i]
                                      and (costs[j], top1[j]) != (costs[i], top1[i])
                                      for j in reference)}
    assert members == set(reference) - better == {0, 2, 4, 6}


def test_families_and_labels():
    assert {p.family for p in compare(family="resnext").points} == {"resnext"}
    result = compare(family="resnext", literature=True).points
    assert {p.family for p in result} == {"resnext", "literature"}
    cifar = compare(family="resnet", labels="cifar10").points
    assert {p.size for p in cifar} == {32} and "literature" not in {p.family for p in cifar}
    for bad, text in ((dict(family="resnexts"), "did you mean 'resnext'"), (dict(), "nothing to compare"),
                      (dict(models=["resnet50.nope"]), "no checkpoint 'nope'"),
                      (dict(models=["resnet5O"]), "did you mean"),
                      (dict(models=["plainnet18"]), "no accuracy on imagenet-1k is published"),
                      (dict(family="plain"), "no net of it"),
                      (dict(models=["cifar_resnet20"]), "are on cifar10"),
                      (dict(family="resnet", labels="cifar10", literature=True), "literature=True")):
        with pytest.raises(ValueError, match=text):
            compare(**bad)


def test_tables(capsys):
    assert cli.main(["compare", "resnet50v1_5", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| net | checkpoint | size |") and len(lines) == 2 + 1
    assert ("| ResNet50V1_5 | a1_in1k | 224 | in1k | 80.38 | 25.56 | 4.089 | MACs, parameters "
            "| timm/resnet50.a1_in1k |") in lines
    assert cli.main(["compare", "resnet50v1_5", "--literature", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["top-1 (%)"]) for row in rows] == sorted((float(row["top-1 (%)"]) for row in rows),
                                                               reverse=True)
    assert cli.main(["compare", "resnet50v1_5"]) == 0
    assert capsys.readouterr().out.startswith("net ")


def test_latency_is_measured(monkeypatch):
    timed = []
    monkeypatch.setattr(comparison, "time_one_image", lambda p: timed.append(p.name) or 7.0)
    points = compare(["resnet18"], latency=True, literature=True).points
    assert timed == ["ResNet18"] and points[0].latency_ms == 7.0 and "latency_ms" in points[0].best
    header, rows = make_rows(points)
    assert points[-1].latency_ms is None and [row[header.index("latency (ms)")]
                                              for row in rows].count("7.0") == 1


def test_timing_runs():
    assert 0 < time_one_image(Point("CifarResNet20", "resnet", "cifar10", 32, "cifar10", 90.0, 1, 1.0,
                                    "x")) < 10_000


def test_chart_and_page(tmp_path):
    pytest.importorskip("matplotlib")
    models = ["resnet18", "resnet50v1_5", "resnext50_32x4d"]
    assert compare(models, output=tmp_path / "new" / "c.png").file.read_bytes().startswith(b"\x89PNG")
    result = compare(models, output=tmp_path / "c.html")
    text = result.file.read_text(encoding="utf-8")
    for p in result.points:
        assert f"<td>{p.top1:.2f}</td>" in text and f"{p.macs / 1e9:.3f} G MACs</title>" in text
        assert p.name in text
    assert not re.search(r"https?:|<link|@import|url\((?!#)|src=", text)
    with pytest.raises(ValueError, match=".html or a .png"):
        compare(models, output=tmp_path / "c.pdf")
    assert {f.name for f in tmp_path.iterdir()} == {"new", "c.html"}


def test_names_are_whole_and_apart():
    """Those at the edges too: a name lies within the axes, on no other, and every front's nets have one."""
    pytest.importorskip("matplotlib")
    points = compare(["resnet50v1_5", "keras/MobileNetV2", "keras/ConvNeXtTiny"], literature=True).points
    drawing = draw_chart(points)
    for axes, key in zip(drawing.axes, ("macs", "params")):
        area, boxes = axes.get_window_extent(), [text.get_window_extent() for text in axes.texts]
        assert all(area.x0 <= box.x0 and box.x1 <= area.x1 for box in boxes)
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        named = {text.get_text() for text in axes.texts}
        assert {"AmoebaNet-A (F=448)", "NiN", "keras/MobileNetV2"} <= named
        assert {p.name for p in points if key in p.best} <= named


@pytest.mark.parametrize("command", [["compare", "resnet18", "-o"], ["tour", "-o"]], ids=["compare", "tour"])
def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch, capsys, command):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli.main([*command, str(tmp_path / "c.html")]) == 2
    err = capsys.readouterr().err
    assert "needs matplotlib: pip install \"reskeras[pictures]\"" in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_in_the_browser(tmp_path, width, scheme):
    pytest.importorskip("matplotlib")
    file = compare(["resnet18", "resnet50v1_5", "resnext50_32x4d"], literature=True,
                   output=tmp_path / "c.html").file
    with opened(file, width, scheme=scheme) as (tab, complaints):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        column = "cells => cells.map(cell => cell.textContent)"
        tab.click("#nets th:nth-child(7) button")
        macs = [float(text) for text in tab.eval_on_selector_all("#nets tbody td:nth-child(7)", column)]
        assert macs == sorted(macs, reverse=True)
        tab.fill("input[type=search]", "vgg")
        names = tab.eval_on_selector_all("#nets tbody tr:not([hidden]) td:first-child", column)
        assert names == ["VGG-19", "VGG-16"]
        assert complaints == []
