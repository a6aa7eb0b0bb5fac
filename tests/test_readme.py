"""The Python of the README and of docs/ runs as it stands; the commands there are commands."""
import contextlib
import pathlib
import re
import shlex

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {page.name if page.parent.name != "guides" else f"guides/{page.name}": page.read_text()
         for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
BLOCKS = {f"{name}-{number}": code for name, text in PAGES.items()
          for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, flags=re.S))}


# In the quick run: the same family and arguments, a third of the layers
SMALLER = {"README.md-0": ("reskeras.ResNeSt50(", "reskeras.ResNeSt14("),
           "README.md-1": ("timm/resnest50d", "timm/resnest14d")}
BUILDS_ONLY = {"nets.md-0"}     # several large nets, of which nothing is computed


def without_values():
    """Inside, Keras makes variables but no values, which take most of the time of a large net."""
    return keras.StatelessScope(initialize_variables=False)


def test_blocks_of_the_exceptions_are_there():
    assert BUILDS_ONLY | set(SMALLER) <= set(BLOCKS)
    assert all(name in BLOCKS[block] for block, (name, _) in SMALLER.items())


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_block(block, BLOCKS[block].replace(*SMALLER.get(block, ("", ""))))


@pytest.mark.slow
@pytest.mark.parametrize("block", SMALLER)
def test_block_as_it_stands(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_block(block, BLOCKS[block])


def run_block(block, code):
    code = code if "import reskeras" in code else "import reskeras\n" + code
    with without_values() if block in BUILDS_ONLY else contextlib.nullcontext():
        exec(compile(code, block, "exec"), {})
    keras.utils.clear_session()


MOVES = re.findall(
    r"^\| `[^`]+`(?: \(\w+\))? \| `(reskeras[^`]+)`", PAGES["nets.md"].split("## Coming from")[1], flags=re.M
)


@pytest.mark.parametrize("code", MOVES)
def test_coming_from_another_package(code, monkeypatch):
    """Every line builds what it says, with the checkpoint that it names; only the download is left out."""
    from reskeras import build
    checkpoints = []
    monkeypatch.setattr(build, "load_weights", lambda net, weights: checkpoints.append(weights))
    with without_values():
        model = eval(code, {"reskeras": __import__("reskeras")})
    assert model.count_params() > 1e6
    assert bool(checkpoints) == ("weights=None" not in code) and all(c.variant for c in checkpoints)
    keras.utils.clear_session()


def test_the_table_of_moves_is_read():
    assert len(MOVES) == 13


def test_both_commands_are_one_line_each():
    commands = re.findall(r"^```\n([^`]*?)\n```$", PAGES["README.md"], flags=re.M)
    assert commands == ['python -m pip install ".[demo]" && reskeras demo',
                        "python -m pip install tox && python -m tox run -e py"]


COMMANDS = sorted({" ".join("".join(found).split()) for text in PAGES.values()
                   for found in re.findall(r"`(reskeras [^`]+)`|^\$ (reskeras .+)$", text, flags=re.M)})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_commands(command):
    from reskeras import cli
    # exits where there is no such command or option
    with pytest.raises(SystemExit, match="0") if command.endswith("--help") else contextlib.nullcontext():
        cli.make_parser().parse_args(shlex.split(command, comments=True)[1:])


def test_number_of_checkpoints():
    from reskeras.weights.table import list_checkpoints
    assert f"with {len(list_checkpoints())} published checkpoints" in PAGES["README.md"]
