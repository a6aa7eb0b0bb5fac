"""Downloads a URL to a file in one attempt, which continues an earlier one; bounds what a server can cause.

What comes from a server is compared with what was asked, and a `TransferLimit` bounds bytes and seconds.
"""
from __future__ import annotations

import pathlib
import re
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, TypeVar
from urllib.parse import urljoin, urlsplit

from ..file_reading import read_text
from ..files import write_text

if TYPE_CHECKING:
    import requests

TIMEOUT = (10.0, 60.0)      # seconds to connect, and between two pieces
CHUNK = 1 << 14             # bytes that are written at once; at most this many are lost in an interruption
ATTEMPTS = 6
REDIRECTS = 5
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)     # the server's fault, or too many requests
# names of errors of requests, urllib3, httpx and this file for a transfer that began and did not end
_INTERRUPTIONS = {"DownloadInterrupted", "IncompleteRead", "ProtocolError", "ChunkedEncodingError",
                  "RemoteProtocolError", "ReadError", "ReadTimeout", "ReadTimeoutError", "TimeoutError"}
_Result = TypeVar("_Result")


class DownloadInterrupted(ConnectionError):
    """The connection ended before the file did, or its rest cannot be appended: another attempt may help."""


class DownloadRefused(OSError):
    """What the server sends cannot be the file, so another attempt would not help."""


class TransferLimit:
    """The bytes and the seconds that a download may take, all its attempts together.

    Args:
        max_bytes: the largest plausible size of the file.
        seconds: for `run`.
    """

    def __init__(self, max_bytes: int, seconds: float):
        self.max_bytes, self.seconds = max_bytes, seconds
        self.is_stopped = False

    def check(self, size: int) -> None:
        """Checks the size of a file that is being received.

        Raises:
            DownloadRefused: if the file is larger than plausible, or nobody waits for it any more.
        """
        if self.is_stopped:
            raise DownloadRefused("nobody waits for it any more")
        if size > self.max_bytes:
            raise DownloadRefused(f"the server sends {size:,} bytes or more; a file of this net has at most "
                                  f"{self.max_bytes:,}")

    def run(self, download: Callable[[], _Result]) -> _Result:
        """Returns `download()`, which must call `check` before it writes.

        It runs in a thread: no library bounds the sum of the times for the name's look-up, the headers and
        every single byte.

        Raises:
            DownloadRefused: if it takes too long.
            Exception: what `download` raises.
        """
        future: Future[_Result] = Future()

        def work() -> None:
            try:
                future.set_result(download())
            except BaseException as error:      # it is raised where it is waited for
                future.set_exception(error)
        # a daemon, so that a thread that hangs does not keep Python from ending
        threading.Thread(target=work, daemon=True).start()
        try:
            wait([future], timeout=self.seconds)
        finally:
            self.is_stopped = True      # also after Ctrl-C
        if not future.done():
            raise DownloadRefused(f"it takes longer than {self.seconds:.0f} seconds; what came is kept, so "
                                  "call again to continue")
        return future.result()


def download_file(url: str, part: pathlib.Path, name: str, limit: TransferLimit) -> None:
    """Downloads the part of a URL's file that `part` does not have yet.

    If the server says that its file is still the same one (If-Range), an unfinished `part` is continued;
    otherwise the download starts from the beginning.  The server's identifier of this version of the file is
    kept beside `part`.

    Args:
        url: the URL of the file.
        part: the unfinished file, or the path of a file to create; complete on return.
        name: name for the progress bar, which is shown only in a terminal.
        limit: how much may come.

    Raises:
        requests.RequestException: if the server answers with an error, or does not answer.
        DownloadInterrupted: if the connection ended too early, or the rest is of another file.
        DownloadRefused: if what comes cannot be the file; `part` is deleted.
    """
    from tqdm import tqdm

    version_file = part.with_name(part.name + ".version")
    version = _read_version(version_file)
    start = part.stat().st_size if version and part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}

    try:
        with _open_url(url, headers) as response:
            start, total = _check_answer(response, start, version, version_file)
            limit.check(total or 0)
            received = start
            if part.exists() and not part.is_file():    # a pipe or a device
                part.unlink()
            bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None)
            with bar as progress, part.open("ab" if start else "wb") as file:
                for piece in response.iter_content(CHUNK):
                    received += len(piece)
                    limit.check(received)
                    file.write(piece)
                    progress.update(len(piece))
    except DownloadRefused:
        if not limit.is_stopped:        # otherwise what came is right, as far as it goes
            part.unlink(missing_ok=True)
            version_file.unlink(missing_ok=True)
        raise

    if total is not None and received != total:
        raise DownloadInterrupted(f"{received} of {total} bytes came")
    version_file.unlink(missing_ok=True)


