"""The charts of a comparison."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

from . import html
from .compare import COSTS, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_chart(found: Sequence[Point], ink: str | None = None) -> Figure:
    """Accuracy over each of the costs, on a logarithmic axis; drawn in `ink`, by default in the page's own colour."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a chart needs matplotlib: pip install "reskeras[pictures]"; the table alone, as text, --markdown or '
                          "--csv, needs nothing") from error
    ink = ink or html.INK
    keys = [key for key in COSTS if any(getattr(p, key) for p in found)]
    families = list(dict.fromkeys(p.family for p in found if p.family != "literature"))
    colours = {f: matplotlib.colormaps["tab20" if len(families) > 10 else "tab10"](i) for i, f in enumerate(families)}
    with html.use_ink(ink):
        drawing = Figure(figsize=(9, 5.2 * len(keys)), layout="constrained")
        for axes, key in zip(drawing.subplots(len(keys), squeeze=False)[:, 0], keys):
            _draw_points(axes, found, key, colours, ink)
        handles, names = drawing.axes[0].get_legend_handles_labels()
        legend = drawing.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        for handle in legend.legend_handles:
            handle.set_sizes([36])      # type: ignore[union-attr]
        drawing.draw_without_rendering()        # the layout is settled only then
        for axes, key in zip(drawing.axes, keys):
            _label_points(axes, found, key)
    return drawing


def _draw_points(axes: Any, found: Sequence[Point], key: str, colours: dict[str, Any], ink: str) -> None:
    title, unit = COSTS[key]
    largest = max(p.params for p in found)
    known: set[str] = set()
    for i, p in enumerate(found):
        if (value := getattr(p, key)) is None:
            continue
        area = 14 + 500 * p.params / largest if key == "macs" else 34
        paper = p.family == "literature"
        axes.scatter([value / unit], [p.top1], s=area, alpha=0.75, gid=f"point{i}", label=None if p.family in known else p.family,
                     **({"facecolors": "none", "edgecolors": ink} if paper else {"color": [colours[p.family]], "linewidths": 0}))
        known.add(p.family)
    best = sorted((getattr(p, key) / unit, p.top1) for p in found if key in p.best)
    axes.plot(*zip(*best), color=ink, linewidth=1, alpha=0.6, label=None)
    axes.set_xscale("log")
    axes.set(xlabel=title, ylabel="top-1 accuracy (%)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.2)
    axes.margins(x=0.12, y=0.08)


PLACES = ((-6, 6, "right"), (7, -9, "left"), (7, 4, "left"), (-6, 18, "right"), (7, -21, "left"), (-6, 30, "right"))


def _label_points(axes: Any, found: Sequence[Point], key: str) -> None:
    """Names the literature and the front, and of a few nets all, each where it covers no other name; else the table has it."""
    ours = sum(p.family != "literature" for p in found)
    wanted = [p for p in found if getattr(p, key) and (p.family == "literature" or key in p.best or ours <= 12)]
    taken: list[Any] = []
    for p in sorted(wanted, key=lambda p: (p.family != "literature", key not in p.best)):
        for x, y, side in PLACES[1:] + PLACES[:1] if p.family == "literature" else PLACES:
            text = axes.annotate(p.name, (getattr(p, key) / COSTS[key][1], p.top1), xytext=(x, y), textcoords="offset points",
                                 ha=side, fontsize=8)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
