"""Checks the bytes of a checkpoint's file; says which file is wrong, that on this disk or the server's."""
from __future__ import annotations

import hashlib
import pathlib
import re
import zipfile

from ..file_reading import open_regular_file
from .cache import get_note_path, read_note
from .checkpoint import Checkpoint
from .server_hashes import FileHashes, get_hashes_path, get_noted_hashes, get_url

_CHUNK = 1 << 20        # bytes that are hashed at once
# How a file of the format begins
_BEGINNINGS = {"h5": rb"\x89HDF\r\n", "npz": rb"PK", "keras": rb"PK", "pth": rb"PK|\x80",
               "safetensors": rb".{8}\{"}


class ChecksumError(ValueError):
    """The bytes of a file are not those that were published."""


def check_bytes(file: pathlib.Path, checkpoint: Checkpoint, is_new: bool = False,
                 server: FileHashes | None = None) -> str:
    """The sha256 of a file.

    Args:
        file: the file.
        checkpoint: what it should be.
        is_new: whether it was downloaded in this call.
        server: the hashes that came with the download.

    Raises:
        ChecksumError: if the file differs from any known value; it is then deleted.
    """
    sha256, md5 = compute_digests(file)
    note, noted = read_note(checkpoint), get_noted_hashes(checkpoint)
    server = server or FileHashes(_get_hub_sha256(file))
    expected = {
        "sha256": checkpoint.sha256,
        "sha256 (beginning)": checkpoint.sha256_prefix,
        "md5": checkpoint.md5,
        "sha256 by the server": server.sha256,
        "md5 by the server": server.md5,
        f"sha256, as first received (noted in {get_note_path(checkpoint)}),":
            note.sha256 if note else "",
        f"sha256, as the server said (noted in {get_hashes_path()}),": noted.sha256,
        f"md5, as the server said (noted in {get_hashes_path()}),": noted.md5,
    }
    for name, value in expected.items():
        actual = md5 if name.startswith("md5") else sha256
        if value and not actual.startswith(value.lower()):
            is_whole = not server.sha256 and not server.md5 or (
                sha256.startswith(server.sha256) and md5.startswith(server.md5))
            where, advice = _explain_mismatch(file, checkpoint, is_new, is_whole)
            _delete(file)
            raise ChecksumError(f"{checkpoint.name}: {where}: expected {name} {value}, got {actual}; "
                                f"the file was deleted; {advice}")
    if not any(expected.values()):
        _check_kind(file, checkpoint)
    return sha256


def _explain_mismatch(file: pathlib.Path, checkpoint: Checkpoint, is_new: bool,
                      is_whole: bool) -> tuple[str, str]:
    """Which file is wrong, the one on this disk or the server's, and what to do.

    Args:
        file: the file on this disk.
        checkpoint: what it should be.
        is_new: whether it was downloaded in this call.
        is_whole: whether it has the hashes that the server gives, as far as it gives any.
    """
    url = get_url(checkpoint)
    if is_new and is_whole:
        return (f"the server's file {url} is not the one that was published",
                "a later call downloads it again; `reskeras weights verify --remote "
                f"{checkpoint.name}` asks what the server has now")
    if is_new:
        return f"the bytes that came from {url} are not those that the server has", "try the download again"
    return (f"the file on this disk, {file}, is not the one of {url}: it was changed or damaged here",
            f"`reskeras weights fetch {checkpoint.name}` downloads it again")


def _check_kind(file: pathlib.Path, checkpoint: Checkpoint) -> None:
    """Checks the format of a file without a known hash: it may be an HTML page, or a part of the file.

    Raises:
        ChecksumError: if the file is not whole, or of a different format; it is then deleted.
    """
    with open_regular_file(file) as stream:
        beginning = stream.read(60)
    is_right = bool(re.match(_BEGINNINGS[checkpoint.format], beginning, re.DOTALL))
    if is_right and beginning.startswith(b"PK"):
        is_right = zipfile.is_zipfile(file)     # a zip file has its directory at its end
    if not is_right:
        _delete(file)
        raise ChecksumError(
            f"{checkpoint.name}: the file from {get_url(checkpoint)} is not a whole {checkpoint.format} "
            f"file; it begins with {beginning!r}; the file was deleted")


def _delete(file: pathlib.Path) -> None:
    for path in {file, file.resolve()}:     # the hub's cache has a link to the file
        path.unlink(missing_ok=True)


def compute_digests(file: pathlib.Path) -> tuple[str, str]:
    """Computes the sha256 and the md5 of a file, in hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open_regular_file(file) as stream:
        while block := stream.read(_CHUNK):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _get_hub_sha256(file: pathlib.Path) -> str:
    """The sha256 from the hub's server, by which its cache names large files; "" if it is not known."""
    name = file.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else ""
