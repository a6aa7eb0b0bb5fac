"""Images a second in training by 1, 2 and 4 processes of this machine, each with the same share of its cores.

    python examples/benchmarks/replicas.py --net cifar_resnet20 --batch 128 --json replicas.json

A process has one fourth of the machine, also if it is alone: where no process trains, another one computes
for nothing.  So the machine is as busy in every run, and without any overhead 4 processes would be 4 times as
fast as 1.  The batch is of all processes together, batch normalization is synchronized, operations and order
are deterministic: the losses must agree.
"""
from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from timing import figures, in_turns, parser, ratio, shown, write

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from multi_worker import make_configs  # noqa: E402

CODE = """
import json
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads({threads})
import reskeras
random = np.random.default_rng(0)
images = random.integers(0, 256, ({images}, {size}, {size}, 3), "uint8")
labels = random.integers(0, 10, {images})
history = reskeras.fit(
    "{net}", (images, labels), "cifar_he", verbose=2, deterministic=True,
    model_overrides={{"norm": "sync_batch"}}, size={size}, test_size={size}, augmentation="",
    batch_size={batch}, steps=0, epochs={epochs}, schedule="constant", learning_rate=0.001).history
print(json.dumps([history["images_per_s"], history["loss"]]))
"""


class Workers:
    """A training by so many processes; milliseconds an image, of the epochs behind the first."""

    def __init__(self, number: int, shares: int, **what: Any):
        self.number, self.shares, self.losses = number, shares, [0.0]
        self.code = CODE.format(threads=max((os.cpu_count() or 1) // shares, 1), **what)

    def __call__(self) -> float:
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        configurations = (
            [{"TF_CONFIG": config} for config in make_configs(self.number)] if self.number > 1 else [{}])
        idle = [subprocess.Popen([sys.executable, "-c", "while True: pass"], **on_share(share, self.shares))
                for share in range(self.number, self.shares)]
        try:
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", self.code], env={**environment, **more}, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, **on_share(share, self.shares))
                for share, more in enumerate(configurations)]
            text = [process.communicate() for process in processes]
        finally:
            for process in idle:
                process.kill()
        for process, (_, errors) in zip(processes, text):
            if process.returncode:
                raise RuntimeError(f"a worker ended with {process.returncode}: {errors[-2000:]}")
        rates, self.losses = json.loads(text[0][0].splitlines()[-1])
        return 1000 / statistics.median(rates[1:])


def on_share(share: int, shares: int) -> dict[str, Any]:
    """Options of a process that has one of so many equal parts of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    own = cores[share * len(cores) // shares:(share + 1) * len(cores) // shares] or [
        cores[share * len(cores) // shares]]
    return {"preexec_fn": lambda: os.sched_setaffinity(0, own)}


def main() -> None:
    arguments = parser(__doc__, size=32, seconds=0.0)
    arguments.add_argument("--net", default="cifar_resnet20")
    arguments.add_argument("--batch", type=int, default=128, help="of all processes together")
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    arguments.add_argument("--images", type=int, default=512)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--runs", type=int, default=2, help="of each half")
    options = arguments.parse_args()
    what = {name: getattr(options, name) for name in ("net", "batch", "images", "epochs", "size")}
    shares = max(options.processes)
    sides = {str(number): Workers(number, shares, **what) for number in options.processes}
    times = in_turns(sides, options.seconds, warm=0, least=options.runs)
    first, *others = sides
    apart = max(abs(a - b) / a for other in others for a, b in zip(sides[first].losses, sides[other].losses))
    ratios = {name: ratio(times[first], times[name]) for name in others}
    for name, timed in times.items():
        print(f"{name:>3} processes {1000 / timed.ms:8.1f} images/s" + ("" if timed.quiet else ", noisy")
              + (f", {shown(ratios[name])} times those of {first}" if name in ratios else ""))
    print(f"the losses are {apart:.0e} apart")
    write(
        options.json,
        [
            {
                "net": options.net, "batch": options.batch, "share": 1 / shares, **figures(times),
                "ratio": ratios, "losses_apart": apart,
                "images_per_second": {name: 1000 / timed.ms for name, timed in times.items()}}])


if __name__ == "__main__":
    main()
