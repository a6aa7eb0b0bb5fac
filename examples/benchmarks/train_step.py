"""A training step on the CPU: reskeras against stock Keras layers, keras.applications and timm, alternately
in one run.

    python examples/benchmarks/train_step.py --nets ResNet50 --timm ../timm-env/bin/python --json step.json

Forward, cross-entropy, backward and SGD with momentum on one batch, in milliseconds per image.  "stock" is
the same net of Keras' own layers (a step of its grouped convolutions takes minutes: `--stock` names the nets,
each measured twice); "strided slices" is the same net with TensorFlow's gradient of a slice.  `--profile`
stores where a step's time goes.
"""
from __future__ import annotations

import collections
import glob
import tempfile
from typing import Any

from timing import (
    NETS, TIMM, Peer, Side, Timed, clock, figures, in_turns, matmul, parser, per_mac, ratio, shown, write)

import keras
import tensorflow as tf

import reskeras
from reskeras.blocks.layers import ChannelSlice


def stock(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Keras' own layer instead of ours."""
    stock_layers = {
        "GroupedConv2D": keras.layers.Conv2D, "BatchNormalization": keras.layers.BatchNormalization}
    return stock_layers.get(type(layer).__name__, type(layer)).from_config(layer.get_config())


class Strided(ChannelSlice):
    """A slice in training too."""

    def call(self, inputs, training=False):
        return super().call(inputs)


def strided(layer: keras.layers.Layer) -> keras.layers.Layer:
    return (Strided if isinstance(layer, ChannelSlice) else type(layer)).from_config(layer.get_config())


def step(net: keras.Model, batch: int, jit: bool = False) -> Any:
    """One step on the same images again; its loss is waited for."""
    net.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=jit)
    images = tf.random.stateless_normal((batch, *net.input_shape[1:]), (0, 0))
    labels = tf.range(batch) % net.output_shape[-1]
    return lambda: net.train_on_batch(images, labels)


def profile(run: Any) -> dict[str, float]:
    """Milliseconds of a step by kind of operation, of all threads together; those of less than 0.1 ms are
    left out.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2
    run()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            run()
        space = xplane_pb2.XSpace()
        with open(glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)[0], "rb") as file:
            space.ParseFromString(file.read())
    total: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = name.rsplit(":", 1)[-1]      # of "path/of/the/op:Kind"
                if kind != name and (kind.startswith("_Mkl") or hasattr(tf.raw_ops, kind)):
                    total[kind] += event.duration_ps / 1e9
    return {name: round(ms, 1) for name, ms in total.most_common() if ms >= 0.1}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=NETS)
    arguments.add_argument("--policies", nargs="+", default=["float32", "mixed_bfloat16"])
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument(
        "--stock", nargs="*", default=[], help="nets of which to measure a step of stock layers too")
    arguments.add_argument("--jit", action="store_true", help="compile with XLA too")
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    arguments.add_argument("--profile", action="store_true")
    options = arguments.parse_args()
    peer = Peer(options.timm) if options.timm else None
    rows = []
    for name in options.nets:
        for policy in options.policies:
            keras.config.set_dtype_policy(policy)
            make = {"weights": None, "input_shape": (options.size, options.size, 3)}
            net = getattr(reskeras, name)(**make)
            product, gflop = matmul("bfloat16" if "bfloat16" in policy else "float32")
            ours = step(net, options.batch)
            sides: dict[str, Side] = {"reskeras": clock(ours)}
            if options.jit:
                sides["reskeras, XLA"] = clock(step(getattr(reskeras, name)(**make), options.batch, jit=True))
            if hasattr(keras.applications, name):
                sides["keras.applications"] = clock(
                    step(getattr(keras.applications, name)(**make), options.batch))
            if any(isinstance(layer, ChannelSlice) for layer in net.layers):
                sides["strided slices"] = clock(
                    step(keras.models.clone_model(net, clone_function=strided), options.batch))
            if peer:
                mode = "bf16" if policy == "mixed_bfloat16" else "channels_last"
                sides["timm"] = peer.side(
                    net=TIMM[name], mode=mode, train=True, batch=options.batch, size=options.size)
            times = in_turns({**sides, "matmul": product}, options.seconds)
            speed = {side: ratio(times[side], times["reskeras"]) for side in sides if side != "reskeras"}
            if peer:
                speed["timm"] = per_mac(name, speed["timm"])
            row = {
                "net": name, "policy": policy, "batch": options.batch, **figures(times),
                "times_faster": speed,
                "share_of_matmul_rate": 6e-9
                * reskeras.cost(net).macs
                * options.batch
                / times["reskeras"].ms
                / (gflop / times["matmul"].ms)}
            if name in options.stock:
                other = step(keras.models.clone_model(net, clone_function=stock), options.batch)
                other()                                             # traces, and compiles
                two = Timed((clock(other)(), clock(other)()))
                row["ms"]["stock"] = two.ms
                speed["stock"] = (
                    two.ms / times["reskeras"].ms if two.quiet and times["reskeras"].quiet else None)
            if options.profile:
                row["profile_ms"] = profile(ours)
            rows.append(row)
            text = "  ".join(f"{side} {shown(value, 2)}x" for side, value in speed.items())
            print(f"{name:18} {policy:15} {times['reskeras'].ms / options.batch:7.1f} ms/image, "
                  f"{row['share_of_matmul_rate']:.0%} of matmul; against it: {text}", flush=True)
            if peer:
                peer.drop()
    keras.config.set_dtype_policy("float32")
    if peer:
        peer.close()
    write(options.json, rows, versions=peer.versions if peer else {})


if __name__ == "__main__":
    main()
