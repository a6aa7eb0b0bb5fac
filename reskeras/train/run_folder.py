"""The folder of a training: what it was asked for, what it found, its weights, and how to go on with it."""
from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import json
import os
import pathlib
import shlex
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

import tensorflow as tf

from .checkpoint import atomic

RUN, LOG, CHECKPOINT, BEST, LAST, EVENTS = "run.json", "log.csv", "checkpoint.npz", "best.keras", "last.keras", "events"
SCALAR = tf.compat.v1.SummaryMetadata(plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1)


@dataclass
class Run:
    """A folder; only the first of several workers writes to it."""
    folder: pathlib.Path
    chief: bool = True

    @classmethod
    def create(cls, folder: str | os.PathLike[str], chief: bool = True) -> Run:
        """Raises: ValueError for a folder that has something in it, OSError."""
        path = cls.vacant(folder, chief)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, chief)

    @staticmethod
    def vacant(folder: str | os.PathLike[str], chief: bool = True) -> pathlib.Path:
        """The folder, which may be made or taken.

        Raises: ValueError where it has something in it, but for what a training leaves that ended before its first checkpoint.
        """
        path = pathlib.Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())) and chief and not _unborn(path):
            known = (path / RUN).is_file()
            raise ValueError(f"output={os.fspath(folder)!r} is not empty; give a new folder"
                             + (f", or resume={os.fspath(folder)!r} to go on with the training there" if known else ""))
        return path

    @classmethod
    def open(cls, folder: str | os.PathLike[str], chief: bool = True) -> tuple[Run, dict[str, Any]]:
        """The folder, and what `begin` wrote about the training there.

        Raises: FileNotFoundError where there is none, or no checkpoint; ValueError where its run.json cannot be read.
        """
        file = pathlib.Path(folder) / RUN
        if not file.is_file():
            raise FileNotFoundError(f"resume={os.fspath(folder)!r}: no training was begun there ({RUN} is missing)")
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            if not (about["arguments"] and about["recipe"]["training"]):
                raise ValueError("it does not say what was asked for")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}); output=DIR begins anew in another folder") from error
        if not (file.parent / CHECKPOINT).is_file():
            then = f"begin anew in another folder, with its {LAST} as the model to begin with"
            if _unborn(file.parent):
                then = f"the training ended before its first one; the same command with output={str(folder)!r} begins it again"
            raise FileNotFoundError(f"resume={os.fspath(folder)!r}: there is no {CHECKPOINT} to go on from; {then}")
        return cls(file.parent, chief), about

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process trains here, where the system can tell.  Raises: ValueError where one does."""
        try:
            import fcntl
        except ImportError:     # Windows
            fcntl = None        # type: ignore[assignment]
        if not self.chief or fcntl is None:
            yield
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):      # a file system without locks
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)      # of the process: a kill ends it
                except BlockingIOError as error:
                    raise ValueError(f"{self.folder}: another process trains there; wait for its end, or give another "
                                     "folder") from error
            yield
        finally:
            os.close(folder)

    def __getitem__(self, name: str) -> pathlib.Path:
        return self.folder / name

    @property
    def command(self) -> str:
        """What goes on with it."""
        return f"reskeras train --resume {shlex.quote(str(self.folder))}"

    def begin(self, about: Mapping[str, Any]) -> None:
        if self.chief:
            versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")}
            from .. import __version__
            text = json.dumps({**about, "versions": {"reskeras": __version__, **versions}, "resume": self.command}, indent=2)
            atomic(self[RUN], lambda file: file.write(text.encode()))

    def log(self, epochs: list[int], history: Mapping[str, list[Any]]) -> None:
        """Writes log.csv anew, and the last epoch's line as TensorBoard events."""
        if not self.chief:
            return
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", *history])
        for line in zip(epochs, *history.values()):
            writer.writerow([line[0] + 1, *(f"{value:.6g}" for value in line[1:])])
        atomic(self[LOG], lambda out: out.write(file.getvalue().encode()))
        with tf.summary.create_file_writer(str(self[EVENTS])).as_default():
            for name, column in history.items():
                # as tf.summary.scalar, which needs the tensorboard package
                tf.summary.write(name, tf.constant(column[-1], tf.float32), epochs[-1] + 1, SCALAR)


def _unborn(folder: pathlib.Path) -> bool:
    """Whether a training ended there before its first checkpoint: nothing is lost where another one takes the folder."""
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    return RUN in names and not {name for name in names if not name.startswith(".")} - {RUN, LAST}
