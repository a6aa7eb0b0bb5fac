"""Trainings in a folder that remembers which have ended: those of `sweep` and of `cross_validate`."""
from __future__ import annotations

import contextlib
import os
import pathlib
import time
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from ..errors import ArgumentError, describe_error
from ..files import locked, write_text
from ..json_reader import read_json
from ..json_writer import to_json
from ..terminal import print_text
from ..train.run_folder import CHECKPOINT_FILE
from ..train.source import DataSource
from .train import fit

# keys of the file of a run
_SETTINGS, _METRICS, _EPOCHS, _SECONDS, _ERROR = "settings", "metrics", "epochs", "seconds", "error"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        name: the run.
        metrics: the values of the last epoch, by name; empty if the run has failed.
        epochs: how many epochs it has trained.
        seconds: the time of the call that ended it.
        error: what went wrong; "" if nothing did.
    """

    name: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""


def train_runs(runs: Mapping[str, Mapping[str, Any]], folder: pathlib.Path | None, verbose: int,
               argument: str, restart: Callable[[], None] = lambda: None) -> list[Outcome]:
    """Trains each run that has not finished yet; one that fails does not stop the others.

    Args:
        runs: name -> arguments of `fit`.
        folder: of the folders and files of all runs; None writes nothing.
        verbose: 0 prints nothing, 1 a line for each run, 2 also one for each epoch.
        argument: the caller's argument that has the settings, for the errors.
        restart: called before each training, so that none begins with what another one has trained.

    Raises:
        ArgumentError: for a run that was started with other settings, or if another process trains there.
        ValueError, OSError: if a file of the folder cannot be read or written.
    """
    with _lock(folder):
        # all are looked at before the first is trained, which may take days
        known = {name: _read(name, arguments, folder, argument) for name, arguments in runs.items()}
        outcomes = []
        for number, (name, arguments) in enumerate(runs.items(), 1):
            before = known[name]
            if before and not before.error:
                outcome = before
            else:
                restart()
                outcome = _train(name, arguments, folder, verbose)
            outcomes.append(outcome)
            if verbose:
                text = "finished before" if outcome is before else outcome.error or f"{outcome.seconds:.0f} s"
                print_text(f"{number}/{len(runs)} {name}: {text}")
    return outcomes


def choose_metric(outcomes: Sequence[Outcome], metric: str | None) -> str:
    """The metric to compare: the given one, or val_accuracy, or the next best; "" if no run has finished.

    Raises:
        ArgumentError: for a metric that no run has.
    """
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.metrics))
    if metric is not None and names and metric not in names:
        raise ArgumentError("metric", metric, f"one of {', '.join(names)}", names)
    likely = ["val_accuracy", *(n for n in names if n.startswith("val_") and n != "val_loss"), "val_loss",
              "accuracy", "loss"]
    return metric or next((name for name in likely if name in names), "")


@contextlib.contextmanager
def _lock(folder: pathlib.Path | None) -> Iterator[None]:
    """Inside the block no other process trains in the folder."""
    with contextlib.ExitStack() as stack:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(folder, seconds=0))
            except BlockingIOError as error:
                raise ArgumentError("output", os.fspath(folder), "a folder in which no other process trains",
                                    hint="wait until it ends, or give another folder") from error
        yield


def _train(name: str, arguments: Mapping[str, Any], folder: pathlib.Path | None, verbose: int) -> Outcome:
    """Trains a run, or resumes it."""
    keras.utils.clear_session()
    where: dict[str, Any] = {}
    file = _file_of(name, folder)
    if folder is not None and file is not None:
        write_text(file, to_json({_SETTINGS: _describe(arguments)}))
        is_started = (folder / name / CHECKPOINT_FILE).is_file()
        where = {"resume" if is_started else "output": folder / name}
    start = time.perf_counter()
    try:
        history = fit(**arguments, **where, verbose=2 if verbose == 2 else 0).history
        metrics = {metric: float(values[-1]) for metric, values in history.items()}
        outcome = Outcome(name, metrics, len(history["loss"]), round(time.perf_counter() - start, 1))
    except Exception as error:      # whatever goes wrong in one run, the others are still to be trained
        outcome = Outcome(name, seconds=round(time.perf_counter() - start, 1), error=describe_error(error))
    if file is not None:
        ended = {_ERROR: outcome.error} if outcome.error else {_METRICS: outcome.metrics}
        write_text(file, to_json({_SETTINGS: _describe(arguments), **ended, _EPOCHS: outcome.epochs,
                                  _SECONDS: outcome.seconds}))
    return outcome


def _read(name: str, arguments: Mapping[str, Any], folder: pathlib.Path | None,
          argument: str) -> Outcome | None:
    """How a run ended in an earlier call; None if it did not end.

    Raises:
        ArgumentError: if it was started with other settings.
    """
    file = _file_of(name, folder)
    if file is None or not file.is_file():
        return None
    saved = read_json(file)
    if not isinstance(saved, dict) or not isinstance(saved.get(_SETTINGS), dict):
        raise ValueError(f"{file} is damaged; delete it and the folder {name} beside it, to train this run "
                         "again")
    before, now = saved[_SETTINGS], _describe(arguments)
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise ArgumentError(argument, name, f"{key}={before.get(key)!r}, with which this run was started,"
                                f" not {now.get(key)!r}",
                                hint=f"give another output, or delete {file} and the folder beside it")
    if _METRICS not in saved and _ERROR not in saved:
        return None
    return Outcome(name, saved.get(_METRICS, {}), saved[_EPOCHS], saved[_SECONDS], saved.get(_ERROR, ""))


def _file_of(name: str, folder: pathlib.Path | None) -> pathlib.Path | None:
    """The file that says how a run ended; its folder must be empty at the beginning."""
    return None if folder is None else folder / f"{name}.json"


def _describe(value: Any) -> Any:
    """Arguments as a JSON file has them: arrays and data by a checksum, other objects by their type."""
    if isinstance(value, Mapping):
        return {str(key): _describe(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_describe(v) for v in value]
    if isinstance(value, np.ndarray):
        return f"array {value.shape}, {zlib.crc32(np.ascontiguousarray(value).tobytes()):08x}"
    if isinstance(value, DataSource) and value.stream is None:
        return f"{value.name}, {_describe(value.labels)}"
    return value if isinstance(value, (str, int, float, type(None))) else type(value).__name__
