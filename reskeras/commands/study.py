"""A claim of a paper, rerun small: what was measured, beside what the paper says, as text and as a figure."""
from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from . import html
from .tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE_WIDTH = 108     # of the text in a script's docstring


@dataclass(frozen=True)
class Table:
    """Cells of text; the caption says where the paper's figures are from."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as Markdown, without the caption."""
        return markdown_table(self.header, self.rows)


@dataclass(frozen=True)
class Chart:
    """Lines with names, each (positions, values); if the positions are words, a row of points for each
    word.

    Attributes:
        x: the title of the horizontal axis.
        y: the title of the vertical axis.
        lines: name -> (positions, values).
        log: the axes that are logarithmic: "", "x", "y" or "xy".
    """

    x: str
    y: str
    lines: Mapping[str, Sequence[Sequence[Any]]]
    log: str = ""


@dataclass(frozen=True)
class Study:
    """One chapter of the tour.

    Attributes:
        title: its heading.
        claim: what the paper says, and where.
        tables: the figures, beside the paper's.
        charts: the figures as pictures.
        finding: what the run shows of the claim, and what it does not show.
        command: what measures it again.
        run: when, for how long, with which seeds and versions, on what.
        sources: the papers' numbers on arXiv.
        verdict: of a claim about trainings: "shown", "not shown here", or how many seeds there are so far.
    """

    title: str
    claim: str
    tables: Sequence[Table]
    charts: Sequence[Chart]
    finding: str
    command: str = ""
    run: str = ""
    sources: Sequence[str] = field(default=())
    verdict: str = ""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Study:
        """Inverts `dataclasses.asdict`, even after JSON."""
        return cls(**{**fields, "tables": [Table(**table) for table in fields["tables"]],
                      "charts": [Chart(**chart) for chart in fields["charts"]]})

    def text(self) -> str:
        """The run, the tables and the finding, in lines of a docstring."""
        tables = [f"{textwrap.fill(table.caption, LINE_WIDTH)}\n\n{table.markdown()}"
                  for table in self.tables]
        return "\n\n".join([textwrap.fill(f"Full run: {self.run}", LINE_WIDTH), *tables,
                            textwrap.fill(self.finding, LINE_WIDTH)])


def draw_charts(charts: Sequence[Chart], ink: str) -> Figure:
    """The charts, one below the other, with text in a color.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a figure needs matplotlib: pip install "reskeras[pictures]"') from error
    heights = []
    for chart in charts:
        words = _list_words(chart)
        heights.append(max(1.2, 0.36 * len(words) + 0.9) if words else 3.4)
    with html.use_ink(ink):
        figure = Figure(figsize=(7, sum(heights)), layout="constrained")
        for axes, chart in zip(figure.subplots(len(charts), squeeze=False, height_ratios=heights)[:, 0],
                               charts):
            _draw(axes, chart, matplotlib.colormaps["tab10"])
    return figure


def _list_words(chart: Chart) -> list[str]:
    """The positions of a chart, if they are words."""
    positions = [position for line in chart.lines.values() for position in line[0]]
    return list(dict.fromkeys(position for position in positions if isinstance(position, str)))


def _draw(axes: Any, chart: Chart, palette: Any) -> None:
    words = _list_words(chart)[::-1]
    for i, (name, (positions, values)) in enumerate(chart.lines.items()):
        if words:
            rows = [words.index(position) for position in positions]
            axes.plot(values, rows, "os"[i % 2], color=palette(i), alpha=0.8, label=name)
        else:
            axes.plot(positions, values, color=palette(i // 2), linestyle="-" if i % 2 == 0 else "--",
                      linewidth=1.6,
                      label=name, marker="." if len(positions) < 16 else None)
    if words:
        axes.set_yticks(range(len(words)), words)
        axes.margins(y=0.5 / len(words))
    for axis in chart.log:
        axes.set(**{f"{axis}scale": "log"})
    axes.set(xlabel=chart.x, **{} if words else {"ylabel": chart.y})
    axes.grid(alpha=0.2)
    if len(chart.lines) > 1:
        axes.legend(frameon=False, fontsize=9)
