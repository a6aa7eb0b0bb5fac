"""Published accuracy against cost, as in "An Analysis of Deep Neural Network Models" (Canziani et al. 2016, arXiv:1605.07678)."""
from __future__ import annotations

import csv
import io
import os
import pathlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, Sequence

from .. import catalog
from ..errors import nearest
from ..variants import FAMILIES, VARIANTS
from ..weights.table import Checkpoint, get_checkpoints
from .published_costs import PUBLISHED_NETS
from .tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGENET = "imagenet-1k"
STRUCTURE = {"pixels", "bn_epsilon"}        # fields of a checkpoint that change no cost
COSTS = {"macs": ("MACs (G)", 1e9), "params": ("parameters (M)", 1e6), "latency_ms": ("latency (ms)", 1.0)}
HEADER = ("net", "checkpoint", "size", "trained on", "top-1 (%)", "parameters (M)", "MACs (G)")


@dataclass(frozen=True)
class Point:
    """A net with one checkpoint's published accuracy, and what it costs at the size at which that was measured."""
    name: str
    family: str
    tag: str                    # "" for the literature
    size: int                   # pixels
    data: str                   # what it was trained on
    top1: float                 # percent
    params: int
    macs: float
    source: str
    latency_ms: float | None = None
    best: tuple[str, ...] = ()  # the costs on whose Pareto front it is


def points(nets: Iterable[str] = (), family: str | None = None, labels: str = IMAGENET, latency: bool = False) -> list[Point]:
    """The nets that have a published accuracy, by default checkpoint unless a name has another; then the literature's.

    Arguments:
        nets: names of nets, with a checkpoint's tag or without.
        family: one of the families, or "all": every net of it that has a published accuracy.
        labels: whose validation images the accuracy is of, such as "cifar10"; the literature is on ImageNet-1k alone.
        latency: whether to time single images here.
    Raises: ValueError for an unknown name or family, a net without such an accuracy, or nothing to compare.
    """
    chosen = [named(net, labels) for net in nets] + (_of_family(family, labels) if family else [])
    if not chosen:
        raise ValueError("nothing to compare: give the names of nets or a family, such as family='resnext'")
    found = [point(w) for w in dict.fromkeys(chosen)]
    if latency:
        found = [replace(p, latency_ms=time_one(p)) for p in found]
    if labels == IMAGENET:
        found += [Point(x.name, "literature", "", x.size, "in1k", x.top1, x.params, x.macs, x.source) for x in PUBLISHED_NETS]
    fronts = {key: front([getattr(p, key) for p in found], [p.top1 for p in found]) for key in COSTS}
    return [replace(p, best=tuple(key for key, members in fronts.items() if i in members)) for i, p in enumerate(found)]


def named(net: str, labels: str) -> Checkpoint:
    row, tag, _ = catalog.find_variant(net)
    known = get_checkpoints(row.name)
    if tag and tag not in known:
        raise ValueError(f"{row.name} has no checkpoint {tag!r}{nearest(tag, known)}")
    found = measured([known[tag]] if tag else known.values(), labels)
    if not found:
        others = ", ".join(sorted({w.labels for w in known.values() if w.top1}))
        raise ValueError(f"{net}: nobody has published its accuracy on {labels}"
                         + (f"; the checkpoints that have one are on {others}" if others else ""))
    return found[0]


def _of_family(family: str, labels: str) -> list[Checkpoint]:
    if family != "all" and family not in FAMILIES:
        raise ValueError(f"family={family!r}: expected 'all' or one of {', '.join(FAMILIES)}"
                         f"{nearest(family, [*FAMILIES, 'all'])}")
    rows = catalog.list_models() if family == "all" else catalog.list_models(family=family)
    best = [measured(get_checkpoints(row).values(), labels) for row in rows]
    found = [ws[0] for ws in best if ws]
    if not found:
        raise ValueError(f"family={family!r}: no net of it has a published accuracy on {labels}")
    return found


def measured(checkpoints: Iterable[Checkpoint], labels: str) -> list[Checkpoint]:
    """Those with an accuracy on `labels`, the net's default first."""
    return sorted((w for w in checkpoints if w.top1 and w.labels == labels), key=lambda w: not w.is_default)


def point(w: Checkpoint) -> Point:
    row = VARIANTS[w.variant]
    size = w.top1_size or w.input_size
    known = catalog.read_costs()[w.variant]
    params, macs = known.params, known.macs
    if size != row.spec.input_size or w.classes != row.spec.classes or set(w.spec_fields) - STRUCTURE:
        from .cost import bill
        found = bill(w.name, size)
        params, macs = found.params, found.macs
    assert w.top1 is not None
    return Point(row.builder, row.family, w.tag, size, w.dataset, w.top1, params, macs, w.id)


