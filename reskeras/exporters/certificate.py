"""What an exported file is worth: its size and hash, how far it is from Keras, how long it takes."""
from __future__ import annotations

import hashlib
import json
import pathlib
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Certificate:
    """The measured facts of one export; `<file>.json` beside the file holds the same."""
    file: str
    format: str                         # "TFLite", "SavedModel", "Keras"
    quantize: str | None
    bytes: int
    sha256: str                         # of a folder: of its files' names and contents, in order
    batch: int                          # images per call, in the comparison and the timing
    images: int                         # compared with Keras
    max_relative_difference: float      # largest |file - Keras| over largest |Keras|
    top1_agreement: float | None        # share of images of the same class; None where the net has no classifier
    latency_ms: float                   # median of one call, on the machine that exported
    versions: dict[str, str]
    memory: dict[str, Any] | None = None    # the net's preprocessing and class names, where it remembers them

    def write(self, path: pathlib.Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def max_relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude; infinity where either is not finite or the shapes differ."""
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    largest = float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(found.astype("float64") - expected).max(initial=0.0))
    return difference / largest if largest else difference


def agreement(found: np.ndarray, expected: np.ndarray, margin: float = 0.0) -> float | None:
    """Share of the rows of equal argmax, among those whose two largest expected values differ by more than `margin`.

    `margin` is relative to the largest magnitude of all.  None where there are no classes or no such row.
    """
    if found.shape != expected.shape or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    second, first = np.sort(expected, axis=1)[:, -2:].T
    decided = first - second > margin * np.abs(expected).max() if margin else np.ones(len(expected), bool)
    return float((found.argmax(1) == expected.argmax(1))[decided].mean()) if decided.any() else None


def size_and_hash(path: pathlib.Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, or of all files of a folder."""
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return sum(f.stat().st_size for f in files), digest.hexdigest()


def latency_ms(run: Run, images: np.ndarray, calls: int = 30, seconds: float = 2.0) -> float:
    """The median time of one call in milliseconds: of `calls`, or of as many as `seconds` allow (at least three)."""
    run(images)                         # the first call plans memory, or traces
    times: list[float] = []
    while len(times) < 3 or (len(times) < calls and sum(times) < seconds):
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
