"""The chart and the page of `recipes compare`."""
from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any, Sequence

from ..train.recipe_results import TRAINING_IMAGES
from . import html
from .chart import import_matplotlib, write_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .recipes_compare import RecipeCost


def draw_recipes(costs: Sequence[RecipeCost], ink: str | None = None) -> Figure:
    """Draws accuracy over what a training computes, with the Pareto front.

    Each data set with several trainings has a chart of its own.

    Args:
        costs: the trainings; those without an accuracy are left out.
        ink: the color of text and frames; by default that of the page's own text.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure
    ink = ink or html.INK
    known = [(i, cost) for i, cost in enumerate(costs) if cost.top1 is not None]
    groups = [points for data in TRAINING_IMAGES
              if (points := [(i, cost) for i, cost in known if cost.data == data])]
    # a single training is compared with nothing
    groups = [points for points in groups if len(points) > 1] or groups
    with html.use_ink(ink):
        drawing = Figure(figsize=(9, 4.8 * max(len(groups), 1)), layout="constrained")
        for points, axes in zip(groups, drawing.subplots(len(groups), squeeze=False)[:, 0] if groups else ()):
            _draw_points(axes, points, ink, matplotlib.colormaps["tab20"])
        drawing.draw_without_rendering()        # only now is the layout known, which the names need
        for points, axes in zip(groups, drawing.axes):
            _label_points(axes, [cost for _, cost in points])
    return drawing


def _draw_points(axes: Any, points: Sequence[tuple[int, RecipeCost]], ink: str, colors: Any) -> None:
    families = list(dict.fromkeys(cost.recipe.partition("/")[0] for _, cost in points))
    for i, cost in points:
        color = colors(families.index(cost.recipe.partition("/")[0]) % 20)
        axes.scatter([cost.pflop], [cost.top1], s=34, color=[color], alpha=0.8, linewidths=0, gid=f"point{i}")
    front = sorted((cost.pflop, cost.top1) for _, cost in points if cost.is_best)
    axes.plot(*zip(*front), color=ink, linewidth=1, alpha=0.6)
    axes.set_xscale("log")
    axes.set(xlabel="operations of the training (PFLOP)", ylabel="top-1 accuracy (%)",
             title=points[0][1].data)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.2)
    axes.margins(x=0.12, y=0.1)


def _label_points(axes: Any, costs: Sequence[RecipeCost]) -> None:
    """Writes the recipes' names, those of the front first, where they do not overlap."""
    boxes: list[Any] = []
    for cost in sorted(costs, key=lambda cost: not cost.is_best):
        write_name(axes, cost.recipe, (cost.pflop, cost.top1), boxes)


def write_recipes_page(costs: Sequence[RecipeCost], header: Sequence[str], rows: Sequence[Sequence[str]],
                       output: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the page.

    Args:
        costs: the trainings.
        header: the headings of the table.
        rows: its rows.
        output: the file.

    Returns:
        Its path.
    """
    titles = {f"point{i}": f"{c.recipe}, {c.net}: {c.top1:.2f} % for {c.pflop:,.4g} PFLOP"
              for i, c in enumerate(costs) if c.top1 is not None}
    caption = ("Top-1 accuracy as its source gives it, over the operations of the whole training; the line "
               "is the Pareto front: no other training here is as accurate for less.")
    lead = (f"{len(costs)} trainings. PFLOP: images × multiply-accumulates × 3 (the backward pass costs "
            "twice as much as the forward pass) × 2 operations, in 10¹⁵.")
    search = html.tag("input", type="search", data_filters="recipes", placeholder="filter",
                      aria_label="filter")
    chart = [html.tag("div", html.figure(draw_recipes(costs), caption, titles), class_="wide chart")]
    return html.write_page(output, html.page(
        "Recipes: accuracy against cost", *(chart if titles else ()),
        html.section("Recipes", html.tag("div", search, class_="tools"),
                     html.sortable_table(header, rows, "recipes")),
        lead=lead, style="net.css", script="table.js"))
