"""What the trainings of rows.jsonl show: `python examples/experiments/results.py [--keep]`.

Every difference is one between two cases with the same seed, with its interval of 95 % over the seeds.
`--keep` writes the texts into `reskeras tour`, README.md, docs/seeing.md and docs/guides/comparing_runs.md.
"""
from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import statistics
from typing import Any

from cases import PLANS
from claims import CLAIMS, Rows, Statement, difference, judge, judge_claim, mean, read_rows, values

from reskeras.commands.study import Chart, Study, Table
from reskeras.commands.tables import markdown_table
from reskeras.intervals import Interval, standard_deviation

ROOT = pathlib.Path(__file__).parents[2]
TOUR = ROOT / "reskeras" / "commands" / "tour.json"
COMMAND = "python examples/experiments/run.py --data FOLDER --claims {}"


# %% Texts
def show_interval(found: Interval | None) -> str:
    """"+3.1 (+1.0 to +5.2)"."""
    if found is None:
        return ""
    ends = f" ({found.low:+.1f} to {found.high:+.1f})" if found.count > 1 else ""
    return f"{found.mean:+.1f}{ends}"


def show_values(found: dict[int, float]) -> str:
    """"35.3 ± 0.8", or nothing."""
    if not found:
        return ""
    spread = f" ± {standard_deviation(list(found.values())):.1f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found.values()):.1f}{spread}"


def make_study(rows: Rows, name: str) -> Study:
    """A chapter of the tour."""
    claim, (cases, needed) = CLAIMS[name], PLANS[name]
    own = [row for row in rows if row["case"] in cases]
    verdict = judge_claim(rows, name)
    decided = [(s.text, show_interval(difference(rows, s)), s.paper, judge(rows, s, needed))
               for s in claim.statements]
    nets = [(case, str(len(values(rows, case, "test_error"))), show_values(values(rows, case, "train_error")),
             show_values(values(rows, case, "test_error"))) for case in cases]
    curves: dict[str, Any] = {}
    for case in cases:
        found = [row["curve"] for row in own if row["case"] == case]
        if found:
            curves[case] = (list(range(1, len(found[0]) + 1)),
                            [round(statistics.fmean(epoch), 2) for epoch in zip(*found)])
    finding = {"shown": "Shown."}.get(verdict, f"{verdict[0].upper()}{verdict[1:]}.")
    if verdict == "not shown here":
        finding = f"{finding} {claim.diagnosis(rows)}"
    return Study(
        claim.title, claim.text,
        [Table("Difference in points, over pairs of the same seed; in parentheses its interval of 95 %.",
               ("statement", "here", "paper", "verdict"), decided),
         Table("Error after the training (%), mean and deviation over the seeds; that of training without "
               "augmentation, in inference mode.", ("net", "seeds", "training error", "test error"), nets)],
        [Chart("epoch", "training error (%)", curves)] if curves else [], finding,
        COMMAND.format(name), describe_runs(own, needed), [claim.source], verdict)


def describe_runs(rows: Rows, needed: int) -> str:
    """When, for how long, with which seeds and versions."""
    if not rows:
        return f"None of {needed} seeds is trained yet."
    dates, seeds = sorted({row["date"] for row in rows}), sorted({row["seed"] for row in rows})
    versions = ", ".join(sorted({row["versions"] for row in rows}))
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    hours = sum(row["cpu_seconds"] for row in rows) / 3600
    epochs = sorted({row["settings"]["training"]["epochs"] for row in rows})
    return (f"{when}, {hours:.1f} hours of one CPU core, {len(rows)} training{'s' * (len(rows) > 1)} of "
            f"{' or '.join(map(str, epochs))} epochs on images of 32 x 32 pixels, seeds "
            f"{' '.join(map(str, seeds))}, {versions}.")


