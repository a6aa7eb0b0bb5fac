"""Stochastic depth: the time of a training step against the survival probability, by batch and by sample.

    python examples/benchmarks/stochastic_depth.py

By batch, a branch that falls is not computed, forward or backward, so the time falls with the share that survives; by sample,
every branch is computed, and the time stays.  "survival" is the mean over the blocks, of a rate that grows linearly with depth.
"""
from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def step(net: str, rate: float, mode: str, size: int, batch: int, steps: int, width: float, seed: int = 0) -> tuple[float, float]:
    """(mean survival probability, seconds per training step), after one step that is not counted."""
    import keras
    import numpy as np
    import tensorflow as tf

    import reskeras
    from reskeras.parts.layers import StochasticDepth

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = reskeras.create(net, weights=None, input_shape=(size, size, 3), classes=10, width=width, drop_path_rate=rate,
                            drop_path_mode=mode)
    rates = [layer.rate for layer in model.layers if isinstance(layer, StochasticDepth)]
    same = reskeras.distributable(model)
    same.compile("sgd", "sparse_categorical_crossentropy")
    images, labels = rng.normal(size=(batch, size, size, 3)).astype("float32"), rng.integers(0, 10, batch)
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    times: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())
    same.fit(data, steps_per_epoch=steps + 1, shuffle=False, verbose=0, callbacks=[Clock()])
    keras.utils.clear_session()
    return float(1 - np.mean(rates or [0.0])), (times[-1] - times[0]) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="cifar_resnet20")
    parser.add_argument("--width", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.5, 0.9], help="of the last block")
    given = parser.parse_args()
    print(f"{given.net}, width {given.width:g}, batch {given.batch} at {given.size} px: seconds per training step")
    print(f"{'survival':>10}{'batch':>10}{'ratio':>8}{'sample':>10}{'ratio':>8}", flush=True)
    whole: dict[str, float] = {}
    for rate in given.rates:
        line = ""
        for mode in ("batch", "sample"):
            survival, seconds = step(given.net, rate, mode, given.size, given.batch, given.steps, given.width)
            whole.setdefault(mode, seconds)
            line += f"{seconds:10.4f}{seconds / whole[mode]:8.2f}"
        print(f"{survival:10.2f}{line}", flush=True)


if __name__ == "__main__":
    main()
