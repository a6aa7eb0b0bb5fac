"""Makes one attempt to download a URL to a file, and continues an unfinished file.

A server may be faulty or hostile.  Its answer is compared with the request, and a `TransferLimit` limits the
bytes and the seconds of a download.
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
from .server_hashes import FileHashes, read_hashes_of_headers

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
    """The connection ended too early, or an unfinished file cannot be continued: a new attempt may help."""


class DownloadRefused(OSError):
    """What the server sends cannot be the file, or takes too long: a new attempt would not help."""


class TransferLimit:
    """The bytes and the seconds that a download may take, all its attempts together.

    Args:
        max_bytes: the largest plausible size of the file.
        seconds: how long `run` waits.
    """

    def __init__(self, max_bytes: int, seconds: float):
        self.max_bytes, self.seconds = max_bytes, seconds
        self.is_stopped = False

    def check(self, size: int) -> None:
        """Checks the size of a file that is being received.

        Raises:
            DownloadRefused: if the file is larger than plausible, or `run` has stopped waiting.
        """
        if self.is_stopped:
            raise DownloadRefused("the download was stopped, because it took too long or was interrupted")
        if size > self.max_bytes:
            raise DownloadRefused(f"the server sends {size:,} bytes or more; a file of this net has at most "
                                  f"{self.max_bytes:,}")

    def run(self, download: Callable[[], _Result]) -> _Result:
        """Returns `download()`, which must call `check` before it writes.

        It runs in a thread, because the libraries limit only the time of single steps (the connection, the
        headers, one piece of data), not the time of the whole download.

        Raises:
            DownloadRefused: if it takes too long.
            Exception: what `download` raises.
        """
        future: Future[_Result] = Future()

        def work() -> None:
            try:
                future.set_result(download())
            except BaseException as error:      # `future.result()` raises it again in the caller's thread
                future.set_exception(error)
        # a daemon, so that a thread that hangs does not keep Python from ending
        threading.Thread(target=work, daemon=True).start()
        try:
            wait([future], timeout=self.seconds)
        finally:
            self.is_stopped = True      # also after Ctrl-C: the thread must stop to write
        if not future.done():
            raise DownloadRefused(f"it takes longer than {self.seconds:.0f} seconds; the bytes that came are "
                                  "kept, so call again to continue")
        return future.result()


def download_file(url: str, part: pathlib.Path, name: str, limit: TransferLimit) -> FileHashes:
    """Downloads those bytes of a URL's file that `part` does not have yet.

    An unfinished `part` is continued if the server says that its file has not changed (If-Range); otherwise
    the download starts from the beginning.  The server's identifier of this version of the file is kept
    beside `part`.

    Args:
        url: the URL of the file.
        part: the path of the unfinished file, or of a file to create; complete on return.
        name: name for the progress bar, which is shown only in a terminal.
        limit: how many bytes and seconds the download may take.

    Returns:
        The hashes that the server gives, if all bytes came in this call.

    Raises:
        requests.RequestException: if the server answers with an error, or does not answer.
        DownloadInterrupted: if the connection ended too early, or the rest is of a different file.
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
            hashes = read_hashes_of_headers(response.headers) if response.status_code == 200 else FileHashes()
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
        if not limit.is_stopped:        # after a stop the bytes are good; the next attempt continues
            part.unlink(missing_ok=True)
            version_file.unlink(missing_ok=True)
        raise

    if total is not None and received != total:
        raise DownloadInterrupted(f"{received} of {total} bytes came")
    version_file.unlink(missing_ok=True)
    return hashes


def _open_url(url: str, headers: Mapping[str, str]) -> requests.Response:
    """The answer to a GET, after redirects.

    Raises:
        DownloadRefused: for too many redirects, or a redirect from https to a different scheme.
    """
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Tells requests that no answer is a redirect; `_open_url` follows redirects itself.

            requests would read the body of a redirect, of any size, and follow one from https to http.
            """

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
    """Compares the headers of an answer with the request, and saves which version of the file comes.

    Args:
        response: the answer.
        start: the first byte that was asked for.
        version: the server's identifier of the file version that our first `start` bytes are of.
        version_file: where the identifier is kept.

    Returns:
        The number of the first byte that comes, and the size of the whole file (None if the server does not
        say it).
    """
    status = response.status_code
    if status != 416:
        response.raise_for_status()
    encoding = response.headers.get("Content-Encoding", "") or "identity"
    if encoding.lower() != "identity":      # a packed file could have any size after unpacking
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

    # the rest is of a different file than our first bytes: the next attempt asks for the whole file
    version_file.unlink(missing_ok=True)
    if status == 416:
        raise DownloadInterrupted(f"the file at {response.url} is shorter than the {start:,} bytes that were "
                                  "already downloaded")
    if status == 206:
        raise DownloadInterrupted(
            f"cannot continue the download: asked for the bytes from {start} on (version {version!r}), but "
            f"the server sends {content_range or 'other bytes'} (version {new_version!r})")
    raise DownloadRefused(f"the server answers with the status {status}")


def _to_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,15}", text) else None


def _get_version(headers: Mapping[str, str]) -> str:
    """The server's identifier of this version of its file; not a weak ETag, which allows different bytes."""
    etag = headers.get("ETag", "")
    value = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    return value if _is_header(value) else ""


def _read_version(version_file: pathlib.Path) -> str:
    """The version that `_check_answer` saved; "" if there is none that can be sent in a header."""
    try:
        value = read_text(version_file, max_bytes=1000)
    except (OSError, ValueError):
        return ""
    return value if _is_header(value) else ""


def _is_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) < 1000


def make_hub_progress(limit: TransferLimit) -> type[Any]:
    """A progress bar for huggingface_hub, which calls its `update` for each piece before writing the piece.

    So the bar can check the size of the file.
    """
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
        is_hub: whether huggingface_hub downloaded.  From its version 1 on it retries in each of our attempts.
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
