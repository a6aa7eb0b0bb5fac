"""How a .tflite file takes every second position of a map: Keras' 1x1 max pool, a strided slice, and the 1x1
depthwise convolution with a stride that `reskeras.export` writes, alternately in one run.

    python examples/benchmarks/subsampling.py --json subsampling.json

Alone, and between two 1x1 convolutions, as in a net: XNNPACK takes neither the pool nor the slice, so that
they cut the graph in two.  Milliseconds of one image by one thread in LiteRT; all give the same numbers.
"""
from __future__ import annotations

import contextlib
import io
import pathlib
import tempfile

from timing import clock, figures, in_turns, parser, ratio, shown, write

import keras
import numpy as np
import tensorflow as tf

from reskeras.exporters.formats import open_file

SIDES = ("max pool", "strided slice", "depthwise")


def subsampled(side: str, x: keras.KerasTensor) -> keras.KerasTensor:
    """Every second position of a map."""
    if side == "max pool":
        return keras.layers.MaxPooling2D(1, strides=2)(x)
    if side == "strided slice":
        return x[:, ::2, ::2]
    ones = keras.initializers.Ones()
    return keras.layers.DepthwiseConv2D(1, strides=2, use_bias=False, depthwise_initializer=ones)(x)


def written(folder: pathlib.Path, side: str, size: int, channels: int, alone: bool) -> pathlib.Path:
    """The .tflite file of a side."""
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, channels), batch_size=1)
    x = image if alone else keras.layers.Conv2D(channels, 1, activation="relu")(image)
    x = subsampled(side, x)
    if not alone:
        x = keras.layers.Conv2D(channels, 1, activation="relu")(x)
    path = folder / f"{side} {alone}.tflite"
    with contextlib.redirect_stdout(io.StringIO()):     # Keras prints the signatures
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, x)).convert())
    return path


def main() -> None:
    arguments = parser(__doc__, size=56, seconds=8.0)
    arguments.add_argument("--channels", type=int, nargs="+", default=[64, 256])
    options = arguments.parse_args()
    rows = []
    for channels in options.channels:
        for alone in (True, False):
            shape = (1, options.size, options.size, channels)
            image = np.random.default_rng(0).standard_normal(shape).astype("float32")
            with tempfile.TemporaryDirectory() as folder:
                paths = {side: written(pathlib.Path(folder), side, options.size, channels, alone)
                         for side in SIDES}
                runs = {side: open_file(path).run for side, path in paths.items()}
                answers = [np.asarray(run(image)) for run in runs.values()]
                apart = max(float(np.abs(answer - answers[0]).max()) for answer in answers)
                times = in_turns({side: clock(lambda run=run: run(image)) for side, run in runs.items()},
                                 options.seconds, warm=20)
            shares = {side: ratio(times[side], times["depthwise"]) for side in SIDES[:2]}
            rows.append({"size": options.size, "channels": channels, "alone": alone, "apart": apart,
                         "ratio": shares, **figures(times)})
            place = "alone" if alone else "between two 1x1 convolutions"
            print(f"{options.size} px, {channels} channels, {place}: "
                  + ", ".join(f"{side} {timed.ms:.3f} ms" for side, timed in times.items())
                  + "".join(f"; {side} / depthwise {shown(share, 2)}" for side, share in shares.items()),
                  flush=True)
    write(options.json, rows)


if __name__ == "__main__":
    main()
