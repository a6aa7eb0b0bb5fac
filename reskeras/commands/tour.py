"""`tour`: the papers' claims as `examples` measured them, on one page for a lecture."""
from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any, Sequence

from ..terminal import print_text
from . import html
from .study import Chart, Study, draw_charts

STUDIES_FILE = pathlib.Path(__file__).with_name("tour.json")      # written by the scripts, with --keep
# What hours of training show, from examples/experiments/rows.jsonl
TRAINED = ("trained_degradation", "trained_gain", "trained_versions", "trained_cardinality",
           "trained_stochastic_depth")
# Costs, times and constructions, by the scripts of these names in examples/papers
MEASURED = ("degradation", "depth", "versions", "cardinality", "stochastic_depth", "inception")
# Scripts whose claims are about trainings, of which they do minutes: that decides nothing
SHORT = ("shortcuts", "wide", "attention", "scaling")


def tour(output: str | os.PathLike[str] = "tour.html") -> pathlib.Path:
    """Writes a page of all claims, each with its figure, its command, our numbers and the paper's.

    Args:
        output: the page, an .html file.

    Returns:
        The path of the page.

    Raises:
        ValueError: for a suffix other than .html.
        ImportError: if matplotlib is not installed.
        OSError: if it cannot be written.
    """
    html.check_suffix(output)
    studies = load_studies()
    links = (html.tag("li", html.tag("a", study.title, href=f"#{name}"),
                      f": {study.verdict}" if study.verdict else "") for name, study in studies.items())
    short = [part for name in SHORT for part in (" ", html.tag("code", f"python examples/papers/{name}.py"))]
    return html.write_page(output, html.page(
        "The papers' claims, rerun small", html.tag("ol", *links, class_="chapters"),
        *(_chapter(name, study) for name, study in studies.items()),
        html.tag("p", "Trainings of minutes, which decide nothing and are not shown:", *short),
        lead="Each claim with its figure, the command that measures it again, our numbers and the paper's; "
             "what is said of trainings has its seeds, its interval, and a verdict.",
        style="tour.css"))


def print_result(page: pathlib.Path) -> int:
    """Prints the path of the page.  Returns: the exit code."""
    print_text(page)
    return 0


def load_studies() -> dict[str, Study]:
    """Maps the name of a chapter to its result, in the order of the tour."""
    return load_all_studies(TRAINED + MEASURED)


def load_all_studies(names: Sequence[str]) -> dict[str, Study]:
    """The results of these names."""
    saved = json.loads(STUDIES_FILE.read_text(encoding="utf-8"))
    return {name: Study.from_dict(saved[name]) for name in names}


def tour_markdown() -> str:
    """Formats for docs/seeing.md the claims with verdicts and commands, and the tables of the trainings."""
    studies = load_studies()
    lines = ["| claim | verdict | command |", "|---|---|---|",
             *(f"| {study.title} | {study.verdict or 'measured'} | `{study.command}` |"
               for study in studies.values())]
    for name in TRAINED:
        study = studies[name]
        lines += ["", f"**{study.title}.** {study.claim} {study.finding} {study.run}"]
        for table in study.tables:
            lines += ["", table.caption, "", table.markdown()]
    return "\n".join(lines)


def _chapter(name: str, study: Study) -> html.Html:
    papers = [part for number in study.sources
              for part in (" ", html.tag("a", f"arXiv:{number}", href=f"https://arxiv.org/abs/{number}"))]
    figures = [html.tag("div", html.figure(draw_charts([chart], html.INK), _chart_caption(chart)),
                        class_="wide chart")
               for chart in study.charts]
    tables = [part for table in study.tables for part in (
        html.tag("p", *_convert_code(table.caption), class_="small"), html.table(table.header, table.rows))]
    verdict = [html.tag("p", html.tag("b", study.verdict))] if study.verdict else []
    return html.tag("section", html.tag("h2", study.title, id=name), *verdict,
                    html.tag("blockquote", study.claim, *papers),
                    html.tag("pre", html.tag("code", study.command)), *figures, *tables,
                    html.tag("p", *_convert_code(study.finding), class_="finding"),
                    html.tag("p", study.run, class_="small"))


def _chart_caption(chart: Chart) -> str:
    """What a chart shows, if it has no legend that says it."""
    return "" if len(chart.lines) > 1 else f"{chart.y or chart.x}: {', '.join(chart.lines)}"


def _convert_code(text: str) -> list[Any]:
    """Converts text with `code` in it to HTML."""
    return [html.tag("code", part) if i % 2 else part for i, part in enumerate(re.split("`", text))]
