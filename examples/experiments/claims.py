"""The papers' claims as differences between cases, and the verdict that the rows give."""
from __future__ import annotations

import json
import math
import pathlib
import statistics
from dataclasses import dataclass
from typing import Any, Callable

from cases import CASES, PLANS

from reskeras.intervals import Interval, confidence_interval, standard_deviation

ROWS = pathlib.Path(__file__).with_name("rows.jsonl")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Statement:
    """One sentence of a paper, as a difference that should be positive (or negative).

    Attributes:
        text: what the paper says.
        value: "train_error" or "test_error", in percent.
        first, second: cases; the difference is the second minus the first.
        sign: 1 or -1, that of the difference in the paper.
        less: two other cases, whose difference is subtracted.
        paper: the paper's figures.
    """

    text: str
    value: str
    first: str
    second: str
    sign: int
    less: tuple[str, str] | tuple[()] = ()
    paper: str = ""


@dataclass(frozen=True)
class Claim:
    """A paper's claim: statements that together decide it, and what it means if they do not hold."""

    title: str
    text: str
    statements: tuple[Statement, ...]
    source: str
    diagnosis: Callable[[Rows], str]


# %% Rows
def read_rows(path: pathlib.Path = ROWS) -> Rows:
    """The rows whose settings are those of cases.py."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["case"] in CASES and CASES[row["case"]].settings == row["settings"]]


def values(rows: Rows, case: str, value: str) -> dict[int, float]:
    """Seed -> value."""
    return {row["seed"]: row[value] for row in rows if row["case"] == case}


def mean(rows: Rows, case: str, value: str) -> float:
    """NaN without a row."""
    found = values(rows, case, value)
    return statistics.fmean(found.values()) if found else math.nan


def difference(rows: Rows, statement: Statement) -> Interval | None:
    """The interval of the paired difference; None without a seed that all cases have."""
    cases = [values(rows, case, statement.value)
             for case in (statement.first, statement.second, *statement.less)]
    seeds = sorted(set.intersection(*map(set, cases)))
    found = [cases[1][s] - cases[0][s] - (cases[3][s] - cases[2][s] if statement.less else 0) for s in seeds]
    return confidence_interval(found) if found else None


# %% Verdicts
def judge(rows: Rows, statement: Statement, needed: int) -> str:
    """"shown", "not shown here" with the reason, or how many seeds there are so far."""
    found = difference(rows, statement)
    count = found.count if found else 0
    if found is None or count < needed:
        return f"so far {count} of {needed} seeds: not decided"
    if not found.excludes_zero:
        return "not shown here: the interval includes zero"
    return "shown" if (found.mean > 0) == (statement.sign > 0) else "not shown here: the opposite sign"


def judge_claim(rows: Rows, name: str) -> str:
    """The verdict about all statements of a claim."""
    needed = PLANS[name][1]
    verdicts = [judge(rows, statement, needed) for statement in CLAIMS[name].statements]
    undecided = sorted(v for v in verdicts if v.startswith("so far"))
    if undecided:
        return undecided[0]
    return "shown" if set(verdicts) == {"shown"} else "not shown here"


# %% Diagnoses of what is not shown
def _diagnose_degradation(rows: Rows) -> str:
    plain = [mean(rows, f"plain-{n}", "train_error") for n in (20, 56)]
    residual = [mean(rows, f"ResNet-{n}", "train_error") for n in (20, 56)]
    return (f"The training errors are {plain[0]:.1f} and {plain[1]:.1f} % for the plain nets and "
            f"{residual[0]:.1f} and {residual[1]:.1f} % for the residual ones.")


def _diagnose_gain(rows: Rows) -> str:
    errors = [mean(rows, f"ResNet-{n}", "train_error") for n in (20, 56)]
    return (f"The training errors are {errors[0]:.1f} and {errors[1]:.1f} %: of 4,000 images, a twelfth of "
            "the paper's, a net of 20 layers learns what there is to learn, or nearly so."
            + _count_seeds(rows, "gain", 1.78))


def _diagnose_depth(rows: Rows) -> str:
    full, dropped = (mean(rows, case, "train_error") for case in ("ResNet-56", "ResNet-56, p_L = 0.5"))
    if dropped > full + 2:
        return (f"With dropped branches the training error ends at {dropped:.1f} %, against {full:.1f} %: "
                "2,500 updates do not train such a net to its end (the paper has 175,000), which costs more "
                "than regularization brings.")
    return f"Both learn the training images ({full:.1f} and {dropped:.1f} %)." + _count_seeds(
        rows, "stochastic_depth", 1.16)


def _diagnose_order(rows: Rows) -> str:
    return ("At 56 layers both orders train without trouble; the paper's difference at 110 layers is small, "
            "0.24 points, and large only at 1001." + _count_seeds(rows, "versions", 0.24))


def _diagnose_cardinality(rows: Rows) -> str:
    errors = [mean(rows, case, "train_error") for case in PLANS["cardinality"][0]]
    return (f"The training errors are {min(errors):.1f} to {max(errors):.1f} %, on 4,000 images, in nets of "
            "a quarter of the width; the paper's are of ImageNet." + _count_seeds(rows, "cardinality", 1.7))


def _count_seeds(rows: Rows, name: str, paper: float) -> str:
    """How many seeds a difference as large as the paper's would need, by the deviation of the pairs here."""
    statement = CLAIMS[name].statements[0]
    first, second = (values(rows, case, statement.value) for case in (statement.first, statement.second))
    pairs = [second[seed] - first[seed] for seed in first if seed in second]
    if len(pairs) < 2:
        return ""
    needed = math.ceil((2 * 1.96 * standard_deviation(pairs) / paper) ** 2)
    return (f" The differences of pairs have a deviation of {standard_deviation(pairs):.1f} points here; to "
            f"see the paper's {paper:g} points takes about {needed} seeds.")


