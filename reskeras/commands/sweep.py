"""`sweep`: trains nets by recipes, with overrides and seeds, and compares them."""
from __future__ import annotations

import functools
import os
import pathlib
from typing import Any, Mapping

from ..errors import check_choice
from ..terminal import print_text
from .recorded_runs import train_runs
from .sweep_report import SweepResult, format_summary, write_report
from .sweep_table import check_data, read_table


def sweep(table: str | os.PathLike[str] | Mapping[str, Any], *,
          output: str | os.PathLike[str] | None = None, metric: str | None = None,
          verbose: int = 1) -> SweepResult:
    """Trains each net of a table by each recipe, with each set of overrides and each seed, and compares them.

    Each run is a `reskeras.fit` in a folder of its own.  If the sweep is interrupted, the same call goes on
    where it was: finished runs are not repeated, and the interrupted one is resumed.  A run that fails does
    not stop the others; its error is in the results, and the next call tries it again.

    Args:
        table: the path of a TOML file, or a mapping with the same keys.  `nets`, `recipes` and `seeds` are
            lists, `overrides` has the fields of each named set; `model.FIELD` in it is a field of the net.
            All other keys are arguments of `reskeras.fit`, for all runs: `data`, `validation_data` ...
        output: a folder for a folder of each run, sweep.csv, summary.csv and sweep.html; by default
            runs/NAME for NAME.toml, else runs/sweep.  The table may get more runs there; a run that is there
            already with other settings is an error.
        metric: which value of the last epoch is compared; by default val_accuracy if there is one, else the
            last one that `fit` reports for validation, or accuracy.
        verbose: 0 prints nothing, 1 prints a line for each run, 2 also one for each epoch.

    Returns:
        The outcomes of all runs, and the files.

    Raises:
        ArgumentError: for a table that does not fit together, a run that was started with other settings, and
            a metric that no run has.
        TypeError: for an unknown key or field; the message suggests the nearest one.
        ValueError, OSError: if a file cannot be read or written.
        SystemExit, KeyboardInterrupt: as `fit`.

    Example:
        >>> table = {"nets": ["cifar_resnet20", "cifar_plain20"], "recipes": ["digits"], "seeds": [0, 1, 2],
        ...          "data": "digits", "validation_data": "digits"}
        >>> result = reskeras.sweep(table, output="runs/shortcuts")     # doctest: +SKIP
    """
    check_choice("verbose", verbose, (0, 1, 2))
    runs = read_table(table)
    if output is None:
        name = "sweep" if isinstance(table, Mapping) else pathlib.Path(table).stem
        output = pathlib.Path("runs", name)
    # opened before the first training of this call, if there is one
    check = functools.cache(lambda: check_data(runs[0].arguments))
    outcomes = train_runs({run.name: run.arguments for run in runs}, output, verbose, "table", metric, check)
    return write_report(runs, outcomes, output, metric)


def print_result(result: SweepResult) -> int:
    """Prints the comparison.  Returns: the exit code, 1 if a run has failed."""
    print_text(format_summary(result))
    for file in result.files:
        print_text(file)
    return int(any(outcome.error for outcome in result.outcomes))
