"""Gets the file of a checkpoint, from a cache or by download, and always checks it.

Files of the Hugging Face hub are kept in the hub's own cache (HF_HOME), files of other hosts in the folder
reskeras/<source> of KERAS_HOME or ~/.keras.  Users may also put a file there themselves, see
`get_cache_path`.  Beside each file a small .json file, the *note*, has the sha256 of the first download, so
that a later change is noticed.  A damaged note is treated as missing.

Environment variables: HF_ENDPOINT is the address of a different hub; RESKERAS_MIRROR, such as
"http://127.0.0.1:8000", replaces scheme and host of other URLs; with HF_HUB_OFFLINE nothing is downloaded.
"""
from __future__ import annotations

import itertools
import os
import pathlib
import time

from ..costs import read_costs
from ..errors import make_printable
from .cache import (Note, get_cache_folder as get_cache_folder, get_cache_path, is_writable,
                    lock_cache_path, read_note, write_note)
from .download import TransferLimit, count_attempts, download_file, iterate_causes, make_hub_progress
from .checkpoint import Checkpoint
from .file_checks import ChecksumError as ChecksumError, check_bytes, compute_digests
from .server_hashes import FileHashes, get_url
from .table import EMBEDDED_FOLDER

BACKOFF = 0.5           # seconds before the second attempt, doubled before each further one
# A download may take LEAST_SECONDS plus the time that its largest plausible size needs at LEAST_SPEED bytes
# per second
LEAST_SECONDS, LEAST_SPEED = 600.0, 50_000
MOST_FEATURES = 8192    # inputs of a classifier; for checkpoints with more classes than the net in costs.csv


def fetch_checkpoint(checkpoint: Checkpoint) -> pathlib.Path:
    """Returns the file of a checkpoint; downloads it if it is not in a cache.

    Args:
        checkpoint: a checkpoint of the table.

    Returns:
        The path of the file, whose bytes have been checked.

    Raises:
        OSError: if the file is not in a cache and cannot be downloaded; the message has the URL and the
            path where the user can put the file.
        TimeoutError: if another process is still downloading the file; the message says which process.
        ChecksumError: if the bytes are not those that were published; the file is deleted.
    """
    if checkpoint.source == "reskeras":
        return EMBEDDED_FOLDER / checkpoint.file
    file = find_cached_file(checkpoint)
    if file and _is_checked(file, checkpoint):
        return file

    path = get_cache_path(checkpoint)
    if file and not is_writable(path.parent):      # no note can be written, so check the bytes at every call
        check_bytes(file, checkpoint)
        return file

    limit = _make_limit(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_cache_path(path, limit.seconds):      # so that only one of several processes downloads
        file = find_cached_file(checkpoint)
        is_new = file is None
        if file is None:
            file = _download(checkpoint, limit)
        if not _is_checked(file, checkpoint):
            _check_and_note(file, checkpoint, is_new)
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
    return compute_digests(file)[0] if checkpoint.source == "reskeras" else _check_and_note(file, checkpoint)


# ---- checks of a file, and its note


def _is_checked(file: pathlib.Path, checkpoint: Checkpoint) -> bool:
    """Whether the bytes have been checked since the file last changed."""
    note = read_note(checkpoint)
    return note is not None and note.stamp == _make_stamp(file) and checkpoint.sha256 in ("", note.sha256)


def _check_and_note(file: pathlib.Path, checkpoint: Checkpoint, is_new: bool = False,
                    server: FileHashes | None = None) -> str:
    """Checks every byte, and writes the note.  Returns the sha256.  The arguments: see `check_bytes`."""
    sha256 = check_bytes(file, checkpoint, is_new, server)
    in_hub_cache = bool(checkpoint.repo) and file.parent.parent.name == "snapshots"
    note = Note(sha256, _make_stamp(file), checkpoint.url, file.parent.name if in_hub_cache else "")
    write_note(checkpoint, note)
    return sha256


def _make_stamp(file: pathlib.Path) -> tuple[int, int]:
    """Size and time of the last change: if the stamp changed, the file may have other bytes."""
    return file.stat().st_size, file.stat().st_mtime_ns


# ---- the download


def _make_limit(checkpoint: Checkpoint) -> TransferLimit:
    """The limits of the download of a checkpoint, from the number of parameters of its net."""
    parameters = read_costs()[checkpoint.variant].params + max(checkpoint.classes - 1000, 0) * MOST_FEATURES
    # four bytes for each parameter, half as much again, and 1 MiB for what the file format adds
    max_bytes = (1 << 20) + int(1.5 * 4 * parameters)
    return TransferLimit(max_bytes, LEAST_SECONDS + max_bytes / LEAST_SPEED)


def _download(checkpoint: Checkpoint, limit: TransferLimit) -> pathlib.Path:
    """Downloads the file of a checkpoint.

    Raises:
        OSError: if the download fails; the message has the URL and the path where the user can put the file.
        ChecksumError: if the bytes are not those that were published.
    """
    try:
        return limit.run(lambda: _retry(checkpoint, limit))
    except ChecksumError:
        raise
    except Exception as error:      # the errors of the libraries have no other common class
        *_, cause = iterate_causes(error)
        reason = make_printable(" ".join(str(cause).split()))
        url, path = get_url(checkpoint), get_cache_path(checkpoint)
        raise OSError(
            f"{checkpoint.name} is not in the cache and cannot be downloaded from {url} ({reason}); "
            f"put the file at {path}, or build the net with random weights "
            "(weights=None)") from error


def _retry(checkpoint: Checkpoint, limit: TransferLimit) -> pathlib.Path:
    """Downloads a file; if the server or the connection fails, tries again after growing pauses."""
    download = _download_from_hub if checkpoint.repo else _download_from_url
    for attempt in itertools.count(1):
        try:
            return download(checkpoint, limit)
        except ChecksumError:
            raise
        except Exception as error:
            causes = list(iterate_causes(error))
            if _is_offline() or attempt >= count_attempts(causes, is_hub=bool(checkpoint.repo)):
                raise
        time.sleep(BACKOFF * 2 ** (attempt - 1))
        limit.check(0)
    raise AssertionError


def _download_from_url(checkpoint: Checkpoint, limit: TransferLimit) -> pathlib.Path:
    """Downloads a file from a host other than the hub; moves it to its final path only after its check."""
    if _is_offline():
        raise ConnectionError("HF_HUB_OFFLINE is set")
    path = get_cache_path(checkpoint)
    part = path.with_name(path.name + ".part")
    hashes = download_file(get_url(checkpoint), part, checkpoint.name, limit)
    _check_and_note(part, checkpoint, is_new=True, server=hashes)
    os.replace(part, path)
    return path


def _download_from_hub(checkpoint: Checkpoint, limit: TransferLimit) -> pathlib.Path:
    from huggingface_hub import hf_hub_download
    return pathlib.Path(hf_hub_download(checkpoint.repo, checkpoint.file, revision=_get_revision(checkpoint),
                                        tqdm_class=make_hub_progress(limit)))


def _get_revision(checkpoint: Checkpoint) -> str | None:
    """The commit of the hub's repository: that of the table, or of the first download, or None."""
    note = read_note(checkpoint)
    return checkpoint.revision or (note.commit if note else "") or None


def _is_offline() -> bool:
    from huggingface_hub import constants
    return bool(constants.HF_HUB_OFFLINE)
