"""`tour`: the papers' claims as `examples/papers` measured them, on one page for a lecture."""
from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

from ..terminal import print_text
from . import html
from .study import Chart, Study, draw_charts

STUDIES_FILE = pathlib.Path(__file__).with_name("tour.json")      # written by the scripts, with --keep
CHAPTERS = ("degradation", "depth", "shortcuts", "versions", "wide", "cardinality", "attention",
            "stochastic_depth",
            "inception", "scaling")


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
    links = (html.tag("li", html.tag("a", study.title, href=f"#{name}")) for name, study in studies.items())
    missing = [part for command in _list_missing_commands() for part in (" ", html.tag("code", command))]
    return html.write_page(output, html.page(
        "The papers' claims, rerun small", html.tag("ol", *links, class_="chapters"),
        *(_chapter(name, study) for name, study in studies.items()),
        *([html.tag("p", "Not run in full yet:", *missing)] if missing else []),
        lead="Each claim with its figure, the command that measures it again, our numbers and the paper's.",
        style="tour.css"))


def print_result(page: pathlib.Path) -> int:
    """Prints the path of the page.  Returns: the exit code."""
    print_text(page)
    return 0


def load_studies() -> dict[str, Study]:
    """Maps the name of a script to the result of its full run, in the order of the tour."""
    saved = json.loads(STUDIES_FILE.read_text(encoding="utf-8"))
    return {name: Study.from_dict(saved[name]) for name in CHAPTERS if name in saved}


def tour_markdown() -> str:
    """Formats for docs/seeing.md the claims with their commands, and the table of the first."""
    studies = load_studies()
    lines = ["| claim | command |", "|---|---|",
             *(f"| {study.title} | `{study.command}` |" for study in studies.values())]
    lines += [f"| not run in full yet | `{command}` |" for command in _list_missing_commands()]
    degradation = studies["degradation"]
    errors, _ = degradation.tables
    return "\n".join([*lines, "", f"{errors.caption} {degradation.run}", "", errors.markdown(), "",
                      degradation.finding])


def _list_missing_commands() -> list[str]:
    """The commands of the scripts that were not run in full yet."""
    return [f"python examples/papers/{name}.py" for name in CHAPTERS if name not in load_studies()]


def _chapter(name: str, study: Study) -> html.Html:
    papers = [part for number in study.sources
              for part in (" ", html.tag("a", f"arXiv:{number}", href=f"https://arxiv.org/abs/{number}"))]
    figures = [html.tag("div", html.figure(draw_charts([chart], html.INK), _chart_caption(chart)),
                        class_="wide chart")
               for chart in study.charts]
    tables = [part for table in study.tables for part in (
        html.tag("p", *_convert_code(table.caption), class_="small"), html.table(table.header, table.rows))]
    return html.tag("section", html.tag("h2", study.title, id=name),
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
