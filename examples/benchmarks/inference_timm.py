"""Every way that a net runs on the CPU, against keras.applications' `predict` and timm, alternately in one
run.

    python examples/benchmarks/inference_timm.py --nets ResNet50 --timm ../env/bin/python --json timm.json

The ratios are of timm's best float32 way to the best here, of timm's bfloat16 to the best bfloat16 here (both
for as many multiply-accumulates), and of keras.applications' `predict` to the best way in bfloat16 or int8.
The share of the matmul rate counts the net's published operations, even if `optimize` took some away.
"""
from __future__ import annotations

import importlib.util
import os
import pathlib
import tempfile
from typing import Any, Callable, Iterable, Sequence

from export import ours, samples
from inference import graph, tflite
from timing import (
    NETS, TIMM, Peer, Side, Timed, clock, figures, in_turns, matmul, parser, per_mac, ratio, shown, write)

import keras
import numpy as np

import reskeras

FLOAT = ("TF graph", "optimized", "XLA", "TFLite", "OpenVINO f32")
HALF = ("mixed_bfloat16", "OpenVINO bf16")
INT8 = "TFLite int8"
WAYS = (*FLOAT, *HALF, INT8)
THEIRS = {"float32": ("eager", "channels_last", "compile"), "bfloat16": ("bf16",)}


def built(name: str, size: int, policy: str = "float32") -> keras.Model:
    keras.config.set_dtype_policy(policy)
    try:
        return getattr(reskeras, name)(weights=None, input_shape=(size, size, 3))
    finally:
        keras.config.set_dtype_policy("float32")


def sides_of(name: str, batch: int, size: int, folder: pathlib.Path, ways: Sequence[str]) -> dict[str, Side]:
    """Way -> its side; a compiled, converted or rewritten net is made only if it is asked for."""
    net = built(name, size)
    images = np.random.default_rng(0).standard_normal((batch, size, size, 3)).astype("float32")
    fast, threads = reskeras.optimize(net, check=False)[0], os.cpu_count() or 1
    makers: dict[str, Callable[[], Any]] = {
        "TF graph": lambda: graph(net, images), "optimized": lambda: graph(fast, images),
        "XLA": lambda: graph(net, images, xla=True), "TFLite": lambda: tflite(fast, images),
        "mixed_bfloat16": lambda: graph(built(name, size, "mixed_bfloat16"), images),
        INT8: lambda: ours(
            net, folder / "int8.tflite", images, threads, quantize="int8",
            calibration_data=samples(images.shape[1:]))}
    if importlib.util.find_spec("openvino"):
        makers |= {
            way: lambda way=way: ours(net, folder / "net.xml", images, threads, way)  # type: ignore[misc]
            for way in ("OpenVINO f32", "OpenVINO bf16")
        }
    sides = {way: clock(make()) for way, make in makers.items() if way in ways}
    if hasattr(keras.applications, name):
        plain = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))
        sides["keras.applications"] = clock(lambda: plain.predict(images, verbose=0))
    return sides


def best(times: dict[str, Timed], names: Iterable[str]) -> str:
    """The fastest of those that were measured, "" if none was."""
    return min((name for name in names if name in times), key=lambda name: times[name].ms, default="")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=NETS)
    arguments.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    arguments.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="of ours; all by default")
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    modes = [mode for kind in THEIRS.values() for mode in kind]
    arguments.add_argument("--modes", nargs="+", choices=modes, default=modes, help="of timm")
    options = arguments.parse_args()
    peer, rows = Peer(options.timm) if options.timm else None, []
    product, gflop = matmul()
    for name in options.nets:
        macs = reskeras.cost(built(name, options.size)).macs
        for batch in options.batches:
            with tempfile.TemporaryDirectory() as folder:
                sides = sides_of(name, batch, options.size, pathlib.Path(folder), options.ways)
                our_sides = [way for way in sides if way != "keras.applications"]
                for mode in options.modes if peer else ():
                    assert peer
                    sides[f"timm {mode}"] = peer.side(
                        net=TIMM[name], mode=mode, train=False, batch=batch, size=options.size)
                times = in_turns({**sides, "matmul": product}, options.seconds)
            rate = gflop / times["matmul"].ms
            row = {
                "net": name, "batch": batch, **figures(times),
                "share_of_matmul_rate": {
                    way: 2e-9 * macs * batch / times[way].ms / rate for way in our_sides}}
            first, half, low = best(times, FLOAT), best(times, HALF), best(times, (*HALF, INT8))
            row["best"], row["best_half"], row["best_low"], row["ratio"] = first, half, low, {}
            if low and "keras.applications" in times:
                row["ratio"]["predict / best bf16 or int8"] = ratio(times["keras.applications"], times[low])
            for mine, kind in ((first, "float32"), (half, "bfloat16")):
                their = best(times, [f"timm {mode}" for mode in THEIRS[kind]])
                if mine and their:
                    row["ratio"][f"best timm / best, {kind}"] = per_mac(
                        name, ratio(times[their], times[mine]))
            if peer:
                peer.drop()
            rows.append(row)
            print(
                f"{name} {batch}: "
                + ", ".join(f"{way} {times[way].ms:.1f}" for way in sides)
                + " ms; "
                + ", ".join(f"{what} {shown(value, 2)}" for what, value in row["ratio"].items()),
                flush=True)
    if peer:
        peer.close()
    write(options.json, rows, versions=peer.versions if peer else {})


if __name__ == "__main__":
    main()
