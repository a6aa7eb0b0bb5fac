"""Each notebook has the code of its script, and small outputs; `tox -e notebooks` runs them all."""
import json
import pathlib
import re

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
SCRIPTS = sorted([*EXAMPLES.glob("notebooks/*.py"), *EXAMPLES.glob("lecture/*.py")])


def list_code(script):
    """The code cells of a script, without the signs that make a magic of the notebook a comment."""
    cells = re.split(r"^# %%(.*)$", script.read_text(encoding="utf-8"), flags=re.M)[1:]
    return [text.strip().replace("# %pip", "%pip") for header, text in zip(cells[::2], cells[1::2])
            if "[markdown]" not in header]


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_notebooks_are_made_from_scripts(script):
    names = [".en.ipynb", ".zh.ipynb"] if script.parent.name == "lecture" else [".ipynb"]
    for name in names:
        text = script.with_suffix(name).read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
        assert ["".join(c["source"]).strip() for c in cells if c["cell_type"] == "code"] == list_code(script)
        assert "colab.research.google.com" in "".join(cells[1]["source"]) and len(text) < 150_000
        assert not [o for c in cells for o in c.get("outputs", []) if o["output_type"] == "error"]


def test_a_lecture_says_the_same_in_two_languages():
    """As many cells of text in each language, with the same formulas and the same names of code."""
    for script in EXAMPLES.glob("lecture/*.py"):
        text = {language: re.findall(rf'# %% \[markdown\] lang="{language}"\n(.*?)\n# %%',
                                     script.read_text(encoding="utf-8"), flags=re.S)
                for language in ("en", "zh")}
        assert len(text["en"]) == len(text["zh"]) >= 5, script
        for one, other in zip(text["en"], text["zh"]):
            assert set(re.findall(r"`[^`]+`", one)) == set(re.findall(r"`[^`]+`", other)), one
            assert re.findall(r"arXiv:[\d.]+", one) == re.findall(r"arXiv:[\d.]+", other), one
