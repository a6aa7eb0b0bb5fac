"""Trainings in a folder that remembers which have ended: those of `sweep` and of `cross_validate`."""
from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from ..errors import ArgumentError, describe_error
from ..files import locked, write_text
from ..json_reader import read_json, to_dataclass
from ..json_writer import to_json
from ..remote_paths import exists, join_path, to_url
from ..terminal import print_text
from ..train.recipe import Recipe
from ..train.run_folder import CHECKPOINT_FILE
from ..train.source import DataSource
from ..train.training import to_python
from .train import fit

Path = str | os.PathLike[str]


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


@dataclass(frozen=True)
class _Record:
    """The file of a run; one that has not ended has settings only.  JSON has null for NaN."""

    settings: dict[str, Any]
    metrics: dict[str, float | None] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""


def train_runs(runs: Mapping[str, Mapping[str, Any]], folder: Path | None, verbose: int, argument: str,
               metric: str | None = None, restart: Callable[[], None] = lambda: None,
               are_alike: bool = False) -> list[Outcome]:
    """Trains each run that has not finished yet; one that fails does not stop the others.

    Args:
        runs: name -> arguments of `fit`.
        folder: of the folders and files of all runs, local or remote; None writes nothing.
        verbose: 0 prints nothing, 1 a line for each run, 2 also one for each epoch.
        argument: the caller's argument that has the settings, for the errors.
        metric: the metric to compare.
        restart: called before each training, so that none begins with what another one has trained.
        are_alike: whether all runs have the same settings, so that what `fit` refuses in the first one is an
            error of them all.

    Raises:
        ArgumentError: for a run that was started with other settings, a metric that the first run that ends
            does not have, or if another process trains there.
        ValueError, OSError: if a file of the folder cannot be read or written.
        ValueError, TypeError, OSError, ImportError: as `fit`, from the first run of several that are alike.
    """
    with _lock(folder):
        # all are looked at before the first is trained, which may take days
        known = {name: _read(name, arguments, folder, argument) for name, arguments in runs.items()}
        outcomes: list[Outcome] = []
        for number, (name, arguments) in enumerate(runs.items(), 1):
            before = known[name]
            if before and not before.error:
                outcome = before
            else:
                restart()
                outcome = _train(name, arguments, folder, verbose, is_refused=are_alike and not outcomes)
            outcomes.append(outcome)
            choose_metric(outcomes, metric)         # an error now, not after days
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
def _lock(folder: Path | None) -> Iterator[None]:
    """Inside the block no other process trains in a local folder; object stores have no locks."""
    with contextlib.ExitStack() as stack:
        if folder is not None and not to_url(folder):
            try:
                os.makedirs(folder, exist_ok=True)
                stack.enter_context(locked(folder, seconds=0))
            except (FileExistsError, NotADirectoryError) as error:
                raise ArgumentError("output", os.fspath(folder), "a folder; this is a file") from error
            except BlockingIOError as error:
                raise ArgumentError("output", os.fspath(folder), "a folder in which no other process trains",
                                    hint="wait until it ends, or give another folder") from error
        yield


def _train(name: str, arguments: Mapping[str, Any], folder: Path | None, verbose: int,
           is_refused: bool) -> Outcome:
    """Trains a run, or resumes it.

    Args:
        is_refused: whether arguments that do not fit are an error, and not an outcome.
    """
    keras.utils.clear_session()
    where: dict[str, Any] = {}
    file, is_started = _file_of(name, folder), _is_started(name, folder)
    if folder is not None and file is not None:
        write_text(file, to_json({"settings": _describe(arguments)}))
        where = {"resume" if is_started else "output": join_path(folder, name)}
    start = time.perf_counter()
    try:
        history = fit(**arguments, **where, verbose=2 if verbose == 2 else 0).history
        metrics = {metric: float(values[-1]) for metric, values in history.items()}
        outcome = Outcome(name, metrics, len(history["loss"]), round(time.perf_counter() - start, 1))
    except Exception as error:      # whatever goes wrong in one run, the others are still to be trained
        if is_refused and not is_started and isinstance(error, (ValueError, TypeError, OSError, ImportError)):
            raise
        outcome = Outcome(name, seconds=round(time.perf_counter() - start, 1), error=describe_error(error))
    if file is not None:
        ended = _Record(_describe(arguments), dict(outcome.metrics), outcome.epochs, outcome.seconds,
                        outcome.error)
        write_text(file, to_json(dataclasses.asdict(ended)))
    return outcome


def _read(name: str, arguments: Mapping[str, Any], folder: Path | None, argument: str) -> Outcome | None:
    """How a run ended in an earlier call; None if it did not end, or failed before it had trained anything.

    Raises:
        ArgumentError: if it was started with other settings.
        ValueError: for a damaged file.
    """
    file = _file_of(name, folder)
    if file is None or not exists(file):
        return None
    try:
        saved = to_dataclass(_Record, read_json(file), os.fspath(file))
    except ValueError as error:
        raise ValueError(f"{error}; delete this file and the folder {name} beside it, to train the run again"
                         ) from error
    if not saved.metrics and not _is_started(name, folder):
        return None
    before, now = saved.settings, _describe(arguments)
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise ArgumentError(argument, name, f"{key}={before.get(key)!r}, with which this run was started,"
                                f" not {now.get(key)!r}",
                                hint=f"give another output, or delete {file} and the folder beside it")
    if not saved.metrics and not saved.error:
        return None
    metrics = {metric: math.nan if value is None else value for metric, value in saved.metrics.items()}
    return Outcome(name, metrics, saved.epochs, saved.seconds, saved.error)


def _file_of(name: str, folder: Path | None) -> str | os.PathLike[str] | None:
    """The file that says how a run ended; its folder must be empty at the beginning."""
    return None if folder is None else join_path(folder, f"{name}.json")


def _is_started(name: str, folder: Path | None) -> bool:
    """Whether a run has a checkpoint."""
    return folder is not None and exists(join_path(join_path(folder, name), CHECKPOINT_FILE))


def _describe(value: Any) -> Any:
    """Arguments as a JSON file has them: arrays and data by a checksum, other objects by their type."""
    if isinstance(value, Recipe):
        value = value.as_dict()
    if isinstance(value, keras.Model):
        return f"{type(value).__name__} of {value.count_params():,} parameters"
    if isinstance(value, DataSource) and value.stream is None:
        return f"{value.name}, {_describe(value.labels)}, {_describe(value.weights)}, {_sum_images(value)}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array {value.shape}, {_sum(value)}"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    value = to_python(value)
    if isinstance(value, Mapping):
        return {str(key): _describe(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_describe(v) for v in value]
    if isinstance(value, (str, int, float, type(None))):
        return value
    return getattr(value, "__qualname__", type(value).__name__)     # of a function or a class: its own name


def _sum_images(source: DataSource) -> str:
    """A checksum of pixels, or of the names of files."""
    if source.has_files:
        return f"{zlib.crc32(chr(0).join(source.images).encode()):08x}"
    return _sum(source.images) if isinstance(source.images, np.ndarray) else type(source.images).__name__


def _sum(values: np.ndarray) -> str:
    is_number = values.dtype.kind in "biufc"        # the bytes of objects are their addresses
    data = np.ascontiguousarray(values).data if is_number else repr(values.tolist()).encode()
    return f"{zlib.crc32(data):08x}"
