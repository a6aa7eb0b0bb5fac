"""`compare`: published accuracy against cost, as in Canziani et al. 2016 (arXiv:1605.07678)."""
from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Sequence

from ..errors import ArgumentError, check_paths
from .comparison import COSTS, IMAGENET, LITERATURE, Point, find_points
from .tables import print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("net", "checkpoint", "size", "trained on", "top-1 (%)", "parameters (M)", "MACs (G)")


@dataclass(frozen=True)
class Comparison:
    """The nets of a comparison, and the file with its chart if one was written."""

    points: list[Point]
    file: pathlib.Path | None = None


def compare(models: Iterable[str] = (), *, family: str | None = None, labels: str = IMAGENET,
            literature: bool = False, latency: bool = False,
            output: str | os.PathLike[str] | None = None) -> Comparison:
    """Compares nets: published accuracy against multiply-accumulates, parameters and, if wanted, time.

    Each net is compared with its default checkpoint, unless its name contains another tag.

    Args:
        models: names of nets, with a checkpoint's tag ("resnet50d.ra2_in1k") or without; "keras/VGG16" and
            the other nets of keras.applications, which Keras builds.
        family: one family, or "all": adds every net of the family with a published accuracy.
        labels: the label set of the validation images, such as "cifar10".
        literature: whether a few nets of other families are added, with the numbers of their papers; they
            were validated on ImageNet-1k.
        latency: whether to time one image here, with random weights.
        output: an .html page (chart and table) or a .png chart to write.

    Returns:
        A `Comparison` with the points, one for each net.

    Raises:
        ArgumentError: for models in place of names, an unknown family, nothing to compare, `literature` with
            other labels, or an unsupported suffix of `output`.
        ValueError: for an unknown name, or a net without a published accuracy.
        ImportError: if a chart is wanted and matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:
        >>> reskeras.compare(["resnet50v1_5"]).points[0].top1
        80.38
    """
    suffix = pathlib.Path(output).suffix if output else ""
    if output and suffix not in (".html", ".png"):
        raise ArgumentError("output", os.fspath(output), "the name of an .html or a .png file")
    names = check_paths("models", models, "a list of the names of nets", hint=(
        "published accuracies are compared, which a model does not have; reskeras.cost counts one, "
        "reskeras.evaluate measures it"))
    points = find_points(names, family, labels, literature, latency)
    if not output:
        return Comparison(points)

    from .chart import PNG_INK, draw_chart, write_png
    if suffix == ".png":
        return Comparison(points, write_png(draw_chart(points, PNG_INK), output))
    return Comparison(points, _write_page(points, draw_chart(points), output))


def print_result(comparison: Comparison, markdown: bool = False, csv: bool = False) -> int:
    """Prints the table (not if only a file was requested), then the file's path.  Returns: the exit code."""
    print_table(*make_rows(comparison.points), comparison.file, markdown=markdown, csv=csv)
    return 0


def make_rows(points: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table, the most accurate first."""
    has_latency = any(point.latency_ms for point in points)
    header = [*HEADER, *(["latency (ms)"] if has_latency else []), "Pareto front", "source"]
    rows = []
    for p in sorted(points, key=lambda point: -point.top1):
        latency = [f"{p.latency_ms:.1f}" if p.latency_ms else ""] if has_latency else []
        front = ", ".join(COSTS[key][0].partition(" (")[0] for key in p.best)
        rows.append([p.name, p.tag, str(p.size), p.data, f"{p.top1:.2f}", f"{p.params / 1e6:.2f}",
                     f"{p.macs / 1e9:.3f}",
                     *latency, front, p.source])
    return header, rows


def _write_page(points: Sequence[Point], drawing: Figure, output: str | os.PathLike[str]) -> pathlib.Path:
    from . import html
    header, rows = make_rows(points)
    others = sum(p.family == LITERATURE for p in points)
    introduction = (f"{len(points) - others} nets with published accuracies"
                    + (f", {others} from the literature." if others else "."))
    if any(p.latency_ms for p in points):
        introduction += (" Latency: one image, the median of single calls with random weights on this "
                         f"machine ({os.cpu_count()} cores).")
    caption = ("Top-1 accuracy as published, each at its own image size; the line is the Pareto front; the "
               "area of a point in "
               "the first chart is larger for more parameters."
               + (" Hollow points: other families, from papers." if others else ""))
    titles = {f"point{i}": f"{p.name} {p.tag}: {p.top1:.2f} % at {p.size} pixels, {p.params / 1e6:.2f} M "
                           f"parameters, "
              f"{p.macs / 1e9:.3f} G MACs" for i, p in enumerate(points)}
    search = html.tag("input", type="search", data_filters="nets", placeholder="filter", aria_label="filter")
    return html.write_page(output, html.page(
        "Accuracy against cost",
        html.tag("div", html.figure(drawing, caption, titles), class_="wide chart"),
        html.section("Nets", html.tag("div", search, class_="tools"),
                     html.sortable_table(header, rows, "nets")),
        lead=introduction, style="net.css", script="table.js"))
