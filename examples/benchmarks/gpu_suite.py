"""What is measured on a machine with a GPU, one part after the other, as far as the time allows.

    python examples/benchmarks/gpu_suite.py --output figures --timm PYTHON --peak 989

First every family against the CPU (gpu_parity.py), then ResNet50V1_5, ResNeXt-50, SE-ResNeXt-50 and
ResNeSt-50 against timm (gpu.py), each in a process of its own.  Started again with the same folder, it goes
on: a part whose figures are there, complete and within bounds, is not run again.  The exit status is 0 if all
parts have run so.  With JAX_COMPILATION_CACHE_DIR=FOLDER a part that was interrupted compiles less when it is
run again; peak memory may then differ.  `tox -e gpu` is this script in an environment with all it needs;
elsewhere Python needs jax for the GPU, keras and numpy.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

from timing import GPU_NETS

HERE = pathlib.Path(__file__).parent
Parts = dict[str, list[str]]        # a script and its arguments, by the name of its figures


def make_parts(timm: str | None, peak: float | None) -> Parts:
    extra = (["--timm", timm] if timm else []) + (["--peak", str(peak)] if peak else [])
    speed = {f"gpu.{i}.{net}": [str(HERE / "gpu.py"), "--nets", net, "--batch", "256", "--profile", *extra]
             for i, net in enumerate(GPU_NETS, start=1)}
    return {"gpu_parity": [str(HERE / "gpu_parity.py")], **speed}


def is_complete(path: pathlib.Path) -> bool:
    """Whether there are figures, and no net is out of bounds in them."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and bool(stored.get("rows")) and not stored.get("out_of_bounds")


def run(parts: Parts, folder: pathlib.Path, minutes: float) -> tuple[list[str], list[str]]:
    """Runs what is not complete.

    Returns: the parts that failed, and those that were not started because the time was up.
    """
    stop = time.monotonic() + 60 * minutes
    failed, left = [], []
    for name, (script, *arguments) in parts.items():
        path = folder / f"{name}.json"
        if is_complete(path):
            print(f"== {name}: is complete", flush=True)
        elif time.monotonic() >= stop:
            left.append(name)
        else:
            print(f"== {name}", flush=True)
            status = subprocess.run(
                [sys.executable, script, *arguments, "--json", str(path)], env=environment()).returncode
            if status or not is_complete(path):
                failed.append(name)
    return failed, left


def environment() -> dict[str, str]:
    """Of a part: the JAX backend, and this checkout where reskeras is not installed."""
    variables = {**os.environ, "KERAS_BACKEND": "jax"}
    if importlib.util.find_spec("reskeras") is None:
        paths = [str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return variables


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--output", default=".", help="a folder for the figures")
    arguments.add_argument("--minutes", type=float, default=20, help="after which no part is started")
    arguments.add_argument("--timm", help="a Python that has torch and timm; this one, if it has them")
    arguments.add_argument("--peak", type=float, help="TFLOP/s of the card in bfloat16, for MFU")
    options = arguments.parse_args()
    here = sys.executable if all(map(importlib.util.find_spec, ("torch", "timm"))) else None
    if not options.timm and not here:
        print("without timm: this Python has no torch and timm, and --timm names no other")
    folder = pathlib.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    failed, left = run(make_parts(options.timm or here, options.peak), folder, options.minutes)
    for what, names in (("failed", failed), ("the time was up before", left)):
        if names:
            print(f"{what}: {', '.join(names)}")
    if not failed + left:
        print("all parts are complete")
    return bool(failed + left)


if __name__ == "__main__":
    sys.exit(main())
