"""The file of a checkpoint: from the cache, else downloaded, checked, and remembered.

Files of the Hugging Face hub lie in its own cache (HF_HOME), others in KERAS_HOME or ~/.keras, in reskeras/<source>/.
There, beside each file's place, a .json remembers the sha256 of what was first received, so that a later change is refused.
HF_ENDPOINT names another hub, RESKERAS_MIRROR ("http://127.0.0.1:8000") takes the place of scheme and host of other URLs,
and HF_HUB_OFFLINE keeps from the network.
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

from .download import exception_chain, count_attempts, download_file
from .table import EMBEDDED_FOLDER, Checkpoint

BACKOFF = 0.5           # seconds, doubled at each attempt
CHUNK = 1 << 20


class WrongBytes(ValueError):
    """A file that is not what was published."""


def fetch_checkpoint(weights: Checkpoint) -> pathlib.Path:
    """The checkpoint's file, downloaded where it is not in the cache.

    Raises: OSError where it cannot be had (the message has the URL and where to put the file by hand), ValueError for bytes
        that are not what was published; they are deleted.
    """
    if weights.source == "reskeras":
        return EMBEDDED_FOLDER / weights.file
    found = find_cached_file(weights)
    if found and _is_checked(found, weights):
        return found
    from filelock import FileLock
    place = get_cache_path(weights)
    if found and not _writable(place.parent):    # nothing can be noted: the bytes are read each time
        _check_digests(found, weights)
        return found
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):     # of processes that start at once, one downloads
        found = find_cached_file(weights)
        if found is None:
            found = _retried(weights, _from_hub if weights.repo else _from_url)
        return _check_file(found, weights)


def get_cache_path(weights: Checkpoint) -> pathlib.Path:
    """Where the file lies, or may be put by hand."""
    at_source = f"{weights.id.partition('/')[2]}.{weights.format}"      # the hub's files are all model.safetensors
    return get_cache_folder() / weights.source / (at_source if weights.repo else urlsplit(weights.url).path.rpartition("/")[2])


def get_cache_folder() -> pathlib.Path:
    home = os.environ.get("KERAS_HOME")
    return (pathlib.Path(home) if home else pathlib.Path.home() / ".keras") / "reskeras"


def find_cached_file(weights: Checkpoint) -> pathlib.Path | None:
    """The file, if it is on this machine; no network is used."""
    if weights.source == "reskeras":
        return EMBEDDED_FOLDER / weights.file
    place = get_cache_path(weights)
    if place.is_file():
        return place
    if not weights.repo:
        return None
    from huggingface_hub import try_to_load_from_cache
    commit = weights.revision or _read_note(weights).get("commit")
    found = try_to_load_from_cache(weights.repo, weights.file, revision=commit or "main")
    return pathlib.Path(found) if isinstance(found, str) else None


def verify_cached_file(weights: Checkpoint) -> str:
    """The sha256 of the file in the cache, all of it read again.  Raises: FileNotFoundError, ValueError for other bytes."""
    found = find_cached_file(weights)
    if found is None:
        raise FileNotFoundError(f"{weights.name} is not in the cache; reskeras weights fetch {weights.name} gets it")
    return _compute_digests(found)[0] if weights.source == "reskeras" else _check_and_note(found, weights)


def _check_file(file: pathlib.Path, weights: Checkpoint) -> pathlib.Path:
    """`file`, if its bytes are those expected; they are read once, until the file changes."""
    if not _is_checked(file, weights):
        _check_and_note(file, weights)
    return file


def _is_checked(file: pathlib.Path, weights: Checkpoint) -> bool:
    """Whether the bytes were checked since the file last changed."""
    note = _read_note(weights)
    return note.get("stamp") == _file_stamp(file) and weights.sha256 in ("", note.get("sha256"))


def _writable(folder: pathlib.Path) -> bool:
    """Whether a file can be made in a folder that may not exist yet."""
    nearest = next(f for f in (folder, *folder.parents) if f.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def _check_and_note(file: pathlib.Path, weights: Checkpoint) -> str:
    """Checks every byte against all that is known, and notes their sha256."""
    sha256 = _check_digests(file, weights)
    note = {"sha256": sha256, "stamp": _file_stamp(file), "url": weights.url}
    if weights.repo and file.parent.parent.name == "snapshots":
        note["commit"] = file.parent.name
    new = _note_path(weights).with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(note))
    os.replace(new, _note_path(weights))
    return sha256


def _check_digests(file: pathlib.Path, weights: Checkpoint) -> str:
    """The sha256 of a file.  Raises: WrongBytes where anything that is known says otherwise; it is then deleted."""
    first = _read_note(weights).get("sha256", "")
    sha256, md5 = _compute_digests(file)
    expected = {"sha256": weights.sha256, "sha256 (beginning)": weights.sha256_prefix, "md5": weights.md5,
                "sha256 by the server": _etag(file),
                f"sha256, as first received ({_note_path(weights)} remembers it),": first}
    for what, value in expected.items():
        got = md5 if what == "md5" else sha256
        if value and not got.startswith(value.lower()):
            for path in {file, file.resolve()}:     # the hub's cache has a link to the file
                path.unlink(missing_ok=True)
            raise WrongBytes(f"{weights.name}: the bytes of {_address(weights)} are not those published: "
                             f"expected {what} {value}, got {got}; the file was deleted")
    return sha256


def _read_note(weights: Checkpoint) -> dict[str, Any]:
    try:
        return json.loads(_note_path(weights).read_text())
    except (OSError, ValueError):
        return {}


def _note_path(weights: Checkpoint) -> pathlib.Path:
    place = get_cache_path(weights)
    return place.with_name(place.name + ".json")


def _file_stamp(file: pathlib.Path) -> list[int]:
    return [file.stat().st_size, file.stat().st_mtime_ns]


def _compute_digests(file: pathlib.Path) -> tuple[str, str]:
    """sha256 and md5 in hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _etag(file: pathlib.Path) -> str:
    """The server's sha256: the hub's cache names a large file by it."""
    name = file.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else ""


