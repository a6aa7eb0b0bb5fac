"""`benchmark`: exported files and nets side by side: latency, throughput, bytes, agreement."""
from __future__ import annotations

import os
import pathlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from ..catalog import is_file_name, list_builders, list_models, list_source_names
from ..errors import ArgumentError, check_paths, check_whole_number
from ..json_writer import to_json
from ..terminal import print_text
from .keras_nets import find_keras_net
from .open_model import Size, check_size, open_model

if TYPE_CHECKING:
    from ..exporters.formats import BatchRunner

Path = str | os.PathLike[str]

IMAGES = 8              # random images on which the files are compared
CALLS, TIME = 50, 3.0   # of one image in each file, at most; see `measure_latency`
MANY = 16               # images of a throughput call, if a file takes any number


@dataclass(frozen=True)
class BenchmarkResult:
    """One file in one runtime, or a net by its name in Keras."""

    file: str
    runtime: str
    bytes: int                      # of the file; of the net's weights
    median_ms: float                # of one call on one image
    p90_ms: float                   # nine of ten calls are at least as fast
    images_per_second: float        # in calls on as many images as the file takes, at most MANY
    ratio: float                    # its median divided by that of the first file
    # Share of images that have the class of the first file; None for a net by its name, whose weights are
    # random, and for what is compared with one
    agreement: float | None
    # largest difference from the first file's outputs, divided by their largest value; None likewise
    difference: float | None


def benchmark(files: Sequence[Path], *, threads: int = 1, size: Size | None = None,
              trust: bool = False) -> list[BenchmarkResult]:
    """Runs exported files on the same random images, each in every runtime of its format.

    Args:
        files: files in the formats that `reskeras.export` writes; the others are compared with the first one.
            The name of a net ("resnet50d", "keras/MobileNetV2") is the net in Keras, with random weights.
        threads: number of threads of each runtime; TensorFlow's threads (for Keras and SavedModel) are set
            only if it does not run yet.
        size: size of the images, if the files take any size: pixels on a side, or (height, width).  A net by
            its name is built for it.
        trust: whether a SavedModel, which is a program, may run.

    Returns:
        A result for each file and runtime: latency in milliseconds, images per second, bytes, agreement.

    Raises:
        ArgumentError: for no file or what is no path, a wrong size, if a size is missing, or for a SavedModel
            if `trust` is not True.
        ValueError: for files that take images of different shapes, or that cannot be read.
        FileNotFoundError: if there is no such file.
        ImportError: if a runtime is not installed.

    Example:
        >>> reskeras.benchmark(["net.tflite", "net.onnx"])[1].ratio     # doctest: +SKIP
        1.2
    """
    from ..exporters.comparison import compute_agreement, compute_relative_difference
    from ..exporters.formats import find_format, open_file
    from ..exporters.measurements import compute_size_and_hash, measure_latency
    files = check_paths("files", files, "a list of exported files",
                        hint="write a model to a file first, with reskeras.export")
    if not files:
        raise ArgumentError("files", files, "at least one exported file; there are no files")
    threads = check_whole_number("threads", threads)
    height_and_width = check_size(size)
    _set_tensorflow_threads(files, threads)
    runners: list[tuple[Path, str, BatchRunner, int]] = []
    for file in files:
        if _is_net(file):
            runners.append((file, "Keras", *_open_net(file, height_and_width)))
            continue
        for runtime in find_format(file).module.RUNTIMES:
            runner = open_file(file, threads, runtime, trust=trust)
            path = pathlib.Path(file)
            size_in_bytes, _ = compute_size_and_hash(*find_format(path).files(path))
            runners.append((path, runtime, runner, size_in_bytes))
    shapes = {str(file): runner.shape[1:] for file, _, runner, _ in runners}
    shape = _find_common_shape(shapes, height_and_width)
    images = np.random.RandomState(0).standard_normal((IMAGES, *shape)).astype("float32")

    first_outputs, first_median, results = None, 0.0, []
    has_values = not _is_net(files[0])
    for file, runtime, runner, size_in_bytes in runners:
        outputs = runner(images)
        first_outputs = outputs if first_outputs is None else first_outputs
        one, many = (np.resize(images, (runner.shape[0] or count, *shape)) for count in (1, MANY))
        times = measure_latency(runner.run, one, CALLS, TIME)
        first_median = first_median or times["median"]
        compares = has_values and not _is_net(file)
        results.append(BenchmarkResult(
            str(file), runtime, size_in_bytes, times["median"], times["p90"],
            _measure_throughput(runner, many),
            times["median"] / first_median,
            compute_agreement(outputs, first_outputs) if compares else None,
            compute_relative_difference(outputs, first_outputs) if compares else None))
    return results


