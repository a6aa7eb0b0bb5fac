"""Files and folders that appear whole or not at all, and locks between processes."""
from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import tempfile
from typing import Iterator

Path = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[pathlib.Path]:
    """Gives a path to write a file or folder to, which replaces `path` when the block succeeds.

    Other files that the block writes beside it are moved to the same folder, all of them together.  If the
    block fails (an error, a full disk, an interrupt), nothing changes.

    A symbolic link stays, and what it points to is replaced.  A device or a pipe, such as /dev/stdout, is
    written to when the block has succeeded.

    Args:
        path: the file or the folder to write or to replace; missing parent folders are made.

    Raises:
        IsADirectoryError, NotADirectoryError: if a file would replace a folder, or a folder a file.
        OSError: if it cannot be written.

    Example:
        >>> with atomic_write("net.keras") as new:
        ...     model.save(new)
    """
    target = pathlib.Path(os.path.realpath(path))
    if pathlib.Path(path).name in ("", "..") or not target.name:
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file or of a new folder",
                                os.fspath(path))
    is_device = target.exists() and not target.is_file() and not target.is_dir()
    with _name_errors(target):
        if not is_device:
            target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f".{target.name}.",
                                                dir=None if is_device else target.parent)

    with temporary as name:
        new, old = pathlib.Path(name, "new"), pathlib.Path(name, "old")
        new.mkdir()
        old.mkdir()
        yield new / target.name

        with _name_errors(target):
            if is_device:
                target.write_bytes((new / target.name).read_bytes())
                return
            for file in new.rglob("*"):
                if file.is_file():
                    _sync(file)
            _swap(new, old, target.parent)


@contextlib.contextmanager
def _name_errors(target: pathlib.Path) -> Iterator[None]:
    """Makes errors of the system name the file that should be written, not a temporary one."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"{target} cannot be written: {error.strerror}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.  Raises: OSError."""
    with atomic_write(path) as new:
        new.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.  Raises: OSError."""
    write_bytes(path, text.encode("utf-8"))


def _sync(file: pathlib.Path) -> None:
    """Waits until the bytes are on the disk, so that no name points to bytes that are not there."""
    descriptor = os.open(file, os.O_RDWR)       # Windows syncs only files that are open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: pathlib.Path, old: pathlib.Path, place: pathlib.Path) -> None:
    """Moves what is in `new` to `place`, and what was there to `old`; all of it, or (after an error) none."""
    files = sorted(new.iterdir())
    for file in files:
        goal = place / file.name
        if goal.exists() and goal.is_dir() != file.is_dir():
            kind = IsADirectoryError if goal.is_dir() else NotADirectoryError
            number = errno.EISDIR if goal.is_dir() else errno.ENOTDIR
            raise kind(number, os.strerror(number), str(goal))

    if len(files) == 1 and files[0].is_file():
        os.replace(files[0], place / files[0].name)     # in one step, so that a reader always sees a file
        return

    moved: list[tuple[pathlib.Path, pathlib.Path]] = []
    try:
        for file in files:
            for source, goal in ((place / file.name, old / file.name), (file, place / file.name)):
                if os.path.lexists(source):
                    moved.append((source, goal))    # before the move: an interrupt may come between the two
                    os.replace(source, goal)
    except BaseException:
        for source, goal in reversed(moved):
            if os.path.lexists(goal) and not os.path.lexists(source):
                os.replace(goal, source)
        raise


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Inside the block no other process holds the lock of this folder, if the system has file locks.

    The lock belongs to the process: it ends with the process, even if that is killed.

    Args:
        folder: an existing folder.
        wait: whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: if another process holds it and `wait` is False.
    """
    try:
        import fcntl
    except ImportError:     # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:     # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
