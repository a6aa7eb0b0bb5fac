"""How `files.atomic_write` gives new files their names, and removes what a killed writer left.

A writer prepares its files in a hidden folder beside the goal.  Each file then replaces the old one in one
step, so that a reader always finds a file.  Several files cannot be replaced in one step: whoever reads them
must check that they belong together, as `reskeras.verify` does by their hashes.
"""
from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
import time
from typing import Iterator

_PREFIX = ".reskeras-"          # of the hidden folders, and of the lock
_LOCK_NAME = f"{_PREFIX}lock"
_LOCK_SECONDS = 60              # to wait for another writer, who needs milliseconds
_OLD_SECONDS = 24 * 60 * 60     # where the system has no locks, a hidden folder as old as this is left over


@contextlib.contextmanager
def make_staging_folder(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a hidden folder for the files of one writer, and removes it after the block.

    Folders of writers that were killed are removed first.  A lock shows that a writer still lives: it ends
    with the process.

    Args:
        place: the existing folder in which it is made.

    Raises:
        OSError: if nothing can be written there.
    """
    _remove_leftovers(place)
    while True:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True) as name:
            try:
                lock = _open_locked(name)
            except (BlockingIOError, FileNotFoundError):    # another writer removes it: it had no lock yet
                continue
            try:
                yield pathlib.Path(name)
                return
            finally:
                shutil.rmtree(name, ignore_errors=True)     # before the lock ends
                _close(lock)


def replace_files(new: pathlib.Path, old: pathlib.Path, place: pathlib.Path, first: str) -> None:
    """Moves all that is in `new` to `place`; after an error or an interrupt everything there is as it was.

    Args:
        new: the folder of the new files and folders, in a staging folder of `place`.
        old: an empty folder beside it, for what is replaced.
        place: the folder of the goals.
        first: the name that is replaced first: the data, before the files that belong to it.

    Raises:
        IsADirectoryError, NotADirectoryError: if a file would replace a folder, or a folder a file.
        OSError: if something cannot be replaced.
    """
    names = sorted((file.name for file in new.iterdir()), key=lambda name: (name != first, name))
    for name in names:
        _check_kind(new / name, place / name)
    _sync(new)

    if len(names) == 1 and (new / names[0]).is_file():
        os.replace(new / names[0], place / names[0])
    else:
        with _lock_folder(place):
            _replace_all(names, new, old, place)
    _sync_folder(place)


def _replace_all(names: list[str], new: pathlib.Path, old: pathlib.Path, place: pathlib.Path) -> None:
    begun: list[tuple[str, tuple[int, int] | None]] = []
    try:
        for name in names:
            begun.append((name, _identify(place / name)))   # before the move: an interrupt may come after it
            _replace(new / name, old / name, place / name)
    except BaseException:
        for name, before in reversed(begun):
            _restore(new / name, old / name, place / name, before)
        raise


def _check_kind(new: pathlib.Path, goal: pathlib.Path) -> None:
    if goal.exists() and goal.is_dir() != new.is_dir():
        kind = IsADirectoryError if goal.is_dir() else NotADirectoryError
        number = errno.EISDIR if goal.is_dir() else errno.ENOTDIR
        raise kind(number, os.strerror(number), str(goal))


def _replace(new: pathlib.Path, old: pathlib.Path, goal: pathlib.Path) -> None:
    """Moves `new` to `goal`.  What was there is at `old` then, or at `new` if it was a folder."""
    if os.path.lexists(goal):
        if new.is_dir():
            if _exchange(new, goal):
                return
            os.replace(goal, old)       # for a moment there is nothing at `goal`
        else:
            _keep(goal, old)
    os.replace(new, goal)


def _restore(new: pathlib.Path, old: pathlib.Path, goal: pathlib.Path,
             before: tuple[int, int] | None) -> None:
    """Undoes `_replace`, however far it came.  `before` is what `_identify(goal)` was."""
    if _identify(goal) == before:
        return
    if before is None:
        os.replace(goal, new)
        return
    source = new if _identify(new) == before else old
    if goal.is_dir() and not goal.is_symlink():
        os.replace(goal, pathlib.Path(tempfile.mkdtemp(dir=new.parent.parent), "undone"))
    os.replace(source, goal)


def _keep(file: pathlib.Path, old: pathlib.Path) -> None:
    """Gives a file a second name, or copies it where the file system has no links: it is never moved away."""
    try:
        os.link(file, old, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(file, old, follow_symlinks=False)


def _identify(path: pathlib.Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Exchanges two folders in one step.  Returns: whether the system could; otherwise nothing has changed.

    Linux can, on most file systems.
    """
    import ctypes
    current_folder, exchange = -100, 2      # AT_FDCWD and RENAME_EXCHANGE in Linux' headers
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    paths = (current_folder, os.fsencode(one), current_folder, os.fsencode(other))
    return bool(renameat2(*paths, exchange) == 0)


def _sync(folder: pathlib.Path) -> None:
    """Waits until the bytes of all files are on the disk: no name may point to bytes that are not there."""
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync_folder(path)
        elif path.is_file():
            descriptor = os.open(path, os.O_RDWR)   # Windows syncs only files that are open for writing
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_folder(folder: pathlib.Path) -> None:
    """Waits until the names in a folder are on the disk, if the system can."""
    with contextlib.suppress(OSError):      # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---- Locks and leftovers


def _open_locked(path: str | pathlib.Path) -> int | None:
    """Opens and locks a file or a folder.

    Returns:
        A descriptor, whose closing ends the lock; None if the system has no locks.

    Raises:
        BlockingIOError: if another process has the lock.
        FileNotFoundError: if the path was removed meanwhile.
    """
    try:
        import fcntl
    except ImportError:     # Windows
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)     # not to wait for a pipe
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise
    except OSError:         # a file system without locks
        os.close(descriptor)
        return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


@contextlib.contextmanager
def _lock_folder(place: pathlib.Path) -> Iterator[None]:
    """Inside the block nobody else replaces several files in a folder, if the system has locks.

    The lock is a file of its own: `files.locked` may hold that of the folder for hours.
    """
    path, end = place / _LOCK_NAME, time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
            lock = _open_locked(path)
            break
        except (BlockingIOError, FileNotFoundError):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, f"for {_LOCK_SECONDS} seconds another process has been "
                                   f"replacing files there; end it if it hangs", str(path)) from None
            time.sleep(0.002)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)     # before the lock ends: who waits for it sees that, and makes a new one
        _close(lock)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is what a writer needs for a moment, or has left."""
    return name.startswith(_PREFIX)


def _remove_leftovers(place: pathlib.Path) -> None:
    """Removes the hidden folders of writers that were killed."""
    try:
        names = [name for name in os.listdir(place) if is_leftover(name)]
    except OSError:         # a folder to write into, but not to list
        return
    for path in (place / name for name in names):
        with contextlib.suppress(OSError):      # of a writer that lives, or gone
            is_old = time.time() - path.lstat().st_mtime > _OLD_SECONDS
            lock = _open_locked(path)
            try:
                if lock is not None or is_old:
                    _remove_leftover(path, place)
            finally:
                _close(lock)


def _remove_leftover(path: pathlib.Path, place: pathlib.Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    folders = [folder for folder in path.glob("old/*") if folder.is_dir()]
    if folders:             # they were moved away; without an exchange there may be nothing in their place
        with _lock_folder(place):
            for folder in folders:
                if not os.path.lexists(place / folder.name):
                    os.replace(folder, place / folder.name)
    shutil.rmtree(path)