def compare_with_pytorch(rows: Rows) -> str:
    """A table of docs/guides/comparing_runs.md: the same training by both, as Markdown."""
    needed = PLANS["pytorch"][1]
    sides = {case: values(rows, case, "test_error") for case in ("reskeras", "PyTorch")}
    table = [[case, str(len(found)), show_values(values(rows, case, "train_error")), show_values(found)]
             for case, found in sides.items()]
    count = min(map(len, sides.values()))
    if count < needed:
        verdict = f"So far {count} of {needed} seeds: not decided."
    else:
        error = math.sqrt(sum(standard_deviation(list(v.values())) ** 2 / len(v) for v in sides.values()))
        gap = mean(rows, "reskeras", "test_error") - mean(rows, "PyTorch", "test_error")
        verdict = (f"The means differ by {abs(gap):.2f} points, {abs(gap) / error:.1f} standard errors "
                   f"({'equal' if abs(gap) < 2 * error else 'different'} by the measure of two).")
    own = [row for row in rows if row["case"] in sides]
    return "\n\n".join([markdown_table(("ResNet-20", "seeds", "training error (%)", "test error (%)"), table),
                        f"{verdict} {describe_runs(own, needed)}"])


def compare_finetuning(rows: Rows) -> str:
    """A table of docs/guides/comparing_runs.md: fine-tuned, from scratch, by PyTorch, as Markdown."""
    needed, table, counts = PLANS["finetune"][1], [], []
    for images in (20, 50, 100):
        names = [f"{kind}, {images}" for kind in ("finetune", "from scratch", "PyTorch's finetune")]
        found = [values(rows, name, "test_error") for name in names]
        counts.append(min(map(len, found)))
        gaps = [difference(rows, Statement("", "test_error", names[0], other, 1)) for other in names[1:]]
        table.append([str(images), str(counts[-1]), *map(show_values, found), *map(show_interval, gaps)])
    verdict = "" if min(counts) >= needed else f"So far {min(counts)} of {needed} seeds: not decided. "
    own = [row for row in rows if row["case"] in PLANS["finetune"][0]]
    header = ("images a class", "seeds", "fine-tuned (%)", "from scratch (%)", "fine-tuned by PyTorch (%)",
              "scratch, more", "PyTorch, more")
    return "\n\n".join([markdown_table(header, table), f"{verdict}{describe_runs(own, needed)}"])


def list_differences(rows: Rows) -> str:
    """The table of README.md: each statement's difference and verdict, as Markdown."""
    table = [(claim.title, s.text, show_interval(difference(rows, s)), judge(rows, s, PLANS[name][1]))
             for name, claim in CLAIMS.items() for s in claim.statements]
    return markdown_table(("claim", "statement", "difference here, points", "verdict"), table)


# %% Writing
def replace_block(text: str, start: str, end: str, block: str) -> str:
    """The text with a new block between two comments."""
    before, _, rest = text.partition(f"<!-- {start} -->\n")
    return f"{before}<!-- {start} -->\n{block}\n<!-- {end} -->{rest.partition(f'<!-- {end} -->')[2]}"


def keep(rows: Rows) -> None:
    """Writes the chapters of the tour, and the tables of the documentation."""
    known = json.loads(TOUR.read_text(encoding="utf-8"))
    known |= {f"trained_{name}": dataclasses.asdict(make_study(rows, name)) for name in CLAIMS}
    TOUR.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    from reskeras.commands.tour import tour_markdown
    for name, start, end, block in (
            ("README", "examples/experiments/results.py", "end of claims", list_differences(rows)),
            ("docs/seeing", "reskeras.commands.tour.tour_markdown()", "end of tour", tour_markdown()),
            ("docs/guides/comparing_runs", "examples/experiments/results.py pytorch", "end of pytorch",
             compare_with_pytorch(rows)),
            ("docs/guides/comparing_runs", "examples/experiments/results.py finetune", "end of finetune",
             compare_finetuning(rows))):
        file = ROOT / f"{name}.md"
        file.write_text(replace_block(file.read_text(encoding="utf-8"), start, end, block), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="write tour and documentation, in a checkout")
    options = parser.parse_args()
    rows = read_rows()
    for name in CLAIMS:
        study = make_study(rows, name)
        print(f"{study.title}\n{study.claim}\n\n{study.text()}\n")
    print(compare_with_pytorch(rows), compare_finetuning(rows), sep="\n\n")
    if options.keep:
        keep(rows)


if __name__ == "__main__":
    main()
