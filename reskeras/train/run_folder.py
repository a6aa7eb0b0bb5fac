"""The folder of a training: its arguments, its log, its weights, and what is needed to resume it."""
from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import os
import pathlib
import shlex
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

import tensorflow as tf

from ..errors import ArgumentError
from ..file_replacement import is_leftover
from ..files import locked, write_text
from ..json_reader import read_json
from ..json_writer import to_json
from ..remote_paths import get_original_path, upload_from_mirror
from .run_info import check_run_info
from .saved_keys import from_saved_info, to_saved_info

RUN_FILE, LOG_FILE, CHECKPOINT_FILE, EVENTS_FOLDER = "run.json", "log.csv", "checkpoint.npz", "events"
BEST_MODEL, LAST_MODEL = "best.keras", "last.keras"
# if the recipe averages the weights, the two above have the averages, and these have the weights themselves
BEST_RAW_MODEL, LAST_RAW_MODEL = "best_raw.keras", "last_raw.keras"
LEFT_OUT_FILE = "left_out.json"

_PLUGIN = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
_SCALAR = tf.compat.v1.SummaryMetadata(plugin_data=_PLUGIN, data_class=1)


@dataclass
class RunFolder:
    """The folder of a training run.

    Attributes:
        folder: its path.
        is_chief: whether this process writes to it; of several workers only the first one does.
    """

    folder: pathlib.Path
    is_chief: bool = True

    @classmethod
    def create(cls, folder: str | os.PathLike[str], is_chief: bool = True) -> RunFolder:
        """Makes a new folder.  Raises: ArgumentError if it is not empty; OSError."""
        path = check_empty(folder, is_chief)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, is_chief)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], is_chief: bool = True) -> tuple[RunFolder, dict[str, Any]]:
        """The folder of a training run to resume, and what `write_info` wrote there.

        Raises:
            FileNotFoundError: if there is no run.json or no checkpoint.
            ValueError: if run.json is damaged.
        """
        path = pathlib.Path(folder)
        if not (path / RUN_FILE).is_file():
            raise FileNotFoundError(f"{os.fspath(folder)}: no training was started there, so none can be "
                                    f"resumed ({RUN_FILE} is missing)")
        info = read_run_info(path)
        if not (path / CHECKPOINT_FILE).is_file():
            hint = f"start a new training in another folder, with its {LAST_MODEL} as the model to start from"
            if _has_no_checkpoint_yet(path):
                hint = ("the training ended before it saved the first one; the same command with this folder "
                        "as `output` starts it again")
            raise FileNotFoundError(f"{os.fspath(folder)}: it has no {CHECKPOINT_FILE} to resume from; "
                                    f"{hint}")
        return cls(path, is_chief), info

    def path(self, name: str) -> pathlib.Path:
        """The path of one of its files."""
        return self.folder / name

    @property
    def resume_command(self) -> str:
        """The shell command that resumes this run."""
        return f"reskeras train --resume {shlex.quote(get_original_path(self.folder))}"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Inside the block no other process trains in this folder, if the system has file locks.

        Raises:
            ValueError: if another process trains there.
        """
        with contextlib.ExitStack() as stack:
            if self.is_chief:
                try:
                    stack.enter_context(locked(self.folder, seconds=0))
                except BlockingIOError as error:
                    raise ValueError(f"{self.folder}: another process trains there; wait until it ends, or "
                                     "give another folder") from error
            yield

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Writes run.json: the arguments, the data, the recipe, and the versions of the packages."""
        if self.is_chief:
            from .. import __version__
            versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")}
            saved = {**to_saved_info(info), "versions": {"reskeras": __version__, **versions},
                     "resume": self.resume_command}
            write_text(self.path(RUN_FILE), to_json(saved))

    def write_left_out(self, names: Mapping[str, list[str]]) -> None:
        """Writes left_out.json: the names of images that cannot be read, and of files that are no images."""
        if self.is_chief:
            write_text(self.path(LEFT_OUT_FILE), to_json(names))

    def write_log(self, epochs: list[int], history: Mapping[str, list[Any]]) -> None:
        """Writes log.csv with all epochs, and the last epoch as TensorBoard events.

        Args:
            epochs: the numbers of the epochs, from 0 on.
            history: the values of each metric, one per epoch.
        """
        if not self.is_chief:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *history])
        for epoch, *values in zip(epochs, *history.values()):
            writer.writerow([epoch + 1, *(f"{value:.6g}" for value in values)])
        write_text(self.path(LOG_FILE), text.getvalue())

        events = self.path(EVENTS_FOLDER)
        before = set(os.listdir(events)) if events.is_dir() else set()
        with tf.summary.create_file_writer(str(events)).as_default():
            for name, values in history.items():
                # like tf.summary.scalar, which needs the tensorboard package
                tf.summary.write(name, tf.constant(values[-1], tf.float32), epochs[-1] + 1, _SCALAR)
        upload_from_mirror(events, sorted(set(os.listdir(events)) - before))


def check_empty(folder: str | os.PathLike[str], is_chief: bool = True) -> pathlib.Path:
    """The path of a folder that may be made, or used because it is empty.

    The files of a training run that ended before its first checkpoint do not count: nothing is lost with
    them.

    Raises:
        ArgumentError: if it has other files.
    """
    path = pathlib.Path(folder)
    is_used = path.exists() and (not path.is_dir() or not all(is_leftover(f.name) for f in path.iterdir()))
    if is_used and is_chief and not _has_no_checkpoint_yet(path):
        is_run = (path / RUN_FILE).is_file()
        raise ArgumentError("output", os.fspath(folder), "a new or empty folder", hint="give another folder"
                            + (", or this one as `resume` to resume the training there" if is_run else ""))
    return path


def read_run_info(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `RunFolder.write_info` wrote.

    Raises:
        OSError: if run.json cannot be read.
        ValueError: if it is damaged.
    """
    file = pathlib.Path(folder) / RUN_FILE
    try:
        info = from_saved_info(read_json(file))
        check_run_info(info, "the file")
        return info
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({error}); start a new training with another folder as "
                         "`output`") from error


def _has_no_checkpoint_yet(folder: pathlib.Path) -> bool:
    """Whether a run ended there before it saved its first checkpoint."""
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    visible = {name for name in names if not name.startswith(".")}
    return RUN_FILE in names and not visible - {RUN_FILE, LAST_MODEL}
