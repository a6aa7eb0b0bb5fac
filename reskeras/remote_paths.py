"""Files of object stores and other file systems of fsspec: s3://BUCKET/KEY, gs://BUCKET/KEY, memory://KEY ...

`files.py` writes them and `file_reading.py` reads them, as any other file.  A training works in a local copy
of its folder (`mirror_folder`), which is deleted at the end; what is written there is uploaded at once.
fsspec and the packages for each store are imported when they are needed.
"""
from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
from typing import IO, Any, Iterator

from .errors import describe_error

Path = str | os.PathLike[str]

# pathlib writes s3://BUCKET/KEY as s3:/BUCKET/KEY; a drive of Windows has one letter
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?!/)(.*)", re.S)
_WILDCARD = re.compile(r"[*?\[]")
_DENIED = re.compile("(?i)credential|forbidden|anonymous|denied")
_WHOLE_BYTES = 2 ** 26              # a file up to this size is sent in one request
_mirrors: dict[pathlib.Path, str] = {}


def to_url(path: Any) -> str:
    """The URL of a remote file or folder, also if pathlib has changed it; "" for a local path.

    Example:
        >>> to_url(pathlib.Path("s3://photos/net.keras"))
        's3://photos/net.keras'
    """
    if not isinstance(path, (str, os.PathLike)):
        return ""
    match = _URL.fullmatch(os.fspath(path))
    # hf:// is a repository with a model, which pretrained.py opens
    return f"{match[1]}://{match[2]}" if match and match[1] not in ("file", "hf") else ""


def join_path(folder: Path, name: str) -> str | pathlib.Path:
    """The path of a file in a local or remote folder."""
    url = to_url(folder)
    return f"{url.rstrip('/')}/{name}" if url else pathlib.Path(folder, name)


