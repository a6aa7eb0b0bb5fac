"""Downloads a URL to a file in one attempt, which continues an earlier one; counts the attempts to make."""
from __future__ import annotations

import pathlib
from typing import Iterator, Mapping

from ..files import write_text

TIMEOUT = (10.0, 60.0)      # seconds to connect, and between two pieces
CHUNK = 1 << 14             # bytes that are written at once; at most this many are lost in an interruption
ATTEMPTS = 6
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)     # the server's fault, or too many requests
# names of errors of requests, urllib3, httpx and this file for a transfer that began and did not end
_INTERRUPTIONS = {"DownloadInterrupted", "IncompleteRead", "ProtocolError", "ChunkedEncodingError",
                  "RemoteProtocolError", "ReadError", "ReadTimeout", "ReadTimeoutError", "TimeoutError"}


class DownloadInterrupted(ConnectionError):
    """The connection ended before the file did."""


def download_file(url: str, part: pathlib.Path, name: str) -> None:
    """Downloads the part of a URL's file that `part` does not have yet.

    If the server says that its file is still the same one (If-Range), an unfinished `part` is continued;
    otherwise the download starts from the beginning.  The server's identifier of this version of the file is
    kept beside `part`.

    Args:
        url: the URL of the file.
        part: the unfinished file, or the path of a file to create; complete on return.
        name: name for the progress bar, which is shown only in a terminal.

    Raises:
        requests.RequestException: if the server answers with an error, or does not answer.
        DownloadInterrupted: if the connection ended too early.
    """
    import requests
    from tqdm import tqdm

    version = part.with_name(part.name + ".version")
    start = part.stat().st_size if part.is_file() and version.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text()}

    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:     # the file is not longer than `part`: not the file that was begun
            version.unlink(missing_ok=True)
            raise DownloadInterrupted(f"{url} has no byte {start}")
        response.raise_for_status()
        if response.status_code != 206:     # the whole file comes
            start = 0
        _write_version(version, response.headers)

        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as file, tqdm(
                total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None) as progress:
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                progress.update(len(piece))

    size = part.stat().st_size
    if total is not None and size != total:
        raise DownloadInterrupted(f"{size} of {total} bytes came")
    version.unlink(missing_ok=True)


def _write_version(version: pathlib.Path, headers: Mapping[str, str]) -> None:
    """Writes the server's identifier of this version of its file; a weak tag does not promise equal bytes."""
    etag = headers.get("ETag", "")
    value = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if value:
        write_text(version, value)
    else:
        version.unlink(missing_ok=True)


def iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def count_attempts(causes: list[BaseException], is_hub: bool) -> int:
    """How many attempts to make: one if the server refused, few if nobody answered, else more.

    Args:
        causes: the error and its causes, see `iterate_causes`.
        is_hub: whether the hub's library downloaded.  It retries in each of our attempts, except in versions
            before 1.
    """
    answers = (getattr(error, "response", None) for error in causes)
    status = next((answer.status_code for answer in answers if answer is not None), None)
    kinds = {type(error).__name__ for error in causes}
    if status is not None:
        return 1 if status not in _TRANSIENT_STATUS else 3 if is_hub else ATTEMPTS
    if kinds & _INTERRUPTIONS:
        return 3 if is_hub else ATTEMPTS
    return 3 if kinds & {"ConnectionError", "ConnectTimeout"} and not is_hub else 1
