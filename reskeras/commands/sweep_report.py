"""What a sweep has found: a row for each run, and a comparison of the nets, recipes and overrides."""
from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ..files import write_text
from ..intervals import CONFIDENCE, Interval, paired_difference, standard_deviation
from ..remote_paths import join_path
from . import html
from .recorded_runs import Outcome, choose_metric
from .sweep_table import Run
from .tables import text_table, to_csv

_AXES = ("net", "recipe", "overrides")


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
        runs: all runs, in the order of the table.
        outcomes: how each of them ended.
        metric: the name of the value that is compared; "" if no run has finished.
        comparisons: one for each net, recipe and set of overrides.
        files: sweep.csv, summary.csv and sweep.html.
    """

    runs: Sequence[Run]
    outcomes: Sequence[Outcome]
    metric: str
    comparisons: Sequence[Comparison]
    files: Sequence[str | os.PathLike[str]]


def write_report(runs: Sequence[Run], outcomes: Sequence[Outcome], folder: str | os.PathLike[str],
                 metric: str | None) -> SweepResult:
    """Compares the runs, and writes sweep.csv, summary.csv and sweep.html.

    Raises:
        ArgumentError: for a metric that no run has.
        OSError: if a file cannot be written.
    """
    chosen = choose_metric(outcomes, metric)
    result = SweepResult(runs, outcomes, chosen, _compare_outcomes(runs, outcomes, chosen),
                         [join_path(folder, name) for name in ("sweep.csv", "summary.csv", "sweep.html")])
    table, summary, page = result.files
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.metrics))
    header = [*_AXES, "seed", "status", "epochs", "seconds", *names, "error"]
    rows = [[*run.configuration, run.seed, "failed" if o.error else "finished", o.epochs, o.seconds,
             *(o.metrics.get(name, "") for name in names), o.error] for run, o in zip(runs, outcomes)]
    write_text(table, to_csv(header, rows))
    write_text(summary, to_csv(
        [*_AXES, "runs", "finished", "mean", "deviation", "difference", "low", "high"],
        ([*c.configuration, c.runs, len(c.values), c.mean, c.deviation, *_list_ends(c.difference)]
         for c in result.comparisons)))
    html.write_page(page, _make_page(result, header, rows))
    return result


def _compare_outcomes(runs: Sequence[Run], outcomes: Sequence[Outcome], metric: str) -> list[Comparison]:
    """Compares the configurations with the first one, by a metric."""
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for run, outcome in zip(runs, outcomes):
        own = values.setdefault(run.configuration, {})
        counts[run.configuration] = counts.get(run.configuration, 0) + 1
        if metric in outcome.metrics:
            own[run.seed] = outcome.metrics[metric]
    first = next(iter(values.values()))
    return [Comparison(configuration, own, counts[configuration],
                       None if own is first else paired_difference(first, own))
            for configuration, own in values.items()]


def format_summary(result: SweepResult) -> str:
    """The comparison as a table in plain text, and the errors of the runs that have failed."""
    lines = [text_table(*_summarize(result))]
    lines += [f"{o.name} has failed: {o.error}" for o in result.outcomes if o.error]
    return "\n".join(lines)


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


def _make_page(result: SweepResult, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> html.Html:
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    failed = sum(bool(o.error) for o in result.outcomes)
    return html.page(
        "Sweep", html.section("Comparison", html.table(*_summarize(result)), html.tag("p", (
            f"Mean and standard deviation of {result.metric} in the last epoch, over the seeds. The "
            "difference is that from the first row, in pairs of the same seed, with its interval of "
            f"{CONFIDENCE:.0%} (Student's t)."), class_="small")),
        html.section("Runs", html.table(header, cells, wraps=True)),
        lead=f"{len(result.outcomes)} runs" + (f", {failed} of which have failed" if failed else ""))


def _list_ends(interval: Interval | None) -> list[Any]:
    if interval is None:
        return ["", "", ""]
    ends = [end if math.isfinite(end) else "" for end in (interval.low, interval.high)]
    return [interval.mean, *ends]
