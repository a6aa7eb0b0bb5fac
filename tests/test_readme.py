"""The README's Python runs as it stands."""
import pathlib
import re

import pytest

TEXT = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = BLOCKS[number] if "import reskeras" in BLOCKS[number] else "import reskeras\n" + BLOCKS[number]
    exec(compile(code, f"README block {number + 1}", "exec"), {})


MOVES = re.findall(r"^\| `[^`]+`(?: \(\w+\))? \| `(reskeras[^`]+)`", TEXT.split("## Coming from")[1], flags=re.M)


@pytest.mark.parametrize("code", MOVES)
def test_coming_from_another_package(code, monkeypatch):
    """Every line builds what it says, with the checkpoint that it names; only the download is left out."""
    from reskeras import build
    asked = []
    monkeypatch.setattr(build, "load_weights", lambda net, weights: asked.append(weights))
    model = eval(code, {"reskeras": __import__("reskeras")})
    assert model.count_params() > 1e6
    assert bool(asked) == ("weights=None" not in code) and all(w.row for w in asked)


def test_the_table_of_moves_is_read():
    assert len(MOVES) == 12


def test_both_commands_are_one_line_each():
    commands = re.findall(r"^```\n([^`]*?)\n```$", TEXT, flags=re.M)
    assert commands == ['python -m pip install ".[demo]" && reskeras demo',
                        "python -m pip install tox && python -m tox run -e py"]
