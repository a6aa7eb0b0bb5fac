"""The papers' claims: every script in its tiny form; docstrings and the tour have the full runs' results."""
import importlib
import json
import pathlib
import re

import pytest

from reskeras.commands.study import Study
from reskeras.commands.tour import MEASURED, SHORT, load_all_studies, load_studies, tour_markdown

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "papers"
SCRIPTS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in ("common", "all"))


@pytest.fixture
def script(request, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module(request.param)


@pytest.mark.parametrize("script", SCRIPTS, indirect=True)
def test_runs_in_its_tiny_form(script, tmp_path, capsys):
    from common import main
    file = tmp_path / "study.json"
    main(script.study, script.__file__,
         ["--tiny", "--output", str(tmp_path / "plot.png"), "--json", str(file)])
    result, output = Study.from_dict(json.loads(file.read_text())), capsys.readouterr().out
    kept = load_all_studies([script.__name__])[script.__name__]
    assert not result.charts or (tmp_path / "plot.png").stat().st_size > 5000
    # the full run is of it
    assert [table.header for table in result.tables] == [table.header for table in kept.tables]
    assert result.claim == kept.claim and len(result.charts) == len(kept.charts)
    for table in result.tables:
        assert table.markdown() in output and "nan" not in table.markdown()
        assert {len(row) for row in table.rows} == {len(table.header)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_docstring_has_the_full_run(name):
    source = (FOLDER / f"{name}.py").read_text()
    _, document, code = source.split('"""', 2)
    assert document.endswith(f"\n\n{load_all_studies([name])[name].text()}\n")
    assert len([line for line in code.splitlines() if line.strip()]) <= 90


def test_the_page_has_the_claims(holds):
    holds("docs/seeing.md", "reskeras.commands.tour.tour_markdown()", "end of tour", tour_markdown())


def test_every_script_is_a_chapter_or_short():
    assert sorted(MEASURED + SHORT) == SCRIPTS


def test_the_papers_figures_are_the_papers(external_file):
    """Every error beside ours is in the collected tables, or its accuracy is."""
    known = {float(number) for number in re.findall(r"\d+\.\d+", external_file("papers.json").read_text())}
    checked = 0
    for study in load_studies().values():
        for table in study.tables:
            columns = [i for i, head in enumerate(table.header) if head.startswith("paper")
                       or head == "error (%)"]
            for figure in (f for row in table.rows for i in columns
                           for f in re.findall(r"\d+\.\d\d?", row[i])):
                assert {float(figure), round(100 - float(figure), 2)} & known, (study.title, figure)
                checked += 1
    assert checked > 25
