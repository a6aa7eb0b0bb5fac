"""Where the files of checkpoints are kept, the note beside each, and a lock for one process at a time."""
from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import time
from dataclasses import dataclass
from typing import Iterator
from urllib.parse import urlsplit

from ..errors import make_printable
from ..file_reading import read_text
from ..files import write_text
from ..json_reader import read_json, to_dataclass
from .checkpoint import Checkpoint


def get_cache_path(checkpoint: Checkpoint) -> pathlib.Path:
    """The path where the file of a checkpoint is kept, or where the user may put it."""
    if checkpoint.repo:     # on the hub all files are called model.safetensors
        name = f"{checkpoint.id.partition('/')[2]}.{checkpoint.format}"
    else:
        name = urlsplit(checkpoint.url).path.rpartition("/")[2]
    return get_cache_folder() / checkpoint.source / name


def get_cache_folder() -> pathlib.Path:
    """The folder of files that are not from the Hugging Face hub, and of the notes."""
    home = os.environ.get("KERAS_HOME")
    return (pathlib.Path(home) if home else pathlib.Path.home() / ".keras") / "reskeras"


def is_writable(folder: pathlib.Path) -> bool:
    """Whether a file can be made in a folder that may not exist yet."""
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)


@dataclass(frozen=True)
class Note:
    """What is known of the first download of a file; its fields are the keys of the note's JSON."""

    sha256: str = ""
    stamp: tuple[int, ...] = ()     # size and time of the checked file, see `fetch._make_stamp`
    url: str = ""
    commit: str = ""                # of the repository, if the file is from the Hugging Face hub

    def __post_init__(self) -> None:
        """Raises: ValueError if `sha256` or `commit` (a part of URLs and paths) is not a hash."""
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) or not re.fullmatch("([0-9a-f]{40})?", self.commit):
            raise ValueError("expected a sha256, and the hash of a commit or none")


def read_note(checkpoint: Checkpoint) -> Note | None:
    """The note of a checkpoint; None if there is no note, or if it is damaged."""
    path = get_note_path(checkpoint)
    try:
        return to_dataclass(Note, read_json(path, max_bytes=1 << 16), str(path))
    except (OSError, ValueError):
        return None


def write_note(checkpoint: Checkpoint, note: Note) -> None:
    """Writes the note of a checkpoint.  Raises: OSError."""
    write_text(get_note_path(checkpoint), json.dumps(dataclasses.asdict(note)))


def get_note_path(checkpoint: Checkpoint) -> pathlib.Path:
    """The path of a checkpoint's note, which is beside the checkpoint's file."""
    path = get_cache_path(checkpoint)
    return path.with_name(path.name + ".json")


@contextlib.contextmanager
def lock_cache_path(path: pathlib.Path, seconds: float) -> Iterator[None]:
    """Inside the block no other process downloads or checks the file at `path`.

    Raises:
        TimeoutError: if another process holds the lock for longer than `seconds`.
    """
    from filelock import FileLock, Timeout
    holder_file = path.with_name(path.name + ".lock.holder")
    lock = FileLock(f"{path}.lock", timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        holder = _read_holder(holder_file)
        raise TimeoutError(f"{path.name}: waited {seconds:.0f} seconds for {holder}, which is downloading it "
                           f"and holds {path}.lock; end that process, or try again later") from None
    try:
        write_text(holder_file, f"process {os.getpid()} on {socket.gethostname()}, "
                                f"since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        yield
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def _read_holder(holder_file: pathlib.Path) -> str:
    """Says in a message which process holds a lock."""
    try:
        return make_printable(read_text(holder_file, max_bytes=500)) or "another process"
    except (OSError, ValueError):
        return "another process"