def print_result(results: list[BenchmarkResult], json: bool = False) -> int:
    """Prints the measurements as a table or JSON.  Returns: the exit code."""
    print_text(to_json([vars(result) for result in results]) if json else _format_results(results))
    return 0


def _format_results(results: list[BenchmarkResult]) -> str:
    """The measurements as a table in plain text."""
    width = max(len(result.file) for result in results)
    lines = [f"{'file':{width}}  {'runtime':14} {'MB':>9} {'median ms':>10} {'p90 ms':>9} {'ratio':>7} "
             f"{'images/s':>10} "
             f"{'as first':>9} {'difference':>11}"]
    for r in results:
        agreement = "" if r.agreement is None else f"{r.agreement:.1%}"
        difference = "" if r.difference is None else f"{r.difference:.1e}"
        lines.append(f"{r.file:{width}}  {r.runtime:14} {r.bytes / 1e6:9.3f} {r.median_ms:10.3f} "
                     f"{r.p90_ms:9.3f} "
                     f"{r.ratio:7.2f} {r.images_per_second:10.1f} {agreement:>9} {difference:>11}")
    return "\n".join(line.rstrip() for line in lines)


def _is_net(file: Path) -> bool:
    """Whether it is the name of a net, and no file or folder.

    Raises:
        ValueError: for a misspelled name of a net of keras.applications.
    """
    if not isinstance(file, str) or is_file_name(file) or os.path.exists(file):
        return False
    names = {*list_models(), *list_builders(), *list_source_names()}
    return bool(find_keras_net(file)) or file.partition(".")[0] in names


def _open_net(name: str, size: tuple[int, int] | None) -> tuple[BatchRunner, int]:
    """The net as a function of images, and the bytes of its weights."""
    from ..exporters.formats import BatchRunner
    from ..exporters.keras_file import make_array_function
    net = open_model(name, size)
    runner = BatchRunner(make_array_function(net), tuple(net.input_shape))
    return runner, sum(np.asarray(variable).nbytes for variable in net.weights)


def _set_tensorflow_threads(files: Sequence[Path], threads: int) -> None:
    from ..exporters.formats import find_format
    if any(_is_net(file) or find_format(file).name in ("Keras", "SavedModel") for file in files):
        import tensorflow as tf
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:        # TensorFlow runs already, with the threads it has
            pass


def _find_common_shape(shapes: dict[str, tuple[int | None, ...]],
                       size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape (height, width, channels) of an image that all files take.

    Args:
        shapes: by the name of a file, the shape that it takes.
        size: (height, width), if it was given.

    Raises:
        ArgumentError: if all files take any size, and `size` is not given.
        ValueError: if there is no such shape.
    """
    common = tuple(next((side for side in sides if side), None) for sides in zip(*shapes.values()))
    if size:
        common = (*size, *common[2:])
    if None in common:
        raise ArgumentError("size", size, "(height, width), or one number for both",
                            hint=f"images of any size fit {', '.join(shapes)}")
    if any(own not in (None, side) for shape in shapes.values() for own, side in zip(shape, common)):
        listing = ", ".join(f"{shape} in {name}" for name, shape in shapes.items())
        raise ValueError(f"the files take images of different shapes: {listing}")
    return tuple(side for side in common if side)


def _measure_throughput(runner: BatchRunner, images: np.ndarray) -> float:
    """Images per second, over at least one second."""
    runner.run(images)
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < 1:
        runner.run(images)
        count += 1
    return count * len(images) / (time.perf_counter() - start)
