"""Reads files that may be damaged or made to harm: only regular files, and never more than was asked for.

`open_regular_file`, `read_bytes` and `read_text` refuse folders, pipes and devices.  A *member* is a file
inside a zip file.  The directory of the zip file has the size of every member before it was compressed;
`open_zip` and `open_npz` check these sizes before a member is unpacked.
"""
from __future__ import annotations

import contextlib
import math
import os
import stat
import zipfile
from typing import IO, Any, Iterator

from .errors import name_damaged_file
from .remote_paths import open_remote_file, read_remote_bytes, to_url

Path = str | os.PathLike[str]

# What fits one buffer of TFLite and of protocol buffers
MAX_BYTES = 2 ** 31
# By default all members of a zip file together may have 1 GiB, or 100 times the file's bytes if that is more
_MIN_ZIP_LIMIT, _MAX_INFLATION = 2 ** 30, 100
_MAX_MEMBERS = 2 ** 16
# Not bzip2 and LZMA, which zipfile could read too: they unpack a few bytes to gigabytes in one step
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_IS_ENCRYPTED = 1       # a bit of ZipInfo.flag_bits
_FILE_TYPES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device",
               stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def open_regular_file(path: Path) -> IO[bytes]:
    """Opens a regular file, or a symbolic link to one, to read bytes.

    A pipe would wait for ever, and a device may have no end.  A remote file is downloaded first.

    Args:
        path: the file, or a URL such as s3://BUCKET/KEY.

    Returns:
        A binary stream.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a folder, a pipe, a device or a socket.
        OSError: if it cannot be opened.
    """
    if url := to_url(path):
        return open_remote_file(url)
    # check before the file is opened, because opening changes the state of some devices
    _check_regular(path, os.stat(path).st_mode)
    # open without waiting: another process may have put a pipe in its place since the check
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        file_type = _FILE_TYPES.get(stat.S_IFMT(mode), "of an unknown kind")
        raise ValueError(f"{os.fspath(path)} is {file_type}; expected a regular file")


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a whole file.

    Args:
        path: a regular file.
        max_bytes: a larger file is an error, and nothing is read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a larger file, a folder, a pipe or a device.
        OSError: if it cannot be read.
    """
    if url := to_url(path):
        return read_remote_bytes(url, max_bytes)
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise ValueError(f"{os.fspath(path)} has {size:,} bytes; at most {max_bytes:,} are expected")
        return file.read(size)


def read_text(path: Path, max_bytes: int = 2 ** 26) -> str:
    """Reads a whole text file in UTF-8; its lines end in "\\n".

    Args:
        path: a regular file.
        max_bytes: a larger file is an error, and nothing is read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a larger file, a file in a different encoding, a folder, a pipe or a device.
        OSError: if it cannot be read.
    """
    data = read_bytes(path, max_bytes)
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)} is not a text in UTF-8 (byte {error.start}: {error.reason})"
                         ) from error


# ---- zip files


@contextlib.contextmanager
def open_zip(path: Path, kind: str = "a zip file", max_bytes: int | None = None) -> Iterator[zipfile.ZipFile]:
    """Opens a zip file to read, if the sizes in its directory are plausible.

    Read members by `read_member`: `ZipFile.read` may unpack 2 GB even if the directory says a smaller size.

    Args:
        path: a regular file.
        kind: what it should be, for an error, such as "a .keras file".
        max_bytes: how large all members may be together; by default 1 GiB, or 100 times the file if that is
            more.

    Returns:
        A context manager, which gives the open file.  All errors that libraries raise inside the block become
        ValueErrors that name the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, members that are too large, encrypted, of equal names, or compressed
            by a different method than Deflate; a folder, a pipe or a device.
        OSError: if it cannot be read.
    """
    with (open_regular_file(path) as file, name_damaged_file(path, kind),
          zipfile.ZipFile(file) as archive):
        check_members(archive.infolist(), os.fstat(file.fileno()).st_size, max_bytes)
        yield archive


def check_members(members: list[zipfile.ZipInfo], file_size: int, max_bytes: int | None = None) -> None:
    """Checks the directory of a zip file as `open_zip` does; needed for a zip file inside a zip file.

    Args:
        members: what `ZipFile.infolist` returns.
        file_size: how many bytes the zip file has.
        max_bytes: as for `open_zip`.

    Raises:
        ValueError: for members that are too large, too many, encrypted, of equal names, or compressed by a
            different method than Deflate.
    """
    if max_bytes is None:
        max_bytes = max(_MIN_ZIP_LIMIT, _MAX_INFLATION * file_size)
    if len(members) > _MAX_MEMBERS:
        raise ValueError(f"it has {len(members):,} members; at most {_MAX_MEMBERS:,} are expected")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two of its members have the same name")
    for member in members:
        if member.compress_type not in _ZIP_METHODS or member.flag_bits & _IS_ENCRYPTED:
            raise ValueError(f"{member.filename!r} is encrypted, or compressed by a different method than "
                             "Deflate")
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise ValueError(f"its members have {total:,} bytes; at most {max_bytes:,} are expected")


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads a member of a zip file, never more than its size in the zip file's directory.

    Args:
        archive: what `open_zip` gives.
        name: the member.

    Raises:
        ValueError: if there is no such member, or its size is not that in the directory.
        zipfile.BadZipFile, zlib.error, EOFError: for a damaged member; `open_zip` makes ValueErrors of them.
    """
    if name not in archive.namelist():
        raise ValueError(f"it has no member {name!r}")
    size = archive.getinfo(name).file_size
    with archive.open(name) as member:
        data = member.read(size)        # zipfile stops at this size; without a size it would unpack all
    if len(data) != size:
        raise ValueError(f"{name!r} has {len(data):,} bytes; the zip file's directory says {size:,}")
    return data


@contextlib.contextmanager
def open_npz(path: Path, max_bytes: int | None = None) -> Iterator[Any]:
    """Opens an .npz file to read, if the sizes that are written in it are plausible.

    Args:
        path: a regular file.
        max_bytes: as for `open_zip`.

    Returns:
        A context manager, which gives NumPy's `NpzFile`: a mapping that reads an array when it is looked up.
        All errors inside the block become ValueErrors that name the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, or arrays that are too large or of Python objects; see `open_zip`.
        OSError: if it cannot be read.

    Example:
        >>> with open_npz("images.npz") as arrays:
        ...     x, y = arrays["x"], arrays["y"]
    """
    import numpy as np
    with (open_regular_file(path) as file, name_damaged_file(path, "an .npz file"),
          zipfile.ZipFile(file) as archive):
        check_members(archive.infolist(), os.fstat(file.fileno()).st_size, max_bytes)
        for name in archive.namelist():
            read_array_header(archive, name)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            yield arrays


def read_array_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], Any]:
    """Reads the header of an array in an .npz file.

    Args:
        archive: what `open_zip` gives.
        name: the member, which ends in ".npy".

    Returns:
        The shape and the NumPy dtype.

    Raises:
        ValueError: for a member that is not an array, an array of Python objects, or an array whose shape and
            type need more or fewer bytes than the member has.
    """
    import numpy as np
    with archive.open(name) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):      # a header of a later version may have 4 GB
            raise ValueError(f"{name!r} is not a plain array")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        size = stream.tell() + dtype.itemsize * math.prod(shape)
    if dtype.hasobject:
        raise ValueError(f"{name!r} has Python objects, not numbers")
    if size != archive.getinfo(name).file_size:
        raise ValueError(f"the header of {name!r} says shape {shape} of {dtype}, but its size is different")
    return shape, dtype
