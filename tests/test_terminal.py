"""Text from a file cannot control the terminal or a page: labels, names of layers, messages of servers."""
import ast
import io
import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.commands import html
from reskeras.commands.tables import markdown_table, text_table
from reskeras.errors import describe_error, make_printable
from reskeras.model_with_metadata import set_metadata
from reskeras.terminal import print_text

PACKAGE = pathlib.Path(reskeras.__file__).parent
# clear the screen, set the title, forge a line, return the carriage, C1, right to left, half a surrogate, NUL
ATTACKS = ["\x1b[2J", "\x1b]0;title\a", "cat\nreskeras: passed", "a\rb", "\x9b31m", "\u202etac",
           "\ud800", "\0"]


@pytest.mark.parametrize("text", ATTACKS)
def test_escapes_stand_for_what_controls(text):
    shown = make_printable(text)
    assert shown.isprintable() and "\\" in shown
    assert describe_error(ValueError(text)).isprintable()
    assert make_printable(shown) == shown
    assert all(line.isprintable() for line in text_table(["label"], [[text]]).splitlines())
    assert len(text_table(["label"], [[text]]).splitlines()) == 2
    assert len(markdown_table(["label"], [[text]]).splitlines()) == 3


def test_plain_text_stays():
    assert make_printable("grüner Apfel 苹果 🍏 100 %") == "grüner Apfel 苹果 🍏 100 %"


def test_lines_stay_lines_and_every_stream_takes_them():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_text("a ü\x1b\nb", stream)
    assert stream.buffer.getvalue() == b"a \\xfc\\x1b\nb\n"


def test_one_place_prints():
    """What prints past it would print text from files as it is."""
    for file in PACKAGE.rglob("*.py"):
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text()))
                 if isinstance(node, ast.Call)}
        wrong = calls & {"print", "sys.stdout.write", "sys.stderr.write"}
        assert not wrong or file.name == "terminal.py", file


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """.keras files whose labels or layers are called like the attacks (TensorFlow has no such scopes)."""
    folder = tmp_path_factory.mktemp("hostile")
    x = image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(x)
    y = keras.layers.Dense(len(ATTACKS), activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    reskeras.save(set_metadata(keras.Model(image, y), labels=ATTACKS), folder / "labels.keras")
    for i, attack in enumerate(ATTACKS[:-2]):       # HDF5 has no names like the last two
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"{i}{attack}")(x)
    reskeras.save(keras.Model(image, x, name="net\x1b[2J"), folder / "layers.keras")
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(folder / "zero.png")
    return folder


def printed(capsys):
    out, err = capsys.readouterr()
    for line in (out + err).split("\n"):
        assert line.isprintable(), line
    return out


def test_commands(hostile, capsys, monkeypatch):
    monkeypatch.chdir(hostile)
    given = ["--preprocessing", "resnet50v1_5.a1_in1k"]
    assert cli.main(["predict", "zero.png", "--model", "labels.keras", "--top", "9", *given]) == 0
    out = printed(capsys)
    assert len(out.splitlines()) == 1
    assert r"\x1b[2J" in out and r"\u202etac" in out and r"cat\nreskeras" in out
    assert cli.main(["predict", "zero.png", "--model", "labels.keras", "--json", *given]) == 0
    labels = {p["label"] for p in json.loads(capsys.readouterr().out)[0]["predictions"]}
    assert labels <= set(ATTACKS)       # a program gets them as they are
    assert cli.main(["cost", "layers.keras", "--per-layer"]) == 0
    assert r"\x1b[2J" in printed(capsys)
    assert cli.main(["predict", "no\x1b[2J.png", "zero.png", "--model", "labels.keras", *given]) == 1
    printed(capsys)
    assert cli.main(["predict", "zero.png", "--model", "no\x1b[2J.keras"]) == 2
    printed(capsys)


def test_pages(hostile, monkeypatch):
    monkeypatch.chdir(hostile)
    assert cli.main(["page", "layers.keras", "-o", "net.html"]) == 0
    assert cli.main(["explain", "zero.png", "--model", "labels.keras", "-o", "explain.html",
                     "--preprocessing", "resnet50v1_5.a1_in1k"]) == 0
    for name in ("net.html", "explain.html"):
        page = (hostile / name).read_text()
        assert all(c.isprintable() or c in "\n\t" for c in page), name
        assert "\u202e" not in page and "\\" in page
    assert html.tag("p", "<b>\x1b", title='"\u202e') == '<p title="&quot;\\u202e">&lt;b&gt;\\x1b</p>'
