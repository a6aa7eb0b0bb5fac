"""Exported files side by side: latency, throughput, bytes, agreement."""
from __future__ import annotations

import os
import pathlib
import time
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ..exporters import report
from ..exporters.report import compute_agreement, measure_latency, max_relative_difference, compute_size_and_hash
from ..exporters.formats import BatchRunner, find_format, open_file

CALLS, SECONDS = 50, 3.0
MANY = 16       # images of a throughput call, where a file takes any number


@dataclass(frozen=True)
class Line:
    """One file in one runtime."""
    file: str
    runtime: str
    bytes: int
    median_ms: float                # of one call on one image
    p90_ms: float
    images_per_second: float        # in calls on as many images as the file takes, at most MANY
    ratio: float                    # its median over that of the first file
    agreement: float | None         # share of images of the first file's class
    difference: float               # largest, over the first file's largest output


def benchmark(files: Sequence[str | os.PathLike[str]], threads: int = 1, images: int = 8,
              size: tuple[int, int] | None = None) -> list[Line]:
    """Runs every file on the same random images, in every runtime of its format.

    Arguments:
        files: of the formats that `reskeras.export` writes; others are compared with the first.
        threads: of each runtime; TensorFlow's (for Keras and SavedModel) are set where it is not running yet.
        images: to compare.
        size: (height, width), where the first file leaves it open.
    Raises: ValueError for no file, or files of images of different shapes; as `open_file`.
    """
    if not files:
        raise ValueError("no files: give at least one exported file")
    _one_thread_count(files, threads)
    opened = [(pathlib.Path(file), name, open_file(file, threads, name))
              for file in files for name in find_format(file).module.RUNTIMES]
    shape = _common([run for _, _, run in opened], size)
    batch = np.random.RandomState(0).standard_normal((images, *shape)).astype("float32")
    base_outputs, base_median, lines = None, 0.0, []
    for file, name, run in opened:
        found = run(batch)
        base_outputs = found if base_outputs is None else base_outputs
        one, many = (np.resize(batch, (run.shape[0] or n, *shape)) for n in (1, MANY))
        times = measure_latency(run.run, one, CALLS, SECONDS)
        base_median = base_median or times["median"]
        number, _ = compute_size_and_hash(*find_format(file).files(file))
        lines.append(Line(str(file), name, number, times["median"], times["p90"], _throughput(run, many),
                          times["median"] / base_median, compute_agreement(found, base_outputs),
                          max_relative_difference(found, base_outputs)))
    return lines


def _one_thread_count(files: Sequence[str | os.PathLike[str]], threads: int) -> None:
    if any(find_format(file).half for file in files):
        import tensorflow as tf
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:        # it runs already, with the threads it has
            pass


def _common(runs: list[BatchRunner], size: tuple[int, int] | None) -> tuple[int, ...]:
    """The image's shape that all files take.  Raises: ValueError where there is none, or nobody knows it."""
    shapes = [run.shape[1:] for run in runs]
    found = tuple(next((side for side in sides if side), None) for sides in zip(*shapes))
    if size:
        found = (*size, found[2])
    if None in found:
        raise ValueError("the files leave the size of the images open; give size=(height, width)")
    if any(own not in (None, side) for shape in shapes for own, side in zip(shape, found)):
        raise ValueError(f"the files take images of different shapes: {', '.join(map(str, sorted(set(shapes), key=str)))}")
    return tuple(side for side in found if side)


def _throughput(run: BatchRunner, images: np.ndarray) -> float:
    run.run(images)
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < 1:
        run.run(images)
        count += 1
    return count * len(images) / (time.perf_counter() - start)


def table(lines: list[Line]) -> str:
    """The measurements as text."""
    width = max(len(line.file) for line in lines)
    rows = [f"{'file':{width}}  {'runtime':14} {'MB':>9} {'median ms':>10} {'p90 ms':>9} {'ratio':>7} {'images/s':>10} "
            f"{'as first':>9} {'difference':>11}"]
    for line in lines:
        same = "" if line.agreement is None else f"{line.agreement:.1%}"
        rows.append(f"{line.file:{width}}  {line.runtime:14} {line.bytes / 1e6:9.3f} {line.median_ms:10.3f} {line.p90_ms:9.3f} "
                    f"{line.ratio:7.2f} {line.images_per_second:10.1f} {same:>9} {line.difference:11.1e}")
    return "\n".join(rows)


def as_json(lines: list[Line]) -> str:
    return report.to_json([vars(line) for line in lines])
