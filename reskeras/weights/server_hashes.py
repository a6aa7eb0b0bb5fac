"""Hashes that servers give for their files: asked for without a download, kept in a file, and compared.

Only headers that are hashes of the file's bytes by their definition count: X-Linked-Etag of the Hugging Face
hub, x-goog-hash of Google's storage, Content-MD5, and Repr-Digest.  An ordinary ETag may be anything.
"""
from __future__ import annotations

import base64
import dataclasses
import os
import pathlib
import re
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

from ..errors import list_names, make_printable
from ..files import write_text
from ..json_reader import read_json, to_dataclass
from ..json_writer import to_json
from .cache import get_cache_folder, read_note
from .checkpoint import Checkpoint

_REDIRECTS, _TIMEOUT = 5, (10.0, 30.0)
_MAX_FILE = 2 ** 24     # bytes of a file of hashes


@dataclass(frozen=True)
class FileHashes:
    """What is known of a file; "" or 0 for what is not.  The fields are the keys of a file of hashes."""

    sha256: str = ""
    md5: str = ""
    size: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        """Raises: ValueError for something that is not a hash."""
        if not re.fullmatch("([0-9a-f]{64})?", self.sha256) or not re.fullmatch("([0-9a-f]{32})?", self.md5):
            raise ValueError("expected a sha256 or none, and an md5 or none, in hexadecimal")


def read_hashes_of_headers(headers: Mapping[str, str]) -> FileHashes:
    """The hashes of a whole file in the headers of an answer.

    Args:
        headers: of an answer to HEAD or GET, with the status 200, or of a redirect.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    sha256 = lowered.get("x-linked-etag", "").strip('"').lower()
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        sha256 = _decode(lowered.get("repr-digest", ""), r"sha-256=:([\w+/=]+):", 32)
    md5 = _decode(lowered.get("x-goog-hash", ""), r"md5=([\w+/=]+)", 16) or _decode(
        lowered.get("content-md5", ""), r"\s*([\w+/=]+)\s*", 16)
    size = lowered.get("x-linked-size") or lowered.get("content-length") or ""
    return FileHashes(sha256, md5, int(size) if re.fullmatch(r"\d{1,15}", size) else 0)


def _decode(text: str, pattern: str, length: int) -> str:
    """A hash in base64 in hexadecimal, "" if there is none."""
    match = re.search(pattern, text)
    try:
        data = base64.b64decode(match[1], validate=True) if match else b""
    except ValueError:      # or binascii.Error, which is one
        return ""
    return data.hex() if len(data) == length else ""


def _ask_server(url: str) -> FileHashes:
    """Asks a server for the hashes of a file, without the file.

    Args:
        url: the URL of the file; redirects are followed, but not from https to http.

    Raises:
        OSError: if the server does not answer, or with an error; one line.
    """
    import requests
    from huggingface_hub import constants
    hashes, start = FileHashes(), url
    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        for _ in range(_REDIRECTS + 1):
            answer = requests.head(url, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"},
                                   allow_redirects=False)
            answer.raise_for_status()
            found = read_hashes_of_headers(answer.headers)
            hashes = FileHashes(hashes.sha256 or found.sha256, hashes.md5 or found.md5,
                                hashes.size if hashes.sha256 else found.size, start)
            if not answer.is_redirect:
                return hashes
            target = urljoin(url, answer.headers["Location"])
            if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
                raise OSError(f"it redirects to {make_printable(target[:200])}, which is not https")
            url = target
        raise OSError(f"more than {_REDIRECTS} redirects")
    except OSError as error:        # the errors of requests are of this class
        reason = make_printable(" ".join(str(error).split())[:300])
        raise OSError(f"{start} cannot be asked for its hashes ({reason})") from error


def get_url(checkpoint: Checkpoint) -> str:
    """The URL of a checkpoint, after HF_ENDPOINT or RESKERAS_MIRROR has replaced its host."""
    parts = urlsplit(checkpoint.url)
    mirror = os.environ.get("HF_ENDPOINT" if checkpoint.repo else "RESKERAS_MIRROR")
    return mirror.rstrip("/") + parts.path if mirror else checkpoint.url


def get_hashes_path() -> pathlib.Path:
    """The file of hashes that downloads are compared with."""
    return get_cache_folder() / "hashes.json"


def _read_hashes(path: str | os.PathLike[str]) -> dict[str, FileHashes]:
    """Reads a file of hashes: by the name of the checkpoint; nothing if there is no file.

    Raises:
        ValueError: for a damaged file.
    """
    if not os.path.exists(path):
        return {}
    content = read_json(path, max_bytes=_MAX_FILE)
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)} is not a file of hashes: expected an object of JSON")
    return {name: to_dataclass(FileHashes, value, f"{os.fspath(path)}: {make_printable(name[:100])}")
            for name, value in content.items()}


def _write_hashes(path: str | os.PathLike[str], hashes: Mapping[str, FileHashes]) -> None:
    """Writes a file of hashes.  Raises: OSError."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, to_json({name: dataclasses.asdict(hashes[name]) for name in sorted(hashes)}))


