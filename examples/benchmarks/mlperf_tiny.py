"""MLPerf Tiny's ResNet-8 in int8: the benchmark's own file against ours of the same weights, alternately in
one run.

    python examples/benchmarks/mlperf_tiny.py --weights FILE.h5 --theirs FILE.tflite

Milliseconds of one image by one thread in LiteRT, and bytes; `tests/exporters/test_trained.py` compares the
errors.
"""
from __future__ import annotations

import pathlib
import tempfile

from timing import clock, figures, in_turns, parser, ratio, shown, write

import numpy as np

import reskeras
from reskeras.exporters.formats import open_file
from reskeras.images.preprocessing import Preprocessing


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--weights", required=True, help="the benchmark's trained .h5")
    arguments.add_argument("--theirs", required=True, help="the benchmark's int8 .tflite")
    options = arguments.parse_args()
    # what it is calibrated on changes no time
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), "uint8")
    image = pixels[:1].astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"ours": pathlib.Path(folder, "ours.tflite"), "theirs": pathlib.Path(options.theirs)}
        reskeras.export(
            reskeras.MLPerfTinyResNet8(weights=options.weights), paths["ours"], quantize="int8",
            calibration_data=pixels, preprocessing=Preprocessing((32, 32), "raw", crop_pct=1.0), strict=False)
        runs = {name: open_file(path).run for name, path in paths.items()}
        times = in_turns(
            {name: clock(lambda run=run: run(image)) for name, run in runs.items()}, options.seconds, warm=50)
        size = {name: path.stat().st_size for name, path in paths.items()}
    share = ratio(times["ours"], times["theirs"])
    print(", ".join(f"{name} {timed.ms:.3f} ms, {size[name]:,} bytes" for name, timed in times.items())
          + f"; ours / theirs {shown(share)}")
    write(options.json, [{"ratio": share, "bytes": size, **figures(times)}])


if __name__ == "__main__":
    main()
