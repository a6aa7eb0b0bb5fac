"""Training on several machines; by default on two processes of this one, which is how to try it.

    python examples/multi_worker.py                                 # 2 local processes, random images
    python examples/multi_worker.py --data folder:photos --net resnet18 --set epochs=10

On real machines nothing but an environment variable tells each of them who is there and which one it is; set it on each and
start the same command, `python examples/multi_worker.py --worker ...` or `reskeras train ... --strategy multi_worker`:

    TF_CONFIG='{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'   # on host0
    TF_CONFIG='{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 1}}'   # on host1

"cluster" is the same everywhere, every address is reached from every machine, "index" is this one's place in the list.  Worker
0 is the chief: it writes the checkpoints.  The batch is of all workers together.  Where one is lost the others end with an error
within a minute or two; start all again with `--resume` and they go on from the last checkpoint.
"""
from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys


def worker(given: argparse.Namespace) -> None:
    """What runs on each machine."""
    import numpy as np

    import reskeras

    data = given.data
    if data == "random":
        rng = np.random.default_rng(0)
        data = rng.integers(0, 256, (64, 32, 32, 3), "uint8"), rng.integers(0, 4, 64)
    if given.resume:
        history = reskeras.fit(resume=given.output, strategy="multi_worker", quiet=True)
    else:
        history = reskeras.fit(given.net, data, given.recipe, strategy="multi_worker", set=given.set, output=given.output,
                               quiet=True)
    print(f"worker {json.loads(os.environ['TF_CONFIG'])['task']['index']}: loss {history.history['loss'][-1]:.6f}", flush=True)


def configs(number: int) -> list[str]:
    """TF_CONFIG of each of so many processes on this machine, at ports that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}) for i in range(number)]


def launch(number: int) -> int:
    """This command in `number` local processes, each with its TF_CONFIG; the first error ends the others."""
    processes = [subprocess.Popen([sys.executable, *sys.argv, "--worker"], env={**os.environ, "TF_CONFIG": config})
                 for config in configs(number)]
    return max(process.wait() for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="random", help="folder:PATH, npz:FILE, cifar10 ..., or random images (%(default)s)")
    parser.add_argument("--net", default="cifar_resnet20")
    parser.add_argument("--recipe", default="cifar_he")
    parser.add_argument("--set", nargs="+", default=["epochs=2", "batch=16", "augment='flip'", "schedule='constant'"])
    parser.add_argument("--output", default="runs/multi_worker")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--worker", action="store_true", help="this process is one of the machines of TF_CONFIG")
    given = parser.parse_args()
    sys.exit(worker(given) if given.worker else launch(given.processes))


if __name__ == "__main__":
    main()