def _open_url(url: str, headers: Mapping[str, str]) -> requests.Response:
    """The answer to a GET, after redirects.

    Raises:
        DownloadRefused: for too many redirects, or one to another scheme.
    """
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Knows of no redirects: requests would read their bodies, and follow one from https to http."""

    for _ in range(REDIRECTS + 1):
        with Session() as session:
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        if not response.is_redirect:
            return response
        target = urljoin(url, response.headers["Location"])
        response.close()
        if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
            raise DownloadRefused(f"{url} redirects to {target}, which is not https")
        url = target
    raise DownloadRefused(f"more than {REDIRECTS} redirects, the last to {url}")


def _check_answer(response: requests.Response, start: int, version: str,
                  version_file: pathlib.Path) -> tuple[int, int | None]:
    """Compares the headers of an answer with what was asked, and notes the version of the file that comes.

    Args:
        response: the answer.
        start: the first byte that was asked for.
        version: the identifier of the file that `start` bytes are there of.
        version_file: where the identifier is kept.

    Returns:
        The first byte that comes, and the size of the whole file, None if the server does not say it.
    """
    status = response.status_code
    if status != 416:
        response.raise_for_status()
    encoding = response.headers.get("Content-Encoding", "") or "identity"
    if encoding.lower() != "identity":      # unpacked, it could have any size
        raise DownloadRefused(f"the server sends the file packed as {encoding}, though it was asked not to")

    new_version = _get_version(response.headers)
    if status == 200:       # the whole file comes
        if new_version:
            write_text(version_file, new_version)
        else:
            version_file.unlink(missing_ok=True)
        return 0, _to_number(response.headers.get("Content-Length"))

    if status == 206:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", content_range.strip())
        first, last, total = map(int, match.groups()) if match else (-1, -1, -1)
        length = _to_number(response.headers.get("Content-Length"))
        if start and first == start and last + 1 == total and length in (None, total - start) and (
                new_version in ("", version)):
            return start, total

    # it is not the file that was begun: the next attempt asks for all of it
    version_file.unlink(missing_ok=True)
    if status == 416:
        raise DownloadInterrupted(f"{response.url} has no byte {start}")
    if status == 206:
        raise DownloadInterrupted(f"asked for the bytes from {start} on of {version or 'the file'}, the "
                                  f"server sends {content_range or 'a part'} of {new_version or 'a file'}")
    raise DownloadRefused(f"the server answers with the status {status}")


def _to_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,15}", text) else None


def _get_version(headers: Mapping[str, str]) -> str:
    """The server's identifier of this version of its file; a weak tag does not promise equal bytes."""
    etag = headers.get("ETag", "")
    value = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    return value if _is_header(value) else ""


def _read_version(version_file: pathlib.Path) -> str:
    """What `_check_answer` noted; "" if there is nothing that can be sent in a header."""
    try:
        value = read_text(version_file, max_bytes=1000)
    except (OSError, ValueError):
        return ""
    return value if _is_header(value) else ""


def _is_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) < 1000


def make_hub_progress(limit: TransferLimit) -> type[Any]:
    """A progress bar for the hub's library, which reports every piece to it before writing the piece."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]
    base: Any = tqdm

    class LimitedProgress(base):
        def __init__(self, *args: Any, **options: Any):
            self._received = options.get("initial") or 0
            limit.check(options.get("total") or 0)
            super().__init__(*args, **options)

        def update(self, n: float | None = 1) -> Any:
            self._received += n or 0
            limit.check(int(self._received))
            return super().update(n)
    return LimitedProgress


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
    answers: Iterator[Any] = (getattr(error, "response", None) for error in causes)
    status = next((answer.status_code for answer in answers if answer is not None), None)
    kinds = {type(error).__name__ for error in causes}
    if "DownloadRefused" in kinds:
        return 1
    if status is not None:
        return 1 if status not in _TRANSIENT_STATUS else 3 if is_hub else ATTEMPTS
    if kinds & _INTERRUPTIONS:
        return 3 if is_hub else ATTEMPTS
    return 3 if kinds & {"ConnectionError", "ConnectTimeout"} and not is_hub else 1
