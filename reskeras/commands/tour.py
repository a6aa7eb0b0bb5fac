"""The tour: the papers' claims, one after the other, as `examples/papers` measured them, on one page for a lecture."""
from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

from . import html
from .study import Chart, Study, Table, draw_charts

STUDIES_FILE = pathlib.Path(__file__).with_name("tour.json")      # written by the scripts' --keep
CHAPTERS = ("degradation", "depth", "shortcuts", "versions", "wide", "cardinality", "attention", "stochastic_depth", "inception",
            "scaling")


def load_studies() -> dict[str, Study]:
    """Script -> what its full run found, in the order of the tour; without those that were not run in full yet."""
    known = json.loads(STUDIES_FILE.read_text(encoding="utf-8"))
    return {name: Study.of(known[name]) for name in CHAPTERS if name in known}


def _missing() -> list[str]:
    """The commands of those."""
    return [f"python examples/papers/{name}.py" for name in CHAPTERS if name not in load_studies()]


def tour(output: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the page.  Returns: its path.

    Raises: ValueError for another suffix than .html, ImportError without matplotlib, OSError where it cannot be written.
    """
    known = load_studies()
    later = [part for command in _missing() for part in (" ", html.tag("code", command))]
    links = (html.tag("li", html.tag("a", study.title, href=f"#{name}")) for name, study in known.items())
    return html.write_page(output, html.page(
        "The papers' claims, rerun small", html.tag("ol", *links, class_="chapters"),
        *(_chapter(name, study) for name, study in known.items()), *[html.tag("p", "Not run in full yet:", *later)] * bool(later),
        lead="Each claim with its figure, the command that measures it again, our numbers and the paper's.", style="tour.css"))


def tour_markdown() -> str:
    """For docs/seeing.md: the claims with their commands, and the table of the first."""
    known = load_studies()
    lines = ["| claim | command |", "|---|---|", *(f"| {study.title} | `{study.command}` |" for study in known.values())]
    lines += [f"| not run in full yet | `{command}` |" for command in _missing()]
    first, _ = known["degradation"].tables
    return "\n".join([*lines, "", f"{first.caption} {known['degradation'].run}", "", first.markdown(), "",
                      known["degradation"].found])


def _chapter(name: str, study: Study) -> html.Html:
    papers = [part for number in study.sources for part in (" ", html.tag("a", f"arXiv:{number}",
                                                                          href=f"https://arxiv.org/abs/{number}"))]
    figures = [html.tag("div", html.figure(draw_charts([chart], html.INK), _chart_caption(chart)), class_="wide chart")
               for chart in study.charts]
    tables = [part for table in study.tables for part in (html.tag("p", *_marked(table.caption), class_="small"), _cells(table))]
    return html.tag("section", html.tag("h2", study.title, id=name), html.tag("blockquote", study.claim, *papers),
                    html.tag("pre", html.tag("code", study.command)), *figures, *tables,
                    html.tag("p", *_marked(study.found), class_="found"), html.tag("p", study.run, class_="small"))


def _chart_caption(chart: Chart) -> str:
    """A caption, where the chart has no legend to say what it is of."""
    return "" if len(chart.lines) > 1 else f"{chart.y or chart.x}: {', '.join(chart.lines)}"


def _cells(table: Table) -> html.Html:
    return html.table(table.header, table.rows)


def _marked(text: str) -> list[Any]:
    """Text with `code` in it."""
    return [html.tag("code", part) if i % 2 else part for i, part in enumerate(re.split("`", text))]
