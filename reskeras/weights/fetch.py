"""Gets the file of a checkpoint, from a cache or by download, and always checks it.

Files of the Hugging Face hub are kept in the hub's own cache (HF_HOME), files of other hosts in the folder
reskeras/<source> of KERAS_HOME or ~/.keras.  Users may also put a file there themselves, see
`get_cache_path`.  Beside it a small .json file, the *note*, has the sha256 of the first download, so that a
later change is noticed.

Environment variables: HF_ENDPOINT is the address of another hub; RESKERAS_MIRROR ("http://127.0.0.1:8000")
replaces scheme and host of other URLs; with HF_HUB_OFFLINE nothing is downloaded.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import re
import time
from typing import Any, Callable
from urllib.parse import urlsplit

from ..files import write_text
from .download import count_attempts, download_file, iterate_causes
from .checkpoint import Checkpoint
from .table import EMBEDDED_FOLDER

BACKOFF = 0.5           # seconds before the second attempt, doubled before each further one
CHUNK = 1 << 20         # bytes that are hashed at once


class ChecksumError(ValueError):
    """The bytes of a file are not those that were published."""


def fetch_checkpoint(checkpoint: Checkpoint) -> pathlib.Path:
    """Returns the file of a checkpoint, downloaded if it is not in a cache.

    Args:
        checkpoint: a checkpoint of the table.

    Returns:
        The path of the file, whose bytes have been checked.

    Raises:
        OSError: if the file is not in a cache and cannot be downloaded; the message has the URL and the
            path where the user can put the file.
        ChecksumError: if the bytes are not those that were published; the file is deleted.
    """
    if checkpoint.source == "reskeras":
        return EMBEDDED_FOLDER / checkpoint.file
    file = find_cached_file(checkpoint)
    if file and _is_checked(file, checkpoint):
        return file

    from filelock import FileLock
    path = get_cache_path(checkpoint)
    if file and not _is_writable(path.parent):      # no note can be written: the bytes are checked each time
        _check_bytes(file, checkpoint)
        return file

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):      # if several processes start at once, only one downloads
        file = find_cached_file(checkpoint)
        if file is None:
            file = _retry(checkpoint, _download_from_hub if checkpoint.repo else _download_from_url)
        if not _is_checked(file, checkpoint):
            _check_and_note(file, checkpoint)
        return file


def find_cached_file(checkpoint: Checkpoint) -> pathlib.Path | None:
    """The file of a checkpoint if it is on this machine, else None; the network is not used."""
    if checkpoint.source == "reskeras":
        return EMBEDDED_FOLDER / checkpoint.file
    path = get_cache_path(checkpoint)
    if path.is_file():
        return path
    if not checkpoint.repo:
        return None

    from huggingface_hub import try_to_load_from_cache
    revision = _get_revision(checkpoint) or "main"
    cached = try_to_load_from_cache(checkpoint.repo, checkpoint.file, revision=revision)
    return pathlib.Path(cached) if isinstance(cached, str) else None    # or a mark: "does not exist"


def verify_cached_file(checkpoint: Checkpoint) -> str:
    """Reads and checks all bytes of a cached file again.

    Returns:
        The sha256 of the file, in hexadecimal.

    Raises:
        FileNotFoundError: if the file is not in a cache.
        ChecksumError: if the bytes are not those that were published; the file is deleted.
    """
    file = find_cached_file(checkpoint)
    if file is None:
        name = checkpoint.name
        raise FileNotFoundError(f"{name} is not in the cache; reskeras weights fetch {name} gets it")
    return _compute_digests(file)[0] if checkpoint.source == "reskeras" else _check_and_note(file, checkpoint)


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


def _is_writable(folder: pathlib.Path) -> bool:
    """Whether a file can be made in a folder that may not exist yet."""
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)


# ---- what was received: its check and its note


def _is_checked(file: pathlib.Path, checkpoint: Checkpoint) -> bool:
    """Whether the bytes have been checked since the file last changed."""
    note = _read_note(checkpoint)
    return note.get("stamp") == _make_stamp(file) and checkpoint.sha256 in ("", note.get("sha256"))


def _check_and_note(file: pathlib.Path, checkpoint: Checkpoint) -> str:
    """Checks every byte, and writes the note.  Returns the sha256."""
    sha256 = _check_bytes(file, checkpoint)
    note = {"sha256": sha256, "stamp": _make_stamp(file), "url": checkpoint.url}
    if checkpoint.repo and file.parent.parent.name == "snapshots":      # in the hub's cache
        note["commit"] = file.parent.name
    write_text(_get_note_path(checkpoint), json.dumps(note))
    return sha256


def _check_bytes(file: pathlib.Path, checkpoint: Checkpoint) -> str:
    """The sha256 of a file.

    Raises:
        ChecksumError: if the file differs from any known value; it is then deleted.
    """
    sha256, md5 = _compute_digests(file)
    expected = {
        "sha256": checkpoint.sha256,
        "sha256 (beginning)": checkpoint.sha256_prefix,
        "md5": checkpoint.md5,
        "sha256 by the server": _get_hub_sha256(file),
        f"sha256, as first received (noted in {_get_note_path(checkpoint)}),":
            _read_note(checkpoint).get("sha256"),
    }
    for name, value in expected.items():
        actual = md5 if name == "md5" else sha256
        if value and not actual.startswith(value.lower()):
            for path in {file, file.resolve()}:     # the hub's cache has a link to the file
                path.unlink(missing_ok=True)
            raise ChecksumError(
                f"{checkpoint.name}: the bytes of {_get_url(checkpoint)} are not those that were published: "
                f"expected {name} {value}, got {actual}; the file was deleted")
    return sha256


def _compute_digests(file: pathlib.Path) -> tuple[str, str]:
    """Computes the sha256 and the md5 of a file, in hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _get_hub_sha256(file: pathlib.Path) -> str:
    """The sha256 from the hub's server, the name of a large file in the hub's cache; "" if not known."""
    name = file.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else ""