def _address(weights: Checkpoint) -> str:
    """The URL that is asked."""
    parts = urlsplit(weights.url)
    other = os.environ.get("HF_ENDPOINT" if weights.repo else "RESKERAS_MIRROR")
    return other.rstrip("/") + parts.path if other else weights.url


def _offline() -> bool:
    from huggingface_hub import constants
    return bool(constants.HF_HUB_OFFLINE)


def _from_url(weights: Checkpoint) -> pathlib.Path:
    place = get_cache_path(weights)
    part = place.with_name(place.name + ".part")
    if _offline():
        raise ConnectionError("HF_HUB_OFFLINE is set")
    download_file(_address(weights), part, weights.name)
    _check_and_note(part, weights)
    os.replace(part, place)
    return place


def _from_hub(weights: Checkpoint) -> pathlib.Path:
    from huggingface_hub import hf_hub_download
    commit = weights.revision or _read_note(weights).get("commit")
    return pathlib.Path(hf_hub_download(weights.repo, weights.file, revision=commit))


def _retried(weights: Checkpoint, action: Callable[[Checkpoint], pathlib.Path]) -> pathlib.Path:
    """`action`, again where the server or the connection failed it, with growing pauses.

    Raises: OSError that says where the file is and where to put it.
    """
    for attempt in itertools.count(1):
        try:
            return action(weights)
        except WrongBytes:
            raise
        except Exception as error:  # the libraries' errors have no common class below it
            chain = list(exception_chain(error))
            if _offline() or attempt >= count_attempts(chain, bool(weights.repo)):
                reason = " ".join(str(chain[-1]).split())
                raise OSError(f"{weights.name} is not in the cache and cannot be downloaded from {_address(weights)} "
                              f"({reason}); put the file at {get_cache_path(weights)}, or give weights=None") from error
            time.sleep(BACKOFF * 2 ** (attempt - 1))
    raise AssertionError
