"""What every benchmark here shares: sides timed alternately, ratios only if the machine was quiet, figures as
JSON.

A side is a function that returns the milliseconds of one call.  All sides of a comparison run one after the
other, again and again, so that they see the same machine, and so does a matrix multiplication: its rate is
what the machine can do.  Every second call of a side is one run of it, the others are another: if the
medians of the two differ by more than 10 %, the side is noisy and has no ratio.  Nor has a pair of sides
whose ratio in the first half of the time differs by more than 10 % from that in the second.  A machine that
as a whole becomes slower meanwhile changes milliseconds, not ratios; such a side is unsteady.
"""
from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
NOISE = 0.10
TIMM = {
    "ResNet50": "resnet50", "ResNet50V1_5": "resnet50", "ResNet50V2": "resnetv2_50",
    "ResNeXt50_32x4d": "resnext50_32x4d", "SEResNeXt50_32x4d": "seresnext50_32x4d", "ResNeSt50": "resnest50d",
    "ResNetRS50": "resnetrs50"}
NETS = tuple(TIMM)
GPU_NETS = ("ResNet50V1_5", "ResNeXt50_32x4d", "SEResNeXt50_32x4d", "ResNeSt50")
# which row timm's net is, where the one of Keras' name is not
LIKE = {"ResNet50": "resnet50v1_5", "ResNet50V2": "resnetv2_50"}
PACKAGES = (
    "reskeras", "keras", "tensorflow", "numpy", "jax", "openvino", "ai-edge-litert", "onnxruntime",
    "keras-cv", "torch", "timm")
Side = Callable[[], float]


def clock(run: Callable[[], Any], counter: Callable[[], float] = time.perf_counter) -> Side:
    """A side that is timed from here; with `time.process_time` waiting for a core does not count."""
    def timed() -> float:
        start = counter()
        run()
        return 1000 * (counter() - start)
    return timed


@dataclass(frozen=True)
class Timed:
    """Milliseconds of a side's calls, in their order."""
    calls: tuple[float, ...]

    @property
    def ms(self) -> float:
        return statistics.median(self.calls)

    @property
    def halves(self) -> tuple[float, float]:
        middle = len(self.calls) // 2
        return statistics.median(self.calls[:middle]), statistics.median(self.calls[middle:])

    @property
    def quiet(self) -> bool:
        """Whether two runs of it that took turns agree."""
        return agree(statistics.median(self.calls[::2]), statistics.median(self.calls[1::2]))


def agree(a: float, b: float) -> bool:
    return max(a, b) <= (1 + NOISE) * min(a, b)


def in_turns(sides: dict[str, Side], seconds: float, warm: int = 2, least: int = 3) -> dict[str, Timed]:
    """Each side's calls, of each of its two runs at least `least`."""
    for side in sides.values():
        for _ in range(warm):
            side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    stop, rounds = time.perf_counter() + seconds, 0
    while time.perf_counter() < stop or rounds < 2 * least:
        rounds += 1
        for name, side in sides.items():
            times[name].append(side())
    return {name: Timed(tuple(calls)) for name, calls in times.items()}


def ratio(over: Timed, under: Timed) -> float | None:
    """None if the machine was too noisy to say."""
    first, second = (a / b for a, b in zip(over.halves, under.halves))
    return over.ms / under.ms if over.quiet and under.quiet and agree(first, second) else None


def per_mac(net: str, times: float | None) -> float | None:
    """How many times timm's net takes of ours, for as many multiply-accumulates of both: Keras' own nets have
    fewer.
    """
    if times is None or net not in LIKE:
        return times
    from reskeras import catalog
    sizes = catalog.read_costs()
    return times * sizes[net.lower()].macs / sizes[LIKE[net]].macs


def shown(value: float | None, digits: int = 3) -> str:
    return "noisy" if value is None else f"{value:.{digits}f}"


def figures(times: dict[str, Timed]) -> dict[str, Any]:
    """For the JSON: milliseconds, and which sides were not quiet or not steady."""
    return {"ms": {name: round(timed.ms, 4) for name, timed in times.items()},
            "calls": len(next(iter(times.values())).calls),
            "noisy": [name for name, timed in times.items() if not timed.quiet],
            "unsteady": [name for name, timed in times.items() if not agree(*timed.halves)]}


def matmul(dtype: str = "float32", n: int = 2048) -> tuple[Side, float]:
    """A product of two square matrices, by TensorFlow, and its GFLOP."""
    import tensorflow as tf
    a = tf.cast(tf.random.stateless_normal((n, n), (1, 2)), dtype)
    product = tf.function(lambda: tf.reduce_max(tf.matmul(a, a)), autograph=False)
    return clock(lambda: product().numpy()), 2 * n ** 3 / 1e9


class Peer:
    """timm in the Python of another environment, one call at a time, timed there: `timm_side.py` beside this
    file.
    """

    def __init__(self, python: str):
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [python, str(pathlib.Path(__file__).with_name("timm_side.py"))], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.stderr)
        self.versions = self.ask({"do": "versions"})

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.stderr.seek(0)
            raise RuntimeError(
                f"timm's process ended at {what} with {code}: {self.stderr.read().strip().splitlines()[-1:]}")
        return json.loads(line)

    def side(self, **what: Any) -> Side:
        """A net: `net`, `mode`, `train`, `batch`, `size`, as `timm_side.py` takes them."""
        return self.made("make", what)

    def images(self, **what: Any) -> Side:
        """A folder read once: `folder`, `size`, `randaugment`; its time is the processor's."""
        return self.made("images", what, "processor_ms")

    def made(self, do: str, what: dict[str, Any], time: str = "ms") -> Side:
        key = self.ask({"do": do, **what})["key"]
        return lambda: self.ask({"do": "run", "key": key})[time]

    def drop(self) -> None:
        self.ask({"do": "drop"})

    def close(self) -> None:
        self.process.communicate()      # its input's end is its own


def parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    arguments.add_argument("--size", type=int, default=224, help="pixels on a side")
    arguments.add_argument("--seconds", type=float, default=8, help="of each comparison")
    arguments.add_argument("--json", type=writable, help="a file for the figures")
    arguments.set_defaults(**defaults)
    return arguments


def writable(path: str) -> str:
    """Said before hours of measuring, not after."""
    if not pathlib.Path(path).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no such folder")
    return path


def command() -> str:
    """As it was given, without the paths of one machine."""
    words = list(sys.argv)
    for i, word in enumerate(words[:-1]):
        if word in ("--json", "--weights", "--theirs"):
            words[i + 1] = pathlib.Path(words[i + 1]).name
        elif word == "--timm":
            words[i + 1] = "PYTHON"
        elif os.path.isabs(words[i + 1]):
            words[i + 1] = pathlib.Path(words[i + 1]).name
    words[0] = f"examples/benchmarks/{pathlib.Path(words[0]).name}"
    return " ".join(["python", *words])


def write(path: str | None, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """The rows with the command, the date, the machine and the versions, completely or not at all."""
    if not path:
        return
    from reskeras import files
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpu = (
        next(
            (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
            "")
        if os.path.exists("/proc/cpuinfo")
        else platform.processor())
    stored = {
        "command": command(), "date": datetime.date.today().isoformat(),
        "machine": {"processor": cpu, "architecture": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **versions, **more.pop("versions", {})}, **more,
        "rows": list(rows)}
    files.write_text(path, json.dumps(stored, indent=2) + "\n")
