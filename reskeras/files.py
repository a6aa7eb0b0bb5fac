"""Writes files and folders completely or not at all; locks folders between processes."""
from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import tempfile
import time
from typing import Iterator

from .errors import ArgumentError
from .file_replacement import make_staging_folder, replace_files
from .remote_paths import to_url, upload, upload_from_mirror
from .termination import raise_on_sigterm

Path = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path to write a file or folder to; moves it to `path` when the block succeeds.

    Other files that the block writes beside the temporary path are moved to the folder of `path` after it.
    If the block fails (an error, a full disk, SIGINT, SIGTERM), nothing changes.

    A file is replaced in one step: a reader always finds the old file or the new file.  A folder is replaced
    in one step on Linux.  If the system cannot exchange folders, the folder is missing for a moment; if the
    process is killed in that moment, the next writer in the same parent folder puts the old folder back.
    Several files are replaced one after the other, so a reader must check that they belong together, as
    `reskeras.verify` does.  Several processes that replace the same files wait for each other.

    If `path` is a symbolic link, the link stays, and its target is replaced.  If `path` is a device or a
    pipe, such as /dev/stdout, the bytes are written to it when the block has succeeded.

    A remote path, such as s3://BUCKET/net.keras, is uploaded when the block has succeeded; an object store
    then has the new file, or still the old one.

    Args:
        path: the file or the folder to write or to replace; missing parent folders are made.

    Raises:
        ArgumentError: for a path with the character NUL.
        IsADirectoryError, NotADirectoryError: if a file would replace a folder, or a folder a file.
        OSError: if it cannot be written.

    Example:
        >>> with atomic_write("net.keras") as new:
        ...     model.save(new)
    """
    if "\0" in os.fspath(path):
        raise ArgumentError("path", os.fspath(path), "a path without the character NUL")
    if url := to_url(path):
        with _write_remote(url) as new:
            yield new
        return
    target = pathlib.Path(os.path.realpath(path))
    if pathlib.Path(path).name in ("", "..") or not target.name:
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file or of a new folder",
                                os.fspath(path))
    is_device = target.exists() and not target.is_file() and not target.is_dir()
    with contextlib.ExitStack() as stack:
        stack.enter_context(raise_on_sigterm())
        with _name_errors(target):
            if not is_device:
                target.parent.mkdir(parents=True, exist_ok=True)
            place = pathlib.Path(tempfile.gettempdir()) if is_device else target.parent
            staging = stack.enter_context(make_staging_folder(place))

        new, old = staging / "new", staging / "old"
        new.mkdir()
        old.mkdir()
        with _name_full_disk(target):
            yield new / target.name

        names = [target.name, *sorted({file.name for file in new.iterdir()} - {target.name})]
        with _name_errors(target):
            if is_device:
                target.write_bytes((new / target.name).read_bytes())
            else:
                replace_files(new, old, target.parent, first=target.name)
        upload_from_mirror(target.parent, names)


@contextlib.contextmanager
def _write_remote(url: str) -> Iterator[pathlib.Path]:
    """`atomic_write` for a remote path: the file is written in a temporary folder, and then uploaded."""
    parent, _, name = url.rstrip("/").rpartition("/")
    if not name or parent.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file or of a new folder", url)
    with contextlib.ExitStack() as stack:
        stack.enter_context(raise_on_sigterm())
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reskeras-")))
        yield folder / name
        others = sorted(file.name for file in folder.iterdir() if file.name != name)
        for each in [name, *others]:
            upload(folder / each, f"{parent}/{each}")


@contextlib.contextmanager
def _name_errors(target: pathlib.Path) -> Iterator[None]:
    """Makes errors of the system name the file that should be written, not the temporary file."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"{target} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _name_full_disk(target: pathlib.Path) -> Iterator[None]:
    """Names the file in errors of writing, which the system raises without a name."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise type(error)(error.errno, f"{target} cannot be written: {error.strerror}") from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all.  Raises: OSError."""
    with atomic_write(path) as new:
        new.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, completely or not at all.  Raises: OSError."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def locked(folder: Path, seconds: float = 60.0) -> Iterator[None]:
    """Inside the block no other process holds the lock of this folder, if the system has file locks.

    The lock ends with the process, even if the process is killed.

    Args:
        folder: an existing folder.
        seconds: how long to wait for another process that holds the lock.

    Raises:
        BlockingIOError: if another process still holds the lock after that time.
    """
    try:
        import fcntl
    except ImportError:     # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise BlockingIOError(error.errno, f"another process has worked in it for {seconds:.0f} "
                                          "seconds or more; try again when it has ended",
                                          os.fspath(folder)) from error
                time.sleep(0.02)
                continue
            except OSError:     # a file system without locks
                pass
            break
        yield
    finally:
        os.close(descriptor)
