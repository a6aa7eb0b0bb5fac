"""Images a second in training by processes of this machine, each with the same number of its cores.

    python examples/benchmarks/replicas.py --processes 1 2 --json replicas.json

A process has no more of the machine if it is alone: on the cores where no process trains, another one
computes for nothing.  So without any overhead 2 processes would be twice as fast as 1.  The batch is of all
processes together, batch normalization is synchronized, operations and order are deterministic: the losses
must agree.  The most processes train with Keras' own synchronized normalization too, and with one that is not
synchronized.
"""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from timing import figures, in_turns, parser, ratio, shown, write

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from multi_worker import make_configs  # noqa: E402

KERAS, APART = "Keras' normalization", "not synchronized"
CODE = """
import json
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads({threads})
import keras, reskeras
from reskeras.blocks import ops
if {by_keras}:
    ops.BatchNormalization = keras.layers.BatchNormalization
random = np.random.default_rng(0)
images = random.integers(0, 256, ({images}, {size}, {size}, 3), "uint8")
labels = random.integers(0, 10, {images})
history = reskeras.fit(
    "{net}", (images, labels), "cifar_he", verbose=2, deterministic=True,
    model_overrides={{"norm": "{norm}"}}, size={size}, test_size={size}, augmentation="",
    batch_size={batch}, steps=0, epochs={epochs}, schedule="constant", learning_rate=0.001).history
print(json.dumps([history["images_per_s"], history["loss"]]))
"""


class Workers:
    """A training by so many processes; milliseconds an image, of the epochs behind the first."""

    def __init__(self, number: int, shares: list[set[int]], norm: str = "sync_batch", by_keras: bool = False,
                 **what: Any):
        self.number, self.shares, self.losses = number, shares, [0.0]
        self.code = CODE.format(threads=len(shares[0]), norm=norm, by_keras=by_keras, **what)

    def __call__(self) -> float:
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        configurations = (
            [{"TF_CONFIG": config} for config in make_configs(self.number)] if self.number > 1 else [{}])
        with contextlib.ExitStack() as stack:
            def start(code: str, cores: set[int], **more: Any) -> subprocess.Popen[str]:
                process = stack.enter_context(subprocess.Popen(
                    [sys.executable, "-c", code], text=True, **more,
                    preexec_fn=lambda: os.sched_setaffinity(0, cores)))
                stack.callback(process.kill)
                return process
            for cores in self.shares[self.number:]:
                start("while True: pass", cores)
            files = [[stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]
                     for _ in configurations]
            processes = [start(self.code, cores, env={**environment, **more}, stdout=out, stderr=err)
                         for cores, more, (out, err) in zip(self.shares, configurations, files)]
            codes = [process.wait() for process in processes]
            for file in itertools.chain(*files):
                file.seek(0)
            for code, (_, err) in zip(codes, files):
                if code:
                    raise RuntimeError(f"a worker ended with {code}: {err.read()[-2000:]}")
            rates, self.losses = json.loads(files[0][0].read().splitlines()[-1])
        return 1000 / statistics.median(rates[1:])


def divide_cores(shares: int) -> list[set[int]]:
    """As many equal parts of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    if shares > len(cores):
        raise SystemExit(f"--processes {shares}: expected at most {len(cores)}, so that each has a core")
    each = len(cores) // shares
    return [set(cores[i * each:(i + 1) * each]) for i in range(shares)]


def main() -> None:
    arguments = parser(__doc__, size=32, seconds=0.0)
    arguments.add_argument("--net", default="cifar_resnet20")
    arguments.add_argument("--batch", type=int, default=128, help="of all processes together")
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--images", type=int, default=512)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--runs", type=int, default=2, help="of each number, at least twice as many")
    options = arguments.parse_args()
    what = {name: getattr(options, name) for name in ("net", "batch", "images", "epochs", "size")}
    shares = divide_cores(max(options.processes))
    sides = {str(number): Workers(number, shares, **what) for number in options.processes}
    synchronized = list(sides)
    if (most := max(options.processes)) > 1:
        sides[f"{most}, {KERAS}"] = Workers(most, shares, by_keras=True, **what)
        sides[f"{most}, {APART}"] = Workers(most, shares, norm="batch", **what)
        synchronized.append(f"{most}, {KERAS}")
    times = in_turns(sides, options.seconds, warm=0, least=options.runs)
    first, *others = sides
    apart = max((abs(a - b) / a for other in synchronized[1:]
                 for a, b in zip(sides[first].losses, sides[other].losses)), default=0.0)
    ratios = {name: ratio(times[first], times[name]) for name in others}
    for name, timed in times.items():
        print(f"processes: {name:26} {1000 / timed.ms:8.1f} images/s" + ("" if timed.quiet else ", noisy")
              + (f", {shown(ratios[name])} times those of {first}" if name in ratios else ""))
    print(f"the losses are {apart:.0e} apart")
    write(
        options.json,
        [
            {
                "net": options.net, "batch": options.batch, "cores": len(shares[0]), **figures(times),
                "ratio": ratios, "losses_apart": apart,
                "images_per_second": {name: 1000 / timed.ms for name, timed in times.items()}}])


if __name__ == "__main__":
    main()
