"""One transfer of a URL to a file, which goes on where an earlier one was cut; and whether another attempt is worth it."""
from __future__ import annotations

import pathlib
from typing import Iterator

TIMEOUT = (10.0, 60.0)      # seconds to connect, and between two pieces
CHUNK = 1 << 14     # what of it a cut loses
ATTEMPTS = 6
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)     # answers that blame the server or the moment
# what requests, urllib3, httpx and we call a transfer that began and did not end
CUTS = {"Cut", "IncompleteRead", "ProtocolError", "ChunkedEncodingError", "RemoteProtocolError", "ReadError", "ReadTimeout",
        "ReadTimeoutError", "TimeoutError"}


class ConnectionCut(ConnectionError):
    """The connection ended before the file did."""


def download_file(url: str, part: pathlib.Path, name: str) -> None:
    """Fetches what `part` lacks of `url`.

    An unfinished `part` is gone on with if the server says that its file is still the same one (If-Range), else begun anew.

    Arguments:
        url: of the file.
        part: the unfinished file; complete on return.
        name: for the progress bar, which shows on a terminal only.
    Raises: requests.RequestException, Cut.
    """
    import requests
    from tqdm import tqdm
    version = part.with_name(part.name + ".version")     # of the file at the server, while `part` is unfinished
    have = part.stat().st_size if part.is_file() and version.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.read_text()}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:     # it has no more than we have: not the file we began
            version.unlink(missing_ok=True)
            raise ConnectionCut(f"{url} has no byte {have}")
        response.raise_for_status()
        if response.status_code != 206:
            have = 0
        _write_version(version, response.headers)
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file, tqdm(
                total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None) as bar:
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                bar.update(len(piece))
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionCut(f"{size} of {total} bytes came")
    version.unlink(missing_ok=True)


def _write_version(version: pathlib.Path, headers) -> None:
    """Writes down what the server calls this version of its file; a weak tag promises no equal bytes."""
    tag = headers.get("ETag", "")
    mark = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    if mark:
        version.write_text(mark)
    else:
        version.unlink(missing_ok=True)


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def count_attempts(chain: list[BaseException], hub: bool) -> int:
    """How many attempts the failure is worth: one where the server said no, few where nobody answered.

    The hub's library makes several of its own in each of ours, but before its version 1 it made none.
    """
    answers = (getattr(error, "response", None) for error in chain)
    status = next((answer.status_code for answer in answers if answer is not None), None)
    kinds = {type(error).__name__ for error in chain}
    if status is not None:
        return 1 if status not in TRANSIENT else 3 if hub else ATTEMPTS
    if kinds & CUTS:
        return 3 if hub else ATTEMPTS
    return 3 if kinds & {"ConnectionError", "ConnectTimeout"} and not hub else 1
