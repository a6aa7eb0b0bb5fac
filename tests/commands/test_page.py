"""The page of a net: its figures are the library's; in Chromium it draws, opens, sorts, searches and says
nothing amiss.
"""
import json
import re

import keras
import pytest
from browser import opened
from keras import layers
from tiny import tiny

import reskeras
from reskeras import cli
from reskeras.graph.cost.cost import measure_cost
from reskeras.commands import html
from reskeras.commands.page import COLUMNS, build_page, page, describe_layer
from reskeras.commands.shortcut_drawing import find_shortcuts


def data(text):
    return json.loads(re.search(r'<script type="application/json" id="net">(.*?)</script>', text,
                                flags=re.S)[1])


@pytest.fixture(scope="module")
def net():
    return tiny("seresnet50")


@pytest.fixture(scope="module")
def file(net, tmp_path_factory):
    return page(net, tmp_path_factory.mktemp("page") / "new" / "net.html")


def test_figures_are_the_librarys(net, file):
    text = file.read_text(encoding="utf-8")
    result, fast = measure_cost(net), measure_cost(reskeras.optimize(net, check=False)[0])
    for version, wanted in zip(data(text)["versions"], (result, fast)):
        rows = [dict(zip(COLUMNS, row)) for row in version["layers"]]
        assert [row["name"] for row in rows] == [layer.name for layer in wanted.layers]
        for key in ("params", "macs", "activations"):
            assert [row[key] for row in rows] == [getattr(layer, key) for layer in wanted.layers]
            assert f"<td>{sum(row[key] for row in rows):,}</td>" in text
        assert [tuple(row["reads"]) for row in rows] == [layer.inputs for layer in wanted.layers]
    for stage in result.stages:
        assert f"<tr><td>{stage.name}</td><td>{stage.layers}</td>" in text
        assert f"<td>{stage.macs:,}</td>" in text
    assert f"{len(result.layers)} → {len(fast.layers)}" in text


