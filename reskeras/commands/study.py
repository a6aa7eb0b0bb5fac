"""A claim of a paper, rerun small: what was measured, beside what the paper has, as text and as a figure."""
from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from . import html
from .tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE_WIDTH = 128     # of a docstring's line


@dataclass(frozen=True)
class Table:
    """Cells of text; the caption says where the paper's figures are from."""
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        return markdown_table(self.header, self.rows)


@dataclass(frozen=True)
class Chart:
    """Named lines, each (places, values); where the places are words, a row of points for each word.

    Arguments:
        log: the axes that are logarithmic: "", "x", "y" or "xy".
    """
    x: str
    y: str
    lines: Mapping[str, Sequence[Sequence[Any]]]
    log: str = ""


@dataclass(frozen=True)
class Study:
    """One chapter of the tour.

    Arguments:
        claim: what the paper says, and where.
        found: what the run shows of it, and what it does not.
        command: what measures it again.
        run: when, for how long, with which seeds and versions, on what.
    """
    title: str
    claim: str
    tables: Sequence[Table]
    charts: Sequence[Chart]
    found: str
    command: str = ""
    run: str = ""
    sources: Sequence[str] = field(default=())      # arXiv numbers

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Study:
        """A study out of `dataclasses.asdict`, by way of JSON."""
        return cls(**{**kept, "tables": [Table(**table) for table in kept["tables"]],
                      "charts": [Chart(**chart) for chart in kept["charts"]]})

    def text(self) -> str:
        """What was measured and found, in lines of a docstring."""
        tables = [f"{textwrap.fill(table.caption, LINE_WIDTH)}\n\n{table.markdown()}" for table in self.tables]
        return "\n\n".join([textwrap.fill(f"Full run: {self.run}", LINE_WIDTH), *tables, textwrap.fill(self.found, LINE_WIDTH)])


def draw_charts(charts: Sequence[Chart], ink: str) -> Figure:
    """The charts under each other.  Raises: ImportError without matplotlib."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a figure needs matplotlib: pip install "reskeras[pictures]"') from error
    heights = [max(1.2, 0.36 * len(_category_names(chart)) + 0.9) if _category_names(chart) else 3.4 for chart in charts]
    with html.use_ink(ink):
        figure = Figure(figsize=(7, sum(heights)), layout="constrained")
        for axes, chart in zip(figure.subplots(len(charts), squeeze=False, height_ratios=heights)[:, 0], charts):
            _draw(axes, chart, matplotlib.colormaps["tab10"])
    return figure


def _category_names(chart: Chart) -> list[str]:
    """The places, where they are words."""
    return list(dict.fromkeys(x for places, _ in chart.lines.values() for x in places if isinstance(x, str)))


def _draw(axes: Any, chart: Chart, colours: Any) -> None:
    known = _category_names(chart)[::-1]
    for i, (name, (places, values)) in enumerate(chart.lines.items()):
        if known:
            axes.plot(values, [known.index(x) for x in places], "os"[i % 2], color=colours(i), alpha=0.8, label=name)
        else:
            axes.plot(places, values, color=colours(i // 2), linestyle="-" if i % 2 == 0 else "--", linewidth=1.6, label=name,
                      marker="." if len(places) < 16 else None)
    if known:
        axes.set_yticks(range(len(known)), known)
        axes.margins(y=0.5 / len(known))
    for axis in chart.log:
        axes.set(**{f"{axis}scale": "log"})
    axes.set(xlabel=chart.x, **{} if known else {"ylabel": chart.y})
    axes.grid(alpha=0.2)
    if len(chart.lines) > 1:
        axes.legend(frameon=False, fontsize=9)
