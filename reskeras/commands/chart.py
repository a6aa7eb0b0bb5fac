"""The charts of a comparison."""
from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any, Sequence

from ..files import atomic_write
from . import html
from .comparison import COSTS, LITERATURE, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_INK = "#333333"
# Where the name of a point may stand: x and y from the point, and which side of the text is there
PLACES = ((-6, 6, "right"), (7, -9, "left"), (7, 4, "left"), (-6, 18, "right"), (7, -21, "left"),
          (-6, 30, "right"))


def draw_chart(points: Sequence[Point], ink: str | None = None) -> Figure:
    """Draws accuracy over each of the costs, on a logarithmic axis.

    Args:
        points: the points of a comparison.
        ink: the color of text and frames; by default that of the page's own text.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure
    ink = ink or html.INK
    keys = [key for key in COSTS if any(getattr(p, key) for p in points)]
    families = list(dict.fromkeys(p.family for p in points if p.family != LITERATURE))
    palette = matplotlib.colormaps["tab20" if len(families) > 10 else "tab10"]
    colors = {family: palette(i) for i, family in enumerate(families)}
    with html.use_ink(ink):
        drawing = Figure(figsize=(9, 5.2 * len(keys)), layout="constrained")
        for axes, key in zip(drawing.subplots(len(keys), squeeze=False)[:, 0], keys):
            _draw_points(axes, points, key, colors, ink)
        handles, names = drawing.axes[0].get_legend_handles_labels()
        legend = drawing.legend(handles, names, loc="outside lower center", ncols=5, frameon=False,
                                fontsize=9)
        for handle in legend.legend_handles:
            handle.set_sizes([36])      # type: ignore[union-attr]
        drawing.draw_without_rendering()        # only now is the layout known, which the names need
        for axes, key in zip(drawing.axes, keys):
            _label_points(axes, points, key)
    return drawing


def import_matplotlib() -> Any:
    """Imports matplotlib.  Raises: ImportError with the extra that has it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('a chart needs matplotlib: pip install "reskeras[pictures]"; the table alone, as '
                          'text, --markdown '
                          "or --csv, needs nothing") from error
    return matplotlib


def _draw_points(axes: Any, points: Sequence[Point], key: str, colors: dict[str, Any], ink: str) -> None:
    title, unit = COSTS[key]
    largest = max(p.params for p in points)
    families_drawn: set[str] = set()        # each is in the legend once
    for i, p in enumerate(points):
        if (value := getattr(p, key)) is None:
            continue
        area = 14 + 500 * p.params / largest if key == "macs" else 34
        style: dict[str, Any] = {"facecolors": "none", "edgecolors": ink}
        if p.family != LITERATURE:
            style = {"color": [colors[p.family]], "linewidths": 0}
        label = None if p.family in families_drawn else p.family
        axes.scatter([value / unit], [p.top1], s=area, alpha=0.75, gid=f"point{i}", label=label, **style)
        families_drawn.add(p.family)

    front = sorted((getattr(p, key) / unit, p.top1) for p in points if key in p.best)
    axes.plot(*zip(*front), color=ink, linewidth=1, alpha=0.6, label=None)
    axes.set_xscale("log")
    axes.set(xlabel=title, ylabel="top-1 accuracy (%)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.2)
    axes.margins(x=0.12, y=0.08)


def _label_points(axes: Any, points: Sequence[Point], key: str) -> None:
    """Writes the names of points: of the literature and the front, or of all if they are few."""
    count = sum(p.family != LITERATURE for p in points)
    named = [p for p in points if getattr(p, key)
             and (p.family == LITERATURE or key in p.best or count <= 12)]
    boxes = [legend.get_window_extent() for legend in axes.figure.legends]
    for p in sorted(named, key=lambda p: (p.family != LITERATURE, key not in p.best)):
        places = PLACES[1:] + PLACES[:1] if p.family == LITERATURE else PLACES
        write_name(axes, p.name, (getattr(p, key) / COSTS[key][1], p.top1), boxes, places)


def write_name(axes: Any, name: str, point: tuple[Any, Any], boxes: list[Any],
               places: Sequence[tuple[int, int, str]] = PLACES) -> None:
    """Writes the name of a point at the first place where it overlaps no other text, if there is one.

    Args:
        axes: of the chart, whose layout is known.
        name: what is written.
        point: x and y.
        boxes: of the texts that are there; that of the name is added.
        places: offsets and alignments to try.
    """
    area = axes.get_window_extent()
    for x, y, side in places:
        text = axes.annotate(name, point, xytext=(x, y), textcoords="offset points", ha=side, fontsize=8)
        text.set_in_layout(False)       # else the layout changes, and with it where all the names are
        box = text.get_window_extent()
        if area.x0 <= box.x0 and box.x1 <= area.x1 and not any(map(box.overlaps, boxes)):
            boxes.append(box)
            return
        text.remove()


def write_png(drawing: Figure, output: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a chart as a .png.  Returns: its path."""
    with atomic_write(output) as new:
        drawing.savefig(new, format="png", dpi=160)
    return pathlib.Path(output)
