"""Stochastic depth: the time of a training step against the survival probability, by batch and by sample, in
turns in one run.

    python examples/benchmarks/stochastic_depth.py --json stochastic_depth.json

By batch, a dropped branch is not computed, forward or backward, so the time falls with the share that
survives; by sample, every branch is computed, and the time stays.  "survival" is the mean over the blocks, of
a rate that grows linearly with depth; the ratio is to the net whose blocks all survive.
"""
from __future__ import annotations

from typing import Any

from timing import Side, clock, figures, in_turns, parser, ratio, shown, write

import keras
import numpy as np
import tensorflow as tf

import reskeras
from reskeras.blocks.drop_layers import StochasticDepth


def steps(
    net: str, rate: float, mode: str, size: int, batch: int, count: int, width: float) -> tuple[float, Side]:
    """(mean survival probability, `count` training steps on one batch): how many branches fall differs from
    step to step.
    """
    model = reskeras.create(
        net, weights=None, input_shape=(size, size, 3), classes=10, width=width, drop_path_rate=rate,
        drop_path_mode=mode)
    rates = [layer.rate for layer in model.layers if isinstance(layer, StochasticDepth)]
    same = reskeras.distributable(model)
    same.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, size, size, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, batch))
    return float(1 - np.mean(rates or [0.0])), clock(
        lambda: [same.train_on_batch(images, labels) for _ in range(count)])


def main() -> None:
    arguments = parser(__doc__, size=32, seconds=60.0)
    arguments.add_argument("--net", default="cifar_resnet20")
    arguments.add_argument("--width", type=float, default=2.0)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--steps", type=int, default=10, help="of a call")
    arguments.add_argument("--rates", type=float, nargs="+", default=[0.5, 0.9], help="of the last block")
    options = arguments.parse_args()
    keras.utils.set_random_seed(0)
    what: dict[str, Any] = {
        "size": options.size, "batch": options.batch, "count": options.steps, "width": options.width}
    made = {
        (rate, mode): steps(options.net, rate, mode, **what)
        for rate in options.rates
        for mode in ("batch", "sample")}
    sides = {"all survive": steps(options.net, 0.0, "sample", **what)[1]}
    sides |= {f"{mode} {survival:.2f}": side for (_, mode), (survival, side) in made.items()}
    times = in_turns(sides, options.seconds)
    rows = []
    for (_, mode), (survival, _) in made.items():
        side = f"{mode} {survival:.2f}"
        share = ratio(times[side], times["all survive"])
        rows.append(
            {
                "net": options.net, "width": options.width, "batch": options.batch, "mode": mode,
                "survival": survival, "side": side, "ratio": share, **figures(times)})
        print(
            f"mean survival {survival:.2f}, by {mode}: {times[side].ms / options.steps:.1f} ms a step, "
            f"{shown(share, 2)} of "
            f"{times['all survive'].ms / options.steps:.1f}",
            flush=True,
        )
    write(options.json, rows, steps=options.steps)


if __name__ == "__main__":
    main()
