"""Latency of a net's files by precision and runtime, beside float32 in the same runtime, in turns in one run.

    python examples/benchmarks/precisions.py --net cifar_resnet20.digits --json precisions.json

docs/exports.md has size and accuracy of the same files.  TFLite for Microcontrollers is not timed: on a PC it
has its reference kernels only.
"""
from __future__ import annotations

import importlib.util
import pathlib
import tempfile
from typing import Any

from timing import Side, clock, figures, in_turns, parser, ratio, shown, write

import numpy as np

import reskeras
from reskeras.exporters.formats import open_file

PATHS = {"TFLite": "net.tflite", "ONNX": "net.onnx", "OpenVINO": "net.xml", "SavedModel": "net"}
NEEDS = {"TFLite": "ai_edge_litert", "ONNX": "tf2onnx", "OpenVINO": "nncf", "SavedModel": "tensorflow"}
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")


def choose_options(precision: str, runtime: str, pixels: np.ndarray) -> dict[str, Any] | None:
    """The arguments of `export`; None if the format has no such precision."""
    if precision == "int16x8" and runtime != "TFLite":
        return None
    if precision == "float16" and runtime == "SavedModel":
        return {"dtype": precision}
    calibration = {"calibration_data": pixels} if precision.startswith("int") else {}
    return {"quantize": None if precision == "float32" else precision, **calibration}


def main() -> None:
    arguments = parser(__doc__, seconds=8.0)
    arguments.add_argument("--net", default="cifar_resnet20.digits")
    arguments.add_argument("--batch", type=int, default=1)
    arguments.add_argument("--runtimes", nargs="+", choices=PATHS, default=list(PATHS))
    options = arguments.parse_args()
    net = reskeras.create(options.net)
    _, *shape = net.input_shape
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (64, *shape), "uint8")
    images = random.standard_normal((options.batch, *shape)).astype("float32")
    rows = []
    for runtime in options.runtimes:
        if importlib.util.find_spec(NEEDS[runtime]) is None:
            print(f"{runtime}: {NEEDS[runtime]} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            sides: dict[str, Side] = {}
            for precision in PRECISIONS:
                chosen = choose_options(precision, runtime, pixels)
                if chosen is None:
                    continue
                path = pathlib.Path(folder, precision, PATHS[runtime])
                path.parent.mkdir()
                reskeras.export(net, path, batch_size=options.batch, strict=False, **chosen)
                run = open_file(path, trust=True).run
                sides[precision] = clock(lambda run=run: run(images))
            times = in_turns(sides, options.seconds, warm=20)
        ratios = {name: ratio(timed, times["float32"]) for name, timed in times.items()}
        rows.append({"net": options.net, "runtime": runtime, "batch": options.batch, "ratio": ratios,
                     **figures(times)})
        print(f"{runtime}: " + ", ".join(f"{name} {timed.ms:.3f} ms ({shown(ratios[name], 2)})"
                                         for name, timed in times.items()), flush=True)
    write(options.json, rows)


if __name__ == "__main__":
    main()
