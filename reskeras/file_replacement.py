"""How `files.atomic_write` moves finished files to their final paths, and removes what a killed writer left.

A writer prepares its files in a hidden folder, in the folder of the target path.  Each file then replaces the
old one in one step, so that a reader always finds a file.  Several files cannot be replaced in one step:
whoever reads them must check that they belong together, as `reskeras.verify` does by their hashes.
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
_LOCK_SECONDS = 60              # to wait for another writer, which needs milliseconds
_OLD_SECONDS = 24 * 60 * 60     # a hidden folder older than this is removed, even if the system has no locks


@contextlib.contextmanager
def make_staging_folder(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a hidden folder for the files of one writer, and removes it after the block.

    Folders of writers that were killed are removed first.  A writer holds a lock of its folder, and the lock
    ends with the process, so a folder that is not locked belongs to a killed writer.

    Args:
        parent: the existing folder in which the hidden folder is made.

    Raises:
        OSError: if nothing can be written there.
    """
    _remove_leftovers(parent)
    while True:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
            try:
                lock = _open_locked(name)
            except (BlockingIOError, FileNotFoundError):
                # another writer removes our new folder as a leftover, because it was not locked yet
                continue
            try:
                yield pathlib.Path(name)
                return
            finally:
                shutil.rmtree(name, ignore_errors=True)     # remove it while it is still locked
                _close(lock)


def replace_files(new: pathlib.Path, old: pathlib.Path, parent: pathlib.Path, first: str) -> None:
    """Moves all files and folders from `new` to `parent`.

    After an error or an interrupt all files and folders in `parent` are the old ones.

    Args:
        new: the folder of the new files and folders, in a staging folder of `parent`.
        old: an empty folder beside `new`, for the files that are replaced.
        parent: the folder of the targets.
        first: the name that is replaced first: the data, before the files that belong to it.

    Raises:
        IsADirectoryError, NotADirectoryError: if a file would replace a folder, or a folder a file.
        OSError: if something cannot be replaced.
    """
    names = sorted((file.name for file in new.iterdir()), key=lambda name: (name != first, name))
    for name in names:
        _check_type(new / name, parent / name)
    _sync(new)

    if len(names) == 1 and (new / names[0]).is_file():
        os.replace(new / names[0], parent / names[0])
    else:
        with _lock_folder(parent):
            _replace_all(names, new, old, parent)
    _sync_folder(parent)


def _replace_all(names: list[str], new: pathlib.Path, old: pathlib.Path, parent: pathlib.Path) -> None:
    begun: list[tuple[str, tuple[int, int] | None]] = []    # (name, identity of the old file)
    try:
        for name in names:
            # append before the move, because an interrupt may come right after the move
            begun.append((name, _identify(parent / name)))
            _replace(new / name, old / name, parent / name)
    except BaseException:
        for name, before in reversed(begun):
            _restore(new / name, old / name, parent / name, before)
        raise


def _check_type(new: pathlib.Path, target: pathlib.Path) -> None:
    """Raises: OSError if a file would replace a folder, or a folder a file."""
    if target.exists() and target.is_dir() != new.is_dir():
        error_class = IsADirectoryError if target.is_dir() else NotADirectoryError
        number = errno.EISDIR if target.is_dir() else errno.ENOTDIR
        raise error_class(number, os.strerror(number), str(target))


def _replace(new: pathlib.Path, old: pathlib.Path, target: pathlib.Path) -> None:
    """Moves `new` to `target`.

    An old file is then at `old`.  An old folder is at `new` if the system exchanged both, else at `old`.
    """
    if os.path.lexists(target):
        if new.is_dir():
            if _exchange(new, target):
                return
            os.replace(target, old)     # for a moment there is nothing at `target`
        else:
            _keep(target, old)
    os.replace(new, target)


def _restore(new: pathlib.Path, old: pathlib.Path, target: pathlib.Path,
             before: tuple[int, int] | None) -> None:
    """Undoes `_replace`, however far it came.  `before` is what `_identify(target)` was."""
    if _identify(target) == before:
        return
    if before is None:
        os.replace(target, new)
        return
    source = new if _identify(new) == before else old
    if target.is_dir() and not target.is_symlink():
        os.replace(target, pathlib.Path(tempfile.mkdtemp(dir=new.parent.parent), "undone"))
    os.replace(source, target)


def _keep(file: pathlib.Path, old: pathlib.Path) -> None:
    """Keeps a file as `old` too, by a hard link or a copy; `file` stays, so that readers always find it."""
    try:
        os.link(file, old, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(file, old, follow_symlinks=False)


def _identify(path: pathlib.Path) -> tuple[int, int] | None:
    """(device, inode) of a file, which it keeps when it is moved; None if there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Exchanges two folders in one step, which Linux can do on most file systems.

    Returns: whether the system did it; if not, nothing has changed.
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
    """Waits until the bytes of all files are on the disk, so that none is empty after a power cut."""
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
        A descriptor (closing it ends the lock); None if the system has no locks.

    Raises:
        BlockingIOError: if another process has the lock.
        FileNotFoundError: if the path does not exist, or was removed before it was locked.
    """
    try:
        import fcntl
    except ImportError:     # Windows
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)     # waits for no pipe
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
def _lock_folder(parent: pathlib.Path) -> Iterator[None]:
    """Inside the block no other process replaces several files in this folder, if the system has locks.

    A separate file is locked, not the folder, because `files.locked` may lock the folder for hours.
    """
    path, end = parent / _LOCK_NAME, time.monotonic() + _LOCK_SECONDS
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
            # Remove the file while it is locked: a process that waits for the lock then sees that the file is
            # gone, and makes a new one.
            os.unlink(path)
        _close(lock)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is a temporary one, of a running or of a killed writer."""
    return name.startswith(_PREFIX)


def _remove_leftovers(parent: pathlib.Path) -> None:
    """Removes the hidden folders of writers that were killed."""
    try:
        names = [name for name in os.listdir(parent) if is_leftover(name)]
    except OSError:         # a folder in which this user may write, but which they may not list
        return
    for path in (parent / name for name in names):
        # an error: a running writer has locked this folder, or another process has already removed it
        with contextlib.suppress(OSError):
            is_old = time.time() - path.lstat().st_mtime > _OLD_SECONDS
            lock = _open_locked(path)
            try:
                if lock is not None or is_old:
                    _remove_leftover(path, parent)
            finally:
                _close(lock)


def _remove_leftover(path: pathlib.Path, parent: pathlib.Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    folders = [folder for folder in path.glob("old/*") if folder.is_dir()]
    if folders:     # The killed writer had moved these away, and their place may be empty: move them back.
        with _lock_folder(parent):
            for folder in folders:
                if not os.path.lexists(parent / folder.name):
                    os.replace(folder, parent / folder.name)
    shutil.rmtree(path)
