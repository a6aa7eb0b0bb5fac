"""What a sweep has found: a row for each run, and a comparison of the nets, recipes and overrides."""
from __future__ import annotations

import csv
import io
import math
import pathlib
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from ..errors import ArgumentError
from ..files import write_text
from ..intervals import CONFIDENCE, Interval, paired_difference, standard_deviation
from . import html
from .sweep_table import Run
from .tables import text_table

_AXES = ("net", "recipe", "overrides")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: the run.
        metrics: the values of the last epoch, by name; empty if the run has failed.
        epochs: how many epochs it has trained.
        seconds: the time of the call that ended it.
        error: what went wrong; "" if nothing did.
    """

    run: Run
    metrics: Mapping[str, float]
    epochs: int
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """One net, recipe and set of overrides, over the seeds.

    Attributes:
        configuration: the net, the recipe and the name of the overrides.
        values: seed -> the metric in the last epoch.
        runs: how many runs it has, with those that failed.
        difference: by how much its values are larger than those of the first configuration, in pairs of the
            same seed, with the interval of 95 %; None for the first, and without a common seed.
    """

    configuration: tuple[str, str, str]
    values: Mapping[int, float]
    runs: int
    difference: Interval | None = None

    @property
    def mean(self) -> float:
        """The mean over the seeds; NaN if none has finished."""
        return sum(self.values.values()) / len(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds (n - 1); NaN for fewer than two."""
        return standard_deviation(list(self.values.values()))


@dataclass(frozen=True)
class SweepResult:
    """The outcomes of a sweep.

    Attributes:
        outcomes: of all runs, in the order of the table.
        metric: the name of the value that is compared; "" if no run has finished.
        comparisons: one for each net, recipe and set of overrides.
        files: sweep.csv, summary.csv and sweep.html.
    """

    outcomes: Sequence[Outcome]
    metric: str
    comparisons: Sequence[Comparison]
    files: Sequence[pathlib.Path]


def write_report(outcomes: Sequence[Outcome], folder: pathlib.Path, metric: str | None) -> SweepResult:
    """Compares the runs, and writes sweep.csv, summary.csv and sweep.html.

    Raises:
        ArgumentError: for a metric that no run has.
        OSError: if a file cannot be written.
    """
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.metrics))
    if metric is not None and names and metric not in names:
        raise ArgumentError("metric", metric, f"one of {', '.join(names)}", names)
    chosen = metric or _choose_metric(names)
    result = SweepResult(outcomes, chosen, compare_outcomes(outcomes, chosen),
                         [folder / name for name in ("sweep.csv", "summary.csv", "sweep.html")])
    runs, summary, page = result.files
    header = [*_AXES, "seed", "status", "epochs", "seconds", *names, "error"]
    write_text(runs, _to_csv(header, ([
        *o.run.configuration, o.run.seed, "failed" if o.error else "finished", o.epochs, o.seconds,
        *(o.metrics.get(name, "") for name in names), o.error] for o in outcomes)))
    write_text(summary, _to_csv(
        [*_AXES, "runs", "finished", "mean", "deviation", "difference", "low", "high"],
        ([*c.configuration, c.runs, len(c.values), c.mean, c.deviation, *_list_ends(c.difference)]
         for c in result.comparisons)))
    html.write_page(page, _make_page(result, header))
    return result


def compare_outcomes(outcomes: Sequence[Outcome], metric: str) -> list[Comparison]:
    """Compares the configurations with the first one, by a metric."""
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    runs: dict[tuple[str, str, str], int] = {}
    for outcome in outcomes:
        configuration = outcome.run.configuration
        own = values.setdefault(configuration, {})
        runs[configuration] = runs.get(configuration, 0) + 1
        if metric in outcome.metrics:
            own[outcome.run.seed] = outcome.metrics[metric]
    first = next(iter(values.values()))
    return [Comparison(configuration, own, runs[configuration],
                       None if own is first else paired_difference(first, own))
            for configuration, own in values.items()]


def format_summary(result: SweepResult) -> str:
    """The comparison as a table in plain text, and the errors of the runs that have failed."""
    lines = [text_table(*_summarize(result))]
    lines += [f"{o.run.name} has failed: {o.error}" for o in result.outcomes if o.error]
    return "\n".join(lines)


def _choose_metric(names: Sequence[str]) -> str:
    for name in ("val_accuracy", *(n for n in names if n.startswith("val_") and n != "val_loss"), "val_loss",
                 "accuracy", "loss"):
        if name in names:
            return name
    return ""


def _summarize(result: SweepResult) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the comparison."""
    rows = []
    for c in result.comparisons:
        difference = "" if c.difference is None else f"{c.difference.mean:+.4g}"
        ends = "" if c.difference is None or c.difference.count < 2 else (
            f"{c.difference.low:+.4g} to {c.difference.high:+.4g}")
        rows.append([" ".join(part for part in c.configuration if part), f"{len(c.values)} of {c.runs}",
                     *("" if math.isnan(v) else f"{v:.4g}" for v in (c.mean, c.deviation)), difference, ends])
    return ["", "runs", result.metric or "no run has finished", "deviation", "from the first",
            f"{CONFIDENCE:.0%} interval"], rows


def _make_page(result: SweepResult, header: Sequence[str]) -> html.Html:
    names = header[7:-1]
    rows = [[*o.run.configuration, o.run.seed, "failed" if o.error else "finished", o.epochs,
             f"{o.seconds:.0f}", *(f"{o.metrics[n]:.4g}" if n in o.metrics else "" for n in names), o.error]
            for o in result.outcomes]
    failed = sum(bool(o.error) for o in result.outcomes)
    return html.page(
        "Sweep", html.section("Comparison", html.table(*_summarize(result)), html.tag("p", (
            f"Mean and standard deviation of {result.metric} in the last epoch, over the seeds. The "
            "difference is that from the first row, in pairs of the same seed, with its interval of "
            f"{CONFIDENCE:.0%} (Student's t)."), class_="small")),
        html.section("Runs", html.table(header, rows, wraps=True)),
        lead=f"{len(result.outcomes)} runs" + (f", {failed} of which have failed" if failed else ""))


def _list_ends(interval: Interval | None) -> list[Any]:
    if interval is None:
        return ["", "", ""]
    ends = [end if math.isfinite(end) else "" for end in (interval.low, interval.high)]
    return [interval.mean, *ends]


def _to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value != value else value for value in row] for row in rows])
    return text.getvalue()
