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


def test_both_commands_are_one_line_each():
    commands = re.findall(r"^```\n([^`]*?)\n```$", TEXT, flags=re.M)
    assert commands == ['python -m pip install ".[demo]" && reskeras demo',
                        "python -m pip install tox && python -m tox run -e py"]