def time_one(p: Point) -> float:
    """Milliseconds of one image: the median of single calls of the compiled net here, with random weights."""
    import numpy as np

    from ..exporters.report import measure_latency
    from ..exporters.keras_file import make_array_function
    from .open_model import open_model
    net = open_model(f"{catalog.list_builders()[p.name]}.{p.tag}", p.size)
    images = np.random.default_rng(0).normal(size=(1, p.size, p.size, net.input_shape[-1])).astype("float32")
    return measure_latency(make_array_function(net), images)["median"]


def front(costs: Sequence[float | None], top1: Sequence[float]) -> set[int]:
    """The numbers of the points that no other one matches at no more cost and betters in cost or accuracy."""
    known = [(cost, -accuracy, i) for i, (cost, accuracy) in enumerate(zip(costs, top1)) if cost is not None]
    members: set[int] = set()
    best, best_cost = float("-inf"), float("-inf")
    for cost, negative, i in sorted(known):
        if -negative > best or (-negative == best and cost == best_cost):
            members.add(i)
            best, best_cost = -negative, cost
    return members


def rows(found: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """The header and the lines of the table, the most accurate first."""
    timed = any(p.latency_ms for p in found)
    header = [*HEADER, *(["latency (ms)"] if timed else []), "Pareto front", "source"]
    lines = [[p.name, p.tag, str(p.size), p.data, f"{p.top1:.2f}", f"{p.params / 1e6:.2f}", f"{p.macs / 1e9:.3f}",
              *([f"{p.latency_ms:.1f}" if p.latency_ms else ""] if timed else []),
              ", ".join(COSTS[key][0].partition(" (")[0] for key in p.best), p.source]
             for p in sorted(found, key=lambda p: -p.top1)]
    return header, lines


def markdown(found: Sequence[Point]) -> str:
    return markdown_table(*rows(found))


def comma_separated(found: Sequence[Point]) -> str:
    header, lines = rows(found)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *lines])
    return file.getvalue().rstrip("\n")


def plain(found: Sequence[Point]) -> str:
    from .cost import columns
    return columns(*rows(found))


def compare(found: Sequence[Point], output: str | os.PathLike[str]) -> pathlib.Path:
    """Draws `points` to an .html page (chart and table) or a .png chart.

    Returns: its path.
    Raises: ValueError for another suffix, ImportError without matplotlib, OSError where it cannot be written.
    """
    file = pathlib.Path(output)
    if file.suffix not in (".html", ".png"):
        raise ValueError(f"{os.fspath(output)!r}: a comparison is an .html or a .png file")
    from .chart import draw_chart
    drawing = draw_chart(found, "#333333" if file.suffix == ".png" else None)
    if file.suffix == ".png":
        from .html import replaced
        with replaced(file) as new:
            drawing.savefig(new, format="png", dpi=160)
        return file
    return _write_page(found, drawing, file)


def _write_page(found: Sequence[Point], drawing: Figure, file: pathlib.Path) -> pathlib.Path:
    from . import html
    header, lines = rows(found)
    timed = [p for p in found if p.latency_ms]
    about = f" Latency: one image, the median of single calls with random weights on this machine ({os.cpu_count()} cores)."
    titles = {f"point{i}": f"{p.name} {p.tag}: {p.top1:.2f} % at {p.size} pixels, {p.params / 1e6:.2f} M parameters, "
              f"{p.macs / 1e9:.3f} G MACs" for i, p in enumerate(found)}
    search = html.tag("input", type="search", data_filters="nets", placeholder="filter", aria_label="filter")
    return html.write_page(file, html.page(
        "Accuracy against cost",
        html.tag("div", html.figure(drawing, "Top-1 accuracy as published, each at its own image size; the line is the Pareto "
                                    "front; the area of a point in the first chart grows with its parameters. Hollow: other "
                                    "families, from the literature.", titles), class_="wide chart"),
        html.section("Nets", html.tag("div", search, class_="tools"),
                     html.sortable_table(header, lines, "nets")),
        lead=f"{sum(p.family != 'literature' for p in found)} nets with published accuracies, "
             f"{sum(p.family == 'literature' for p in found)} from the literature.{about if timed else ''}",
        style="net.css", script="table.js"))
