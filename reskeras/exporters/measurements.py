"""The bytes, the hash and the speed of an exported file.  NumPy only."""
from __future__ import annotations

import hashlib
import pathlib
import time
from typing import Any, Callable

import numpy as np

ArrayFunction = Callable[[np.ndarray], np.ndarray]     # a batch of images -> its outputs


def compute_size_and_hash(*paths: pathlib.Path) -> tuple[int, str]:
    """The bytes and the SHA-256 of a file, of all files of a folder, or of several files.

    The hash of more than one file is that of their relative names and contents, in the order of their names.
    """
    candidates = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    files = sorted(f for f in candidates if f.is_file())
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    digest = hashlib.sha256()
    for file in files:
        if len(paths) > 1 or paths[0].is_dir():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return sum(f.stat().st_size for f in files), digest.hexdigest()


def identify_files(*paths: pathlib.Path) -> list[tuple[str, int, int, int]]:
    """What shows that a file or a file of a folder was replaced: path, inode, bytes and time of each."""
    found = [f for path in paths for f in ([path] if not path.is_dir() else path.rglob("*"))]
    states = [(str(f), f.lstat()) for f in sorted(found) if f.exists()]
    return [(name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states]


def measure_latency(function: Callable[[Any], Any], images: Any, calls: int = 30,
                    milliseconds: float = 1.0) -> dict[str, float]:
    """Times one call of a function.

    Args:
        function: what is timed.
        images: its argument in each call.
        calls: how many calls are timed at most.
        milliseconds: the sum of their times after which no further call begins; three are timed in any case.
    Returns:
        "median" and "p90" (the 90th percentile) in milliseconds.
    """
    function(images)                    # the first call plans its memory, or traces
    times: list[float] = []
    while len(times) < 3 or (len(times) < calls and sum(times) < milliseconds):
        start = time.perf_counter()
        function(images)
        times.append(1000 * (time.perf_counter() - start))
    return {"median": float(np.median(times)), "p90": float(np.percentile(times, 90))}