def get_noted_hashes(checkpoint: Checkpoint) -> FileHashes:
    """What the file of hashes says of a checkpoint; a damaged file is treated as missing."""
    try:
        return _read_hashes(get_hashes_path()).get(checkpoint.name, FileHashes())
    except (OSError, ValueError):
        return FileHashes()


def _find_difference(checkpoint: Checkpoint, before: FileHashes, now: FileHashes) -> str:
    """How the server's file differs from what was published, or from an earlier answer; "" if it does not.

    Args:
        checkpoint: the row of the table.
        before: an earlier answer of the server.
        now: its answer now.
    """
    for source, field, value in (
            ("published", "sha256", checkpoint.sha256 or checkpoint.sha256_prefix),
            ("published", "md5", checkpoint.md5),
            ("last time", "sha256", before.sha256), ("last time", "md5", before.md5)):
        found = getattr(now, field)
        if value and found and not found.startswith(value.lower()):
            return f"the server's {field} is {found}, {source} {value}"
    if before.size and now.size and before.size != now.size:
        return f"the server's file has {now.size:,} bytes, last time {before.size:,}"
    return ""


def verify_remote_files(checkpoints: Iterable[Checkpoint],
                        path: str | os.PathLike[str] | None = None) -> Iterator[str]:
    """Asks the servers for the hashes of their files, compares and adds them to a file of hashes.

    What a server does not give is kept from an earlier answer, or taken from the file in the cache.
    A changed file keeps its earlier hashes in the file of hashes.

    Args:
        checkpoints: the rows of the table.
        path: the file of hashes; by default the one that downloads are compared with.

    Yields:
        A line for each checkpoint: its sha256, its name, and what is new.

    Raises:
        ValueError: for a damaged file of hashes; after all lines, if a file has changed or a server did not
            answer.
        OSError: if the file of hashes cannot be written.
    """
    path = get_hashes_path() if path is None else path
    known, wrong = _read_hashes(path), []
    for checkpoint in checkpoints:
        before = known.get(checkpoint.name, FileHashes())
        try:
            now = _ask_server(get_url(checkpoint))
        except OSError as error:
            wrong.append(checkpoint.name)
            yield f"{'no answer':64}  {checkpoint.name}: {error}"
            continue
        if difference := _find_difference(checkpoint, before, now):
            wrong.append(checkpoint.name)
            yield f"{'CHANGED':64}  {checkpoint.name}: {difference}"
            continue
        note = read_note(checkpoint)
        sha256 = now.sha256 or before.sha256 or checkpoint.sha256 or (note.sha256 if note else "")
        known[checkpoint.name] = FileHashes(sha256, now.md5 or before.md5 or checkpoint.md5,
                                            now.size or before.size, now.url)
        hint = "" if sha256 or known[checkpoint.name].md5 else (
            f": the server gives none; `reskeras weights fetch {checkpoint.name}` finds it")
        yield f"{sha256 or known[checkpoint.name].md5 or 'unknown':64}  {checkpoint.name}{hint}"
    _write_hashes(path, known)
    if wrong:
        raise ValueError(f"{len(wrong)} files have changed or were not found: {list_names(wrong)}; their "
                         f"hashes in {os.fspath(path)} stay as they were")