def test_page_is_one_file_without_network(file):
    text = re.sub(r'http://www.w3.org/2000/svg', "", file.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|<link|@import|url\((?!#)|src=|import\(|fetch\(", text)
    assert list(file.parent.iterdir()) == [file]


def test_data_cannot_break_out(tmp_path):
    image = keras.Input((4, 4, 1))
    net = keras.Model(image, layers.ReLU(name="<b>&'\"")(image), name="a<b")
    text = str(build_page(net))
    assert "<b>&" not in text and "<title>a&lt;b</title>" in text
    assert data(text)["versions"][0]["layers"][1][0] == "<b>&'\""


KINDS = {   # row: what is drawn past its blocks, in order: i(dentity), p(rojection), - (none)
    "resnet18": "iippp", "resnet50": "pippp", "resnet50v2": "ppppp", "resnet50d": "pippp",
         "resnet18_option_a": "iippp",
    "resnet18_option_c": "ppppp", "plainnet18": "-----", "skresnet18": "iippp", "resnest14": "pippp",
         "cifar_resnet20": "iipp"}


@pytest.mark.parametrize("row", KINDS)
def test_shortcuts(row):
    """The first of the tiny form's stages has two blocks; V2 subsamples at a stage's end, which is no
    identity.
    """
    result = measure_cost(tiny(row))
    reference = find_shortcuts(result.layers)
    blocks = [b for b in dict.fromkeys(layer.block for layer in result.layers) if "block" in b]
    assert "".join("-" if b not in reference else "i" if reference[b].identity else "p"
                   for b in blocks) == KINDS[row]
    for block, way in reference.items():
        assert result.layers[way.end].kind == "Add" and result.layers[way.start].block != block
        assert all(result.layers[i].block == block for i in way.path)


def test_scaled_gated_and_dropped_shortcuts_are_identities_where_the_shape_stays():
    for shortcut in ("constant", "exclusive_gate", "dropout"):
        result = find_shortcuts(measure_cost(tiny("cifar_resnet20", shortcut=shortcut)).layers)
        assert result["conv2_block2"].identity and not result["conv3_block1"].identity, shortcut


def test_words():
    assert describe_layer(layers.Conv2D(8, 3, strides=2, groups=4,
                                        dilation_rate=1)) == "3x3, stride 2, 4 groups"
    assert describe_layer(layers.Activation("relu")) == "relu"
    assert describe_layer(layers.Dropout(0.25)) == "rate 0.25"
    assert describe_layer(layers.MaxPooling2D(3, 2)) == "3x3, stride 2" and describe_layer(layers.Add()) == ""


@pytest.mark.parametrize("make", [lambda: tiny("inception_resnet_v2"), lambda: keras.applications.MobileNetV2(
    weights=None, input_shape=(64, 64, 3), alpha=0.35), lambda: keras.Sequential([
        keras.Input((8,)), layers.Dense(4), keras.Sequential([layers.Dense(2)], name="inner")])])
def test_any_net_has_a_page(make):
    assert len(data(build_page(make()))["versions"]) == 2


def test_command(tmp_path, capsys):
    assert cli.main(["page", "cifar_resnet20", "-o", str(tmp_path / "net.html"), "--size", "16"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "net.html")
    assert "One image of 16 x 16 x 3" in (tmp_path / "net.html").read_text(encoding="utf-8")
    for bad in (["page", "cifar_resnet20", "-o", str(tmp_path / "net.txt")], ["page", "cifar_resnet21"],
                ["page", str(tmp_path / "none.keras")], ["page", "cifar_resnet20", "--size", "0"],
                ["page", "cifar_resnet20", "--size", "16", "-o", str(tmp_path / "net.html" / "net.html")]):
        assert cli.main(bad) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("reskeras page: ") and len(err.splitlines()) == 1
    assert f"{tmp_path / 'net.html' / 'net.html'} cannot be written: " in err
    assert [f.name for f in tmp_path.iterdir()] == ["net.html"]


def test_cost_command(tmp_path, capsys):
    net = tiny("resnet18")
    net.save(tmp_path / "net.keras")
    assert cli.main(["cost", str(tmp_path / "net.keras"), "--json", "--per-layer", "--batch-size", "4"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(measure_cost(net, batch_size=4).as_dict()))
    assert cli.main(["cost", "resnet50v1_5", "--per-layer"]) == 0
    out = capsys.readouterr().out
    assert "4,089,184,256 MACs, 8,178,368,512 FLOPs" in out
    assert "a receptive field of 427 pixels, a stride of 32, in conv5_block3_out" in out
    assert re.search(r"^conv3_block1_2_conv +Conv2D +28 x 28 x 128 +147,456 +115,605,504 +100,352 +43 +8$",
                     out, flags=re.M)
    assert cli.main(["cost", "cifar_resnet20.digits"]) == 0
    assert capsys.readouterr().out.startswith("image         16 x 16 x 1")
    net = reskeras.create("cifar_resnet20", weights=None, input_shape=(None, None, 3))
    net.save(tmp_path / "open.keras")
    assert cli.main(["cost", str(tmp_path / "open.keras")]) == 2 and "--size" in capsys.readouterr().err
    assert cli.main(["cost", str(tmp_path / "open.keras"), "--size", "32"]) == 0


def test_pages_escape_what_they_sort():
    table = html.sortable_table(["<"], [[("<b>", 1)]], id="t")
    assert '<td data-value="1">&lt;b&gt;</td>' in table and "<thead>" in table


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_in_the_browser(net, file, width, height, scheme):
    result = measure_cost(net)
    with opened(file, width, height, scheme) as (tab, complaints):
        # nothing hangs over the edge
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        boxes = tab.locator("#graph .box")
        closed = boxes.count()
        assert tab.locator("#graph path.identity").count() == 1
        assert tab.locator("#graph path.projection").count() == 4
        tab.click('[data-id="block conv2_block1"]')
        inside = [layer for layer in result.layers if layer.block == "conv2_block1"]
        assert boxes.count() == closed + len(inside)
        tab.click('[data-id="block conv2_block1"]')
        assert boxes.count() == closed
        tab.click("#expand")
        assert tab.locator("#graph .box.layer").count() == len(result.layers)
        tab.click("#collapse")
        assert boxes.count() == len(result.stages)

        rows = tab.locator("#layers tbody tr")
        assert rows.count() == len(result.layers)
        cells = lambda column: tab.eval_on_selector_all(       # noqa: E731
            f"#layers tbody tr:not([hidden]) td:nth-child({column})",
            "cells => cells.map(cell => cell.textContent)")
        assert cells(6) == [f"{layer.macs:,}" for layer in result.layers]
        tab.click("#layers th:nth-child(6) button")
        assert cells(6) == [f"{macs:,}"
                            for macs in sorted((layer.macs for layer in result.layers), reverse=True)]
        tab.click("#layers th:nth-child(6) button")
        assert cells(6)[-1] == f"{max(layer.macs for layer in result.layers):,}"
        tab.fill("#search", "se_reduce")
        assert len(cells(1)) == sum("se_reduce" in layer.name for layer in result.layers) > 0
        tab.keyboard.press("Enter")                             # opens the block of the first
        assert tab.locator("#graph .box.layer.hit").count() == 1
        tab.keyboard.press("Escape")
        tab.select_option("#kind", "Add")
        assert set(cells(2)) == {"Add"}
        tab.select_option("#kind", "")
        tab.select_option("#stage", "conv3")
        assert set(cells(3)) == {"conv3"}
        tab.select_option("#stage", "")

        tab.click("#layers tbody tr:has-text('conv4_block1_2_conv')")
        assert tab.locator(".box.on").get_attribute("aria-label").startswith("2_conv")
        tab.click('[data-version="1"]')
        optimized, _ = reskeras.optimize(net, check=False)
        assert rows.count() == len(measure_cost(optimized).layers) < len(result.layers)
        tab.click('[data-version="0"]')

        tab.click("#collapse")
        tab.focus('[data-id="stage conv2"]')
        tab.keyboard.press("ArrowRight")
        assert tab.get_attribute('[data-id="stage conv2"]', "aria-expanded") == "true"
        tab.keyboard.press("ArrowDown")
        assert tab.evaluate("document.activeElement.dataset.id") == "block conv2_block1"
        assert f"{sum(layer.macs for layer in inside):,}" in tab.inner_text("#tip")
        tab.keyboard.press("Escape")
        tab.hover('[data-id="stage conv3"]')
        assert f"{result.stages[2].macs:,}" in tab.inner_text("#tip")
        tab.keyboard.press("/")
        assert tab.evaluate("document.activeElement.id") == "search"
        assert complaints == []
