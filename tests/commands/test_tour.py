"""The tour: one page of every study's claim, command, figures and tables; in Chromium it fits and says
nothing amiss.
"""
import html
import re

import pytest
from browser import opened

from reskeras import cli
from reskeras.commands.study import Chart, draw_charts
from reskeras.commands.tour import load_studies, tour


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    pytest.importorskip("matplotlib")
    return tour(tmp_path_factory.mktemp("tour") / "tour.html")


def test_it_says_what_the_full_runs_found(file):
    text = file.read_text(encoding="utf-8")
    plain = html.unescape(re.sub(r"</?code>", "", text)).replace("`", "")
    for name, study in load_studies().items():
        assert f'<h2 id="{name}">' in text and f'href="#{name}"' in text
        for message in (study.title, study.claim, study.command, study.finding.replace("`", ""), study.run):
            assert message in plain, message
        for table in study.tables:
            cells = [html.escape(cell, quote=False) for row in table.rows for cell in row]
            assert cells and all(f"<td>{cell}</td>" in text for cell in cells)
    assert text.count("<figure") == sum(len(study.charts) for study in load_studies().values())
    assert not re.search(r"<link|@import|url\((?!#)|src=", text)


def test_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["tour", "-o", str(tmp_path / "t.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "t.html")
    assert cli.main(["tour", "-o", str(tmp_path / "t.pdf")]) == 2


def test_places_may_be_words_or_numbers():
    pytest.importorskip("matplotlib")
    words = Chart("error (%)", "", {"here": (["a", "b"], [1, 2]), "paper": (["b", "c"], [3, 4])})
    figure = draw_charts([words, Chart("epoch", "error (%)", {"a": ([1, 2], [3, 4])}, "y")], "#000000")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c", "b", "a"]
    assert figure.axes[1].get_yscale() == "log" and figure.axes[1].get_ylabel() == "error (%)"


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_in_the_browser(file, width, scheme):
    with opened(file, width, scheme=scheme) as (tab, complaints):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.eval_on_selector_all("figure svg", "all => all.every(figure => "
                                                      "figure.getBoundingClientRect().height > 80)")
        assert complaints == []