@contextlib.contextmanager
def _connect(url: str) -> Iterator[tuple[Any, str]]:
    """Gives fsspec's file system of a URL and the path there; errors inside the block name the URL.

    Raises:
        ImportError: if fsspec, or the package for this kind of store, is not installed.
        FileNotFoundError: if there is no such file or bucket.
        PermissionError: without credentials, or if they do not allow it.
        ValueError: for an unknown kind of store.
        OSError: for other errors of the store.
    """
    extra = 'pip install "reskeras[remote]"'
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f"{url} needs fsspec: {extra}") from error
    kind = url.partition("://")[0]
    try:
        system, key = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"{url} needs a package for {kind}:// ({describe_error(error)}): {extra}"
                          ) from error
    except ValueError as error:
        raise ValueError(f"{url}: {kind}:// is no kind of path that fsspec knows; expected a local path, or "
                         "one such as s3://BUCKET/KEY or gs://BUCKET/KEY") from error
    try:
        yield system, key
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{url}: no such file, folder or bucket") from error
    except Exception as error:
        if isinstance(error, OSError) and str(error).startswith(url):
            raise
        words = f"{type(error).__name__} {error}"
        if isinstance(error, PermissionError) or _DENIED.search(words):
            raise PermissionError(
                f"{url}: access was denied, or no credentials were found ({describe_error(error)}); give "
                "them as for other programs, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "'gcloud auth application-default login'") from error
        raise OSError(f"{url}: {describe_error(error)}") from error


# ---- reading


def open_remote_file(url: str) -> IO[bytes]:
    """Downloads a file into a temporary file that has no name, and opens it to read.

    Raises:
        FileNotFoundError, PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    file = tempfile.TemporaryFile()
    try:
        with _connect(url) as (system, key), system.open(key, "rb") as stream:
            shutil.copyfileobj(stream, file, 2 ** 22)
        file.seek(0)
        return file
    except BaseException:
        file.close()
        raise


def read_remote_bytes(url: str, max_bytes: int) -> bytes:
    """Reads a whole file.

    Args:
        url: the file.
        max_bytes: a larger file is a ValueError, and nothing is read.

    Raises:
        FileNotFoundError, PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    with _connect(url) as (system, key):
        size = system.size(key)
        if (size or 0) <= max_bytes:
            data: bytes = system.cat_file(key)
            return data
    raise ValueError(f"{url} has {size:,} bytes; at most {max_bytes:,} are expected")


@contextlib.contextmanager
def copy_to_local(path: Path) -> Iterator[pathlib.Path]:
    """Inside the block a remote file or folder has a local copy; a local one is given as it is.

    Errors inside the block name the remote file.

    Raises:
        FileNotFoundError, PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    url = to_url(path)
    if not url:
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="reskeras-") as folder:
        local = pathlib.Path(folder, url.rstrip("/").rpartition("/")[2])
        with _connect(url) as (system, key):
            system.get(key, str(local), recursive=system.isdir(key))
        with _name_remote_path(local, url):
            yield local


def find_remote_files(pattern: str) -> list[str]:
    """The files of a shell pattern, or all files in a folder at any depth, sorted, as URLs.

    Raises:
        PermissionError, OSError, ImportError, ValueError: see `_connect`; FileNotFoundError for a missing
            bucket.
    """
    wildcard = _WILDCARD.search(pattern)
    begin = wildcard.start() if wildcard else len(pattern)
    with _connect(pattern) as (system, key):
        found = system.glob(key) if wildcard else system.find(key)
        before = len(key) - (len(pattern) - begin)      # of the names, what `pattern` has before the wildcard
        return sorted(pattern[:begin] + name[before:] for name in found if not name.endswith("/"))


def is_remote_folder(path: Path) -> bool:
    """Whether a path is a remote folder.  Raises: as `find_remote_files`."""
    url = to_url(path)
    if not url:
        return False
    with _connect(url) as (system, key):
        return bool(system.isdir(key))


def exists(path: Path) -> bool:
    """Whether there is such a local or remote file or folder.  Raises: as `find_remote_files`."""
    url = to_url(path)
    if not url:
        return os.path.exists(path)
    with _connect(url) as (system, key):
        return bool(system.exists(key))


# ---- writing


def upload(local: pathlib.Path, url: str) -> None:
    """Uploads a file or a folder.

    An object store has a new file when all of it has arrived; before that, and if it fails, the old one.  The
    files of a folder are replaced one by one; then the old files that it does not have are deleted.

    Raises:
        PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    with _connect(url) as (system, key):
        if not local.is_dir():
            _upload_file(system, local, key)
            return
        files = [file for file in sorted(local.rglob("*")) if file.is_file()]
        targets = [f"{key.rstrip('/')}/{file.relative_to(local).as_posix()}" for file in files]
        for file, target in zip(files, targets):
            _upload_file(system, file, target)
        for old in set(system.find(key)) - set(targets):
            system.rm_file(old)


def _upload_file(system: Any, local: pathlib.Path, key: str) -> None:
    if local.stat().st_size <= _WHOLE_BYTES:
        system.pipe_file(key, local.read_bytes())
    else:
        system.put_file(str(local), key)


@contextlib.contextmanager
def mirror_folder(path: Path, is_new: bool = False) -> Iterator[pathlib.Path]:
    """Inside the block a remote folder has a local copy; a local folder is given as it is.

    What `files.py` writes in the copy is uploaded at once.  Blocks for the same folder share one copy, which
    is deleted after the outermost of them.

    Args:
        path: the folder.
        is_new: whether it should be new: then only the names of the files there are copied, as empty files.

    Raises:
        PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    url = to_url(path).rstrip("/")
    shared = [local for local, other in _mirrors.items() if other == url]
    if not url or shared:
        yield shared[0] if url else pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="reskeras-") as folder:
        local = pathlib.Path(os.path.realpath(folder), url.rpartition("/")[2])
        local.mkdir()
        _fill_mirror(local, url, is_new)
        _mirrors[local] = url
        try:
            with _name_remote_path(local, url):
                yield local
        finally:
            del _mirrors[local]


def _fill_mirror(local: pathlib.Path, url: str, is_new: bool) -> None:
    with contextlib.suppress(FileNotFoundError), _connect(url) as (system, key):
        for name in system.find(key):
            target = local / name[len(key):].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_new:
                target.touch()
            else:
                system.get_file(name, str(target))


def upload_from_mirror(folder: pathlib.Path, names: list[str]) -> None:
    """Uploads files that were written in the local copy of a remote folder; does nothing elsewhere.

    Args:
        folder: the local folder with the files.
        names: the names of the files and folders in it.

    Raises:
        PermissionError, OSError, ImportError, ValueError: see `_connect`.
    """
    url = get_original_path(folder)
    if to_url(url):
        for name in names:
            upload(folder / name, f"{url}/{name}")


def get_original_path(path: Path) -> str:
    """The URL of a path inside the local copy of a remote folder; any other path as it is."""
    place = pathlib.Path(path)
    for local, url in _mirrors.items():
        if place == local or local in place.parents:
            return "/".join((url, *place.relative_to(local).parts))
    return os.fspath(path)


@contextlib.contextmanager
def _name_remote_path(local: pathlib.Path, url: str) -> Iterator[None]:
    """Makes the messages of errors inside the block name the URL, not the local copy."""
    try:
        yield
    except (OSError, ValueError) as error:
        for name, value in list(vars(error).items()):
            if isinstance(value, str):
                setattr(error, name, value.replace(str(local), url))
        error.args = tuple(part.replace(str(local), url) if isinstance(part, str) else part
                           for part in error.args)
        if isinstance(error.filename if isinstance(error, OSError) else None, str):
            error.filename = error.filename.replace(str(local), url)        # type: ignore[union-attr]
        raise
