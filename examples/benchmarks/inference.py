"""Latency of a net before and after `reskeras.optimize`, measured alternately: TF graph, XLA, TFLite.

    python examples/benchmarks/inference.py --nets ResNet50 --batches 1 8 --json inference.json

Where the machine is too noisy (`timing.py`), no ratio is printed.
"""
from __future__ import annotations

import os
from typing import Any, Callable

from timing import NETS, clock, figures, in_turns, parser, ratio, shown, write

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import reskeras


def function(model: keras.Model, images: np.ndarray, xla: bool) -> tf.types.experimental.ConcreteFunction:
    call = tf.function(lambda x: model(x, training=False), jit_compile=xla, autograph=False)
    return call.get_concrete_function(tf.TensorSpec(images.shape))


def graph(model: keras.Model, images: np.ndarray, xla: bool = False) -> Callable[[], Any]:
    call, x = function(model, images, xla), tf.constant(images)
    return lambda: call(x).numpy()


def tflite(model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
    # otherwise the file reads variables at each call
    frozen = convert_variables_to_constants_v2(function(model, images, False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    return interpreter.invoke


RUNTIMES: dict[str, Callable[..., Callable[[], Any]]] = {
    "graph": graph, "xla": lambda model, images: graph(model, images, xla=True), "tflite": tflite}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=NETS)
    arguments.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    arguments.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    arguments.add_argument("--passes", nargs="+", help="instead of the default ones")
    arguments.add_argument("--base", nargs="+", default=[], help="passes of the side before, none by default")
    options = arguments.parse_args()
    rows = []
    print(f"{'net':20} {'runtime':8} {'batch':>5} {'before ms':>10} {'after ms':>10} {'after / before':>15}")
    for name in options.nets:
        before = getattr(reskeras, name)(weights=None, input_shape=(options.size, options.size, 3))
        after, _ = reskeras.optimize(before, passes=options.passes, check=False)
        before = reskeras.optimize(before, passes=options.base, check=False)[0] if options.base else before
        for runtime in options.runtimes:
            for batch in options.batches:
                images = (
                    np.random.default_rng(0)
                    .standard_normal((batch, options.size, options.size, 3))
                    .astype("float32"))
                old, new = (RUNTIMES[runtime](model, images) for model in (before, after))
                times = in_turns({"before": clock(old), "after": clock(new)}, options.seconds)
                first, then = times["before"], times["after"]
                rows.append(
                    {
                        "net": name, "runtime": runtime, "batch": batch, **figures(times),
                        "before_ms": first.ms, "after_ms": then.ms, "ratio": ratio(then, first)})
                print(
                    f"{name:20} {runtime:8} {batch:5} {first.ms:10.1f} {then.ms:10.1f} "
                    f"{shown(ratio(then, first)):>15}",
                    flush=True,
                )
    write(options.json, rows)


if __name__ == "__main__":
    main()
