"""`sweep`: trains nets by recipes, with overrides and seeds, and compares them."""
from __future__ import annotations

import os
import pathlib
import time
from dataclasses import dataclass
from typing import Any, Mapping

import keras

from ..errors import ArgumentError, check_choice, describe_error
from ..files import locked, write_text
from ..json_reader import read_json
from ..json_writer import to_json
from ..terminal import print_text
from ..train.run_folder import CHECKPOINT_FILE
from .sweep_report import Outcome, SweepResult, format_summary, write_report
from .sweep_table import Run, read_table
from .train import fit

_SETTINGS, _METRICS, _EPOCHS, _SECONDS, _ERROR = "settings", "metrics", "epochs", "seconds", "error"


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
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, seconds=0):
            outcomes = _run_all(runs, folder, verbose)
    except BlockingIOError as error:
        raise ArgumentError("output", os.fspath(output), "a folder in which no other sweep runs",
                            hint="wait until it ends, or give another folder") from error
    return write_report(outcomes, folder, metric)


def print_result(result: SweepResult) -> int:
    """Prints the comparison.  Returns: the exit code, 1 if a run has failed."""
    print_text(format_summary(result))
    for file in result.files:
        print_text(file)
    return int(any(outcome.error for outcome in result.outcomes))


@dataclass(frozen=True)
class _RunPlace:
    """Where a run is: its folder, and the file that says how it ended."""

    folder: pathlib.Path
    result: pathlib.Path

    @classmethod
    def of(cls, run: Run, folder: pathlib.Path) -> _RunPlace:
        return cls(folder / run.name, folder / f"{run.name}.json")


def _run_all(runs: list[Run], folder: pathlib.Path, verbose: int) -> list[Outcome]:
    known = {run.name: _read_result(run, _RunPlace.of(run, folder)) for run in runs}    # before the first run
    outcomes = []
    for number, run in enumerate(runs, 1):
        saved = known[run.name]
        is_new = saved is None or bool(saved.get(_ERROR))
        if is_new:
            saved = _train(run, _RunPlace.of(run, folder), verbose)
        assert saved is not None
        outcome = Outcome(run, saved.get(_METRICS, {}), saved.get(_EPOCHS, 0), saved.get(_SECONDS, 0.0),
                          saved.get(_ERROR, ""))
        outcomes.append(outcome)
        if verbose:
            text = "finished before" if not is_new else outcome.error or f"{outcome.seconds:.0f} s"
            print_text(f"{number}/{len(runs)} {run.name}: {text}")
    return outcomes


def _train(run: Run, place: _RunPlace, verbose: int) -> dict[str, Any]:
    """Trains a run, or resumes it.  Returns: what its file says of it."""
    keras.utils.clear_session()
    settings = _describe_settings(run)
    write_text(place.result, to_json({_SETTINGS: settings}))
    is_started = (place.folder / CHECKPOINT_FILE).is_file()
    start = time.perf_counter()
    saved: dict[str, Any] = {_SETTINGS: settings}
    try:
        where = {"resume": place.folder} if is_started else {"output": place.folder}
        history = fit(**run.arguments, **where, verbose=2 if verbose == 2 else 0).history
        saved[_METRICS] = {name: float(values[-1]) for name, values in history.items()}
        saved[_EPOCHS] = len(history["loss"])
    except Exception as error:      # whatever goes wrong in one run, the others are still to be trained
        saved[_ERROR] = describe_error(error)
    saved[_SECONDS] = round(time.perf_counter() - start, 1)
    write_text(place.result, to_json(saved))
    return saved


def _read_result(run: Run, place: _RunPlace) -> dict[str, Any] | None:
    """What an earlier call has found; None if the run has not ended.

    Raises:
        ArgumentError: if the run was started with other settings.
    """
    if not place.result.is_file():
        return None
    saved = read_json(place.result)
    if not isinstance(saved, dict) or not isinstance(saved.get(_SETTINGS), dict):
        raise ValueError(f"{place.result} is damaged; delete it and the folder {place.folder}, to train this "
                         "run again")
    before, now = saved[_SETTINGS], _describe_settings(run)
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        name = changed[0]
        raise ArgumentError("table", run.name, f"{name}={before.get(name)!r}, with which this run was "
                            f"started, not {now.get(name)!r}",
                            hint="give another output, or delete its folder and its .json file in "
                            f"{place.folder.parent}")
    return saved if _METRICS in saved or _ERROR in saved else None


def _describe_settings(run: Run) -> dict[str, Any]:
    """The arguments of a run, as a JSON file has them; objects by the name of their type."""
    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): convert(v) for key, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [convert(v) for v in value]
        is_plain = isinstance(value, (str, int, float, type(None)))
        return value if is_plain else type(value).__name__
    return {name: convert(value) for name, value in run.arguments.items()}
