"""Latency of nets' files by precision and runtime, beside float32 in the same runtime, in turns in one run.

    python examples/benchmarks/precisions.py --json precisions.json
    python examples/benchmarks/precisions.py --nets ResNet50 --batches 1 8 --precisions int8 --json int8.json

docs/exports.md has size and accuracy of the same files.  TFLite for Microcontrollers is not timed: on a PC it
has its reference kernels only.  A net of the table (`ResNet50`) has random weights and `--size` pixels.
"""
from __future__ import annotations

import importlib.util
import os
import pathlib
import tempfile
from typing import Any

from export import ours, samples
from timing import clock, figures, in_turns, parser, ratio, shown, write

import keras
import numpy as np

import reskeras

PATHS = {"TFLite": "net.tflite", "ONNX": "net.onnx", "OpenVINO": "net.xml", "SavedModel": "net"}
NEEDS = {"TFLite": "ai_edge_litert", "ONNX": "tf2onnx", "OpenVINO": "nncf", "SavedModel": "tensorflow"}
PRECISIONS = ("float16", "dynamic", "int8", "int16x8")


def build(name: str, size: int) -> tuple[keras.Model, np.ndarray]:
    """The net, and images to calibrate on: pixels where it knows their preprocessing."""
    if hasattr(reskeras, name):
        net = getattr(reskeras, name)(weights=None, input_shape=(size, size, 3))
        return net, samples(net.input_shape[1:])
    net = reskeras.create(name)
    return net, np.random.default_rng(0).integers(0, 256, (64, *net.input_shape[1:]), "uint8")


def choose_options(precision: str, runtime: str, images: np.ndarray) -> dict[str, Any] | None:
    """The arguments of `export`; None if the format has no such precision."""
    if precision == "int16x8" and runtime != "TFLite":
        return None
    if precision == "float16" and runtime == "SavedModel":
        return {"dtype": precision}
    calibration = {"calibration_data": images} if precision.startswith("int") else {}
    return {"quantize": None if precision == "float32" else precision, **calibration}


def measure(net: keras.Model, calibration: np.ndarray, runtime: str, batch: int, options: Any
            ) -> dict[str, Any]:
    """The milliseconds of each precision, and the ratios to float32."""
    images = np.random.default_rng(0).standard_normal((batch, *net.input_shape[1:])).astype("float32")
    sides = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", *options.precisions):
            chosen = choose_options(precision, runtime, calibration)
            if chosen is not None:
                path = pathlib.Path(folder, precision, PATHS[runtime])
                path.parent.mkdir()
                sides[precision] = clock(ours(net, path, images, options.threads, **chosen))
        times = in_turns(sides, options.seconds)
    ratios = {name: ratio(timed, times["float32"]) for name, timed in times.items()}
    return {"ratio": ratios, **figures(times)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=["cifar_resnet20.digits"])
    arguments.add_argument("--batches", nargs="+", type=int, default=[1])
    arguments.add_argument("--runtimes", nargs="+", choices=PATHS, default=list(PATHS))
    arguments.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    options = arguments.parse_args()
    rows = []
    for name in options.nets:
        net, calibration = build(name, options.size)
        for batch in options.batches:
            for runtime in options.runtimes:
                if importlib.util.find_spec(NEEDS[runtime]) is None:
                    print(f"{runtime}: {NEEDS[runtime]} is not installed")
                    continue
                row = {"net": name, "runtime": runtime, "batch": batch,
                       **measure(net, calibration, runtime, batch, options)}
                rows.append(row)
                print(f"{name}, {batch}, {runtime}: " + ", ".join(
                    f"{precision} {ms:.3f} ms ({shown(row['ratio'][precision], 2)})"
                    for precision, ms in row["ms"].items()), flush=True)
                write(options.json, rows)       # what is measured is kept, whatever comes after


if __name__ == "__main__":
    main()