def _read_note(checkpoint: Checkpoint) -> dict[str, Any]:
    """The note of a checkpoint; an empty dictionary if there is none."""
    try:
        note: dict[str, Any] = json.loads(_get_note_path(checkpoint).read_text())
        return note
    except (OSError, ValueError):
        return {}


def _get_note_path(checkpoint: Checkpoint) -> pathlib.Path:
    path = get_cache_path(checkpoint)
    return path.with_name(path.name + ".json")


def _make_stamp(file: pathlib.Path) -> list[int]:
    """Size and time of the last change: if the stamp changed, the file may have other bytes."""
    return [file.stat().st_size, file.stat().st_mtime_ns]


# ---- the download


def _download_from_url(checkpoint: Checkpoint) -> pathlib.Path:
    """Downloads a file from a host other than the hub; it gets its name only after its check."""
    if _is_offline():
        raise ConnectionError("HF_HUB_OFFLINE is set")
    path = get_cache_path(checkpoint)
    part = path.with_name(path.name + ".part")
    download_file(_get_url(checkpoint), part, checkpoint.name)
    _check_and_note(part, checkpoint)
    os.replace(part, path)
    return path


def _download_from_hub(checkpoint: Checkpoint) -> pathlib.Path:
    from huggingface_hub import hf_hub_download
    return pathlib.Path(hf_hub_download(checkpoint.repo, checkpoint.file, revision=_get_revision(checkpoint)))


def _retry(checkpoint: Checkpoint, download: Callable[[Checkpoint], pathlib.Path]) -> pathlib.Path:
    """Calls `download(checkpoint)`, and again after growing pauses if the server or connection fails.

    Raises:
        OSError: if all attempts fail; the message has the URL and the path where the user can put the file.
    """
    for attempt in itertools.count(1):
        try:
            return download(checkpoint)
        except ChecksumError:
            raise
        except Exception as error:  # the errors of the libraries have no other common class
            causes = list(iterate_causes(error))
            if _is_offline() or attempt >= count_attempts(causes, is_hub=bool(checkpoint.repo)):
                reason = " ".join(str(causes[-1]).split())
                url, path = _get_url(checkpoint), get_cache_path(checkpoint)
                raise OSError(
                    f"{checkpoint.name} is not in the cache and cannot be downloaded from {url} ({reason}); "
                    f"put the file at {path}, or build the net with random weights "
                    "(weights=None)") from error
            time.sleep(BACKOFF * 2 ** (attempt - 1))
    raise AssertionError


def _get_url(checkpoint: Checkpoint) -> str:
    """The URL that is used, see HF_ENDPOINT and RESKERAS_MIRROR above."""
    parts = urlsplit(checkpoint.url)
    mirror = os.environ.get("HF_ENDPOINT" if checkpoint.repo else "RESKERAS_MIRROR")
    return mirror.rstrip("/") + parts.path if mirror else checkpoint.url


def _get_revision(checkpoint: Checkpoint) -> str | None:
    """The commit of the hub's repository: that of the table, or of the first download, or None."""
    return checkpoint.revision or _read_note(checkpoint).get("commit")


def _is_offline() -> bool:
    from huggingface_hub import constants
    return bool(constants.HF_HUB_OFFLINE)
