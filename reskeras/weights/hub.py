"""Files of any repository on the Hugging Face hub, "hf://user/name"; for published checkpoints see fetch.py.

A server may be faulty or hostile: the size of a file and the time of a download are limited, and a file gets
its place in the hub's cache (HF_HOME) only when it is whole.  Environment variables: HF_ENDPOINT is the
address of a different hub; with HF_HUB_OFFLINE nothing is downloaded.
"""
from __future__ import annotations

import itertools
import pathlib
import re
import time
from dataclasses import dataclass

from ..errors import ArgumentError, make_printable
from . import fetch
from .download import TransferLimit, count_attempts, iterate_causes, make_hub_progress

HUB_PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class HubRepository:
    """A repository: "user/name", and a branch, tag or commit of it ("" for the newest)."""

    repo: str
    revision: str = ""

    @property
    def name(self) -> str:
        """Such as "hf://user/name@main"."""
        return f"{HUB_PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def parse_hub_name(name: str, argument: str = "name") -> HubRepository:
    """Reads "hf://user/name" or "hf://user/name@revision".

    Raises: ArgumentError for anything else.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or ".." in name:
        raise ArgumentError(argument, name,
                            "a repository such as 'hf://user/name' or 'hf://user/name@revision'")
    return HubRepository(match[1], match[2] or "")


def fetch_hub_file(repository: HubRepository, file: str, max_bytes: int) -> pathlib.Path:
    """Returns a file of a repository; downloads it if it is not in the hub's cache.

    Args:
        repository: the repository.
        file: the name of the file in it.
        max_bytes: the largest plausible size.

    Raises:
        OSError: if it is not there, is too large, or cannot be downloaded; one line with its name.
    """
    limit = TransferLimit(max_bytes, fetch.LEAST_SECONDS + max_bytes / fetch.LEAST_SPEED)
    try:
        path = limit.run(lambda: _retry(repository, file, limit))
        if path.stat().st_size > max_bytes:     # in the cache since another call, or by another program
            raise OSError(f"it has {path.stat().st_size:,} bytes; at most {max_bytes:,} are expected")
        return path
    except Exception as error:      # the errors of the libraries have no other common class
        *_, cause = iterate_causes(error)
        reason = make_printable(" ".join(str(cause).split())[:500])
        raise OSError(f"{repository.name}: {file} cannot be downloaded ({reason})") from error


def _retry(repository: HubRepository, file: str, limit: TransferLimit) -> pathlib.Path:
    """Downloads a file; if the server or the connection fails, tries again after growing pauses."""
    from huggingface_hub import hf_hub_download
    for attempt in itertools.count(1):
        try:
            return pathlib.Path(hf_hub_download(repository.repo, file, revision=repository.revision or None,
                                                tqdm_class=make_hub_progress(limit)))
        except Exception as error:
            if attempt >= count_attempts(list(iterate_causes(error)), is_hub=True):
                raise
        time.sleep(fetch.BACKOFF * 2 ** (attempt - 1))
        limit.check(0)
    raise AssertionError
