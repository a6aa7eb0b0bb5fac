"""Images a second in training by one process, and by two workers on the same host that share its cores: what
the sharing costs.

    python examples/benchmarks/replicas.py --net cifar_resnet20 --batch 128 --json replicas.json

One process has all cores, each of two workers half of them, so that an overhead of nothing would be a ratio
of 1.  The batch is of all workers together, batch normalization is synchronized, operations and order are
deterministic: the losses must agree.
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

    def __init__(self, number: int, **what: Any):
        self.number, self.losses = number, [0.0]
        self.code = CODE.format(threads=max((os.cpu_count() or 1) // number, 1), **what)

    def __call__(self) -> float:
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        configurations = (
            [{"TF_CONFIG": config} for config in make_configs(self.number)] if self.number > 1 else [{}])
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", self.code], env={**environment, **more}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for more in configurations]
        text = [process.communicate() for process in processes]
        for process, (_, errors) in zip(processes, text):
            if process.returncode:
                raise RuntimeError(f"a worker ended with {process.returncode}: {errors[-2000:]}")
        rates, self.losses = json.loads(text[0][0].splitlines()[-1])
        return 1000 / statistics.median(rates[1:])


def main() -> None:
    arguments = parser(__doc__, size=32, seconds=0.0)
    arguments.add_argument("--net", default="cifar_resnet20")
    arguments.add_argument("--batch", type=int, default=128, help="of all workers together")
    arguments.add_argument("--images", type=int, default=512)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--runs", type=int, default=2, help="of each half")
    options = arguments.parse_args()
    what = {name: getattr(options, name) for name in ("net", "batch", "images", "epochs", "size")}
    sides = {"1 process": Workers(1, **what), "2 workers": Workers(2, **what)}
    times = in_turns(sides, options.seconds, warm=0, least=options.runs)
    apart = max(abs(a - b) / a for a, b in zip(*(side.losses for side in sides.values())))
    share = ratio(times["2 workers"], times["1 process"])
    for name, timed in times.items():
        print(f"{name:10} {1000 / timed.ms:8.1f} images/s" + ("" if timed.quiet else ", noisy"))
    print(f"2 workers take {shown(share)} of the time of 1 process; their losses are {apart:.0e} apart")
    write(
        options.json,
        [
            {
                "net": options.net, "batch": options.batch, **figures(times), "ratio": share,
                "losses_apart": apart,
                "images_per_second": {name: 1000 / timed.ms for name, timed in times.items()}}])


if __name__ == "__main__":
    main()