CLAIMS = {
    "degradation": Claim(
        "Degradation, and its cure",
        "With 56 layers a plain net has a higher training error than with 20, although it could be that net "
        "and layers that do nothing. With residual blocks it has not (Figure 6).",
        (Statement("36 more layers raise the training error of a plain net", "train_error", "plain-20",
                   "plain-56", 1, paper="higher (Figure 6)"),
         Statement("they raise it more than that of a residual net", "train_error", "plain-20", "plain-56", 1,
                   ("ResNet-20", "ResNet-56"), "higher (Figure 6)")), "1512.03385", _diagnose_degradation),
    "gain": Claim(
        "Residual nets gain from depth", "With 56 layers a residual net has a lower test error than with 20.",
        (Statement("36 more layers lower the test error of a residual net", "test_error", "ResNet-20",
                   "ResNet-56", -1, paper="8.75 to 6.97 (Table 6)"),), "1512.03385", _diagnose_gain),
    "stochastic_depth": Claim(
        "Stochastic depth, trained",
        "Dropping whole residual branches at random in training lowers the test error.",
        (Statement("p_L = 0.5 lowers the test error of ResNet-56", "test_error", "ResNet-56",
                   "ResNet-56, p_L = 0.5", -1, paper="6.41 to 5.25, 110 layers (Table 1)"),),
        "1603.09382", _diagnose_depth),
    "versions": Claim(
        "Pre-activation, trained",
        "Normalization and activation before the convolutions lower the test error.",
        (Statement("the order lowers the test error of ResNet-56", "test_error", "ResNet-56",
                   "pre-activation, 56", -1, paper="6.61 to 6.37, 110 layers (Table 2)"),),
        "1603.05027", _diagnose_order),
    "cardinality": Claim(
        "Cardinality against width, trained",
        "At equal cost more paths are better than wider ones; at twice the cost they gain more than width.",
        (Statement("32 groups instead of one at equal cost lower the test error", "test_error", "1x64d",
                   "32x4d", -1, paper="23.9 to 22.2, ImageNet (Table 3)"),
         Statement("64 groups instead of a greater width lower the test error", "test_error", "1x100d",
                   "64x4d", -1, paper="21.3 to 20.4, ImageNet (Table 4)")),
        "1611.05431", _diagnose_cardinality),
}
