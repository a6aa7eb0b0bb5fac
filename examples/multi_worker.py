"""Training on several machines; by default on two processes of this one, which is how to try it.

    python examples/multi_worker.py                                 # 2 local processes, random images
    python examples/multi_worker.py --data folder:photos --model resnet18 --overrides epochs=10

On several machines, an environment variable tells each machine the addresses of all, and which of them it is.
Set it on each machine and start the same command there, `python examples/multi_worker.py --worker ...` or
`reskeras train ... --strategy multi_worker`:

    TF_CONFIG='{"cluster": {"worker": ["host0:1234", "host1:1234"]}, "task": {"type": "worker", "index": 0}}'
    TF_CONFIG='{"cluster": {"worker": ["host0:1234", "host1:1234"]}, "task": {"type": "worker", "index": 1}}'

The first line is for host0, the second for host1.  "cluster" is the same on all machines, each machine must
reach every address in it, and "index" is the machine's own position in the list.  Worker 0 is the chief: it
writes the checkpoints.  The batch size counts all workers together.  When a worker is lost, the others stop
with an error within two minutes; start all of them again with `--resume`, and the run is resumed from
the last checkpoint.
"""
from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys


def run_worker(options: argparse.Namespace) -> None:
    """What runs on each machine."""
    import numpy as np

    import reskeras

    data = options.data
    if data == "random":
        rng = np.random.default_rng(0)
        data = rng.integers(0, 256, (64, 32, 32, 3), "uint8"), rng.integers(0, 4, 64)
    if options.resume:
        history = reskeras.fit(resume=options.output, strategy="multi_worker", verbose=2)
    else:
        history = reskeras.fit(options.model, data, options.recipe, strategy="multi_worker",
                               overrides=options.overrides, output=options.output, verbose=2)

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    print(f"worker {index}: loss {history.history['loss'][-1]:.6f}", flush=True)


def make_configs(number: int) -> list[str]:
    """The TF_CONFIG of each of `number` processes on this machine, at free ports."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    cluster = {"worker": addresses}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(number)]


def launch(number: int) -> int:
    """Starts this command in `number` local processes, each with its TF_CONFIG; the highest exit code of
    theirs.
    """
    processes = [
        subprocess.Popen([sys.executable, *sys.argv, "--worker"], env={**os.environ, "TF_CONFIG": config})
        for config in make_configs(number)]
    return max(process.wait() for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="random", help="folder:PATH, npz:FILE, cifar10 ...; by default random images")
    parser.add_argument("--model", default="cifar_resnet20")
    parser.add_argument("--recipe", default="cifar_he")
    parser.add_argument("--overrides", nargs="+", metavar="FIELD=VALUE",
                        default=["epochs=2", "batch_size=16", "augmentation='flip'", "schedule='constant'"])
    parser.add_argument("--output", default="runs/multi_worker")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--worker", action="store_true", help="this process is one of the machines of TF_CONFIG")
    options = parser.parse_args()
    sys.exit(run_worker(options) if options.worker else launch(options.processes))


if __name__ == "__main__":
    main()
