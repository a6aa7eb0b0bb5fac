"""Where the time of a GPU goes, by kind of kernel, from a trace that JAX's profiler writes.

In `*.trace.json.gz` a process is a device and a thread one of its streams.  A device's other threads show the
same time again, by operation or module, and are not counted.  XLA names a kernel after what it fuses:
"input_reduce_fusion_12", "loop_convert_fusion"; those of cuDNN, cuBLAS and Triton have names of their own.
Kernels that run at the same time count each.
"""
from __future__ import annotations

import collections
import glob
import gzip
import json
import re
import tempfile
from typing import Any, Callable, Iterable

COPIES, PRODUCTS, POOLING = "copies and transposes", "convolutions and products", "pooling"
SUMS, FUSIONS, OTHER = "sums over maps", "other fusions", "other"
# The first that is found in a name decides: cuDNN's changes of layout have "cudnn" in their names too, and
# Triton's products "fusion".
PATTERNS = (
    (COPIES, r"memcpy|memset|nchwtonhwc|nhwctonchw"),
    (PRODUCTS, r"conv(?!ert)|fprop|dgrad|wgrad|xmma|winograd|cudnn|cutlass|cublas|nvjet|gem[mv]|splitk"),
    (PRODUCTS, r"(^|_)dot(_|$)"),
    # a scatter is the gradient of maximum pooling; no other one is large here
    (POOLING, r"reduce_window|scatter|pool"),
    (SUMS, r"reduce(?!_precision)"),
    (COPIES, r"transpose|copy"),
    (FUSIONS, r"fusion|^(wrapped|loop|input)_|triton"))


def kind_of(kernel: str) -> str:
    name = kernel.lower()
    return next((kind for kind, pattern in PATTERNS if re.search(pattern, name)), OTHER)


def kernels(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of each kernel of all GPUs together, by name; {} if there was no GPU.

    Args:
        events: the trace's "traceEvents"; durations are microseconds.
    """
    events = list(events)
    named = [event for event in events if event.get("ph") == "M"]
    gpus = {event["pid"] for event in named if event["name"] == "process_name"
            and event["args"]["name"].startswith("/device:GPU:")}
    streams = {(event["pid"], event["tid"]) for event in named if event["name"] == "thread_name"
               and event["pid"] in gpus and event["args"]["name"].startswith("Stream #")}
    total: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in streams:
            total[event["name"]] += event["dur"] / 1000
    return dict(total)


def by_kind(times: dict[str, float], steps: int = 1) -> dict[str, float]:
    """Milliseconds of a step by kind, the longest first."""
    total: collections.Counter[str] = collections.Counter()
    for kernel, ms in times.items():
        total[kind_of(kernel)] += ms / steps
    return {kind: round(ms, 3) for kind, ms in total.most_common()}


def read(folder: str) -> list[dict[str, Any]]:
    """The events of all traces in a folder."""
    events: list[dict[str, Any]] = []
    for path in sorted(glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            events += json.load(file)["traceEvents"]
    return events


def profile(run: Callable[[], Any], steps: int = 3) -> dict[str, float]:
    """Milliseconds of one call by kind of kernel, {} without a GPU.

    Args:
        run: a step that waits for its result; it was called before, so that it is compiled.
        steps: how many calls to take the mean of.
    """
    import jax
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                run()
        return by_kind(kernels(read(folder)), steps)
