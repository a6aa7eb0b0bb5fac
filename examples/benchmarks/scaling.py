"""Memory of a training step against depth and batch, measured, beside what `reskeras.cost` predicts from the
graph.

    python examples/benchmarks/scaling.py --depths 20 56 110 --batches 8 16 32 --json scaling.json

Each measurement is a process of its own: the most memory that a step adds to a built net.  `cost` counts
every layer's output once, `total_bytes`; what a step holds is a multiple of it, the same one at every depth
and batch where memory is linear in both.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from timing import write

BODY = """
import json, resource
import keras, tensorflow as tf, reskeras
net = reskeras.CifarResNet{depth}(weights=None, input_shape=({size}, {size}, 3))
net.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
net.train_on_batch(tf.zeros((1, *net.input_shape[1:])), tf.zeros(1))        # traces
net.train_on_batch(tf.zeros((2, *net.input_shape[1:])), tf.zeros(2))
before = peak()
net.train_on_batch(tf.zeros(({batch}, *net.input_shape[1:])), tf.zeros({batch}))
print(json.dumps([peak() - before, reskeras.cost(net, batch_size={batch}).total_bytes]))
"""


def measured(depth: int, batch: int, size: int) -> tuple[int, int]:
    """Bytes that a step adds, and those of all activations as `cost` has them."""
    code = BODY.format(depth=depth, batch=batch, size=size)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    added, predicted = json.loads(out.splitlines()[-1])
    return added, predicted


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--depths", nargs="+", type=int, default=[20, 56, 110])
    arguments.add_argument("--batches", nargs="+", type=int, default=[32, 64, 128])
    arguments.add_argument("--size", type=int, default=32)
    arguments.add_argument("--json", help="a file for the figures")
    options = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for depth in options.depths:
        for batch in options.batches:
            added, predicted = measured(depth, batch, options.size)
            rows.append({"depth": depth, "batch": batch, "added_bytes": added, "predicted_bytes": predicted,
                         "ratio": added / predicted})
            print(
                f"{depth:5} layers, batch {batch:4}: {added / 2**20:8.1f} MiB added, "
                f"{predicted / 2**20:8.1f} MiB of activations, {added / predicted:.2f}",
                flush=True,
            )
    write(options.json, rows)


if __name__ == "__main__":
    main()
