"""A training step and inference under the JAX backend against timm under torch.compile, on one GPU (or, tiny,
on the CPU).

    KERAS_BACKEND=jax python examples/benchmarks/gpu.py --batch 256 --peak 989 --json gpu.json

Both in mixed bfloat16, compiled, timm channels_last; in one process if it has torch, else `--timm` names
its Python.  Needs neither TensorFlow nor its packages: `pip install --no-deps keras`, with jax, is enough.
MFU counts 6 (training) or 2 operations for each multiply-accumulate, over `--peak` TFLOP/s.
`--profile` stores where a training step's time goes, by kind of kernel.
`figures/gpu.*.json` are of one H100 and a machine without TensorFlow; `tox -e jax` runs the script on the
CPU, at a tiny size.
"""
from __future__ import annotations

import os
from typing import Any, Callable

from gpu_profile import profile
from timing import GPU_NETS, TIMM, Peer, Side, clock, figures, in_turns, parser, ratio, shown, write

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")     # two frameworks share the card

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

import reskeras  # noqa: E402


def training(net: keras.Model, batch: int) -> Callable[[], Any]:
    net.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=True)
    rng = np.random.default_rng(0)
    images = jax.device_put(rng.standard_normal((batch, *net.input_shape[1:]), dtype="float32"))
    labels = jax.device_put(np.arange(batch) % net.output_shape[-1])
    return lambda: net.train_on_batch(images, labels)


def inference(net: keras.Model, batch: int) -> Callable[[], Any]:
    images = jax.device_put(
        np.random.default_rng(0).standard_normal((batch, *net.input_shape[1:]), dtype="float32"))
    state = (
        [variable.value for variable in net.trainable_variables],
        [variable.value for variable in net.non_trainable_variables])
    call = jax.jit(lambda state, x: net.stateless_call(*state, x, training=False)[0])
    return lambda: np.asarray(call(state, images))


def peak_mib() -> float | None:
    """Of the process so far, as JAX counts it."""
    stats = jax.local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] / 2 ** 20 if stats else None


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=GPU_NETS)
    arguments.add_argument("--batch", type=int, default=256)
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    arguments.add_argument("--peak", type=float, help="TFLOP/s of the card in bfloat16, for MFU")
    arguments.add_argument("--profile", action="store_true")
    options = arguments.parse_args()
    device = jax.local_devices()[0]
    keras.config.set_dtype_policy("mixed_bfloat16")
    peer, rows = Peer(options.timm) if options.timm else None, []
    print(
        f"on {device.device_kind}" + (": nothing that a GPU would show" if device.platform == "cpu" else ""))
    for name in options.nets:
        for what, batch in (("training", options.batch), ("inference", 1), ("inference", options.batch)):
            net = getattr(reskeras, name)(weights=None, input_shape=(options.size, options.size, 3))
            run = (training if what == "training" else inference)(net, batch)
            sides: dict[str, Side] = {"reskeras": clock(run)}
            if peer:
                sides["timm"] = peer.side(
                    net=TIMM[name], mode="bf16_compile", train=what == "training", batch=batch,
                    size=options.size, device="cuda" if device.platform == "gpu" else "cpu")
            times = in_turns(sides, options.seconds, warm=3)
            rate = {side: 1000 * batch / timed.ms for side, timed in times.items()}
            work = (6 if what == "training" else 2) * reskeras.cost(net).macs / 1e12
            row = {
                "net": name, "what": what, "batch": batch, **figures(times), "images_per_second": rate,
                "peak_mib": peak_mib(),
                "times_timm": ratio(times["timm"], times["reskeras"]) if peer else None,
                "mfu": {side: work * speed / options.peak for side, speed in rate.items()}
                if options.peak
                else None}
            rows.append(row)
            print(
                f"{name:18} {what:9} {batch:4}  "
                + "  ".join(f"{side} {speed:.1f} images/s" for side, speed in rate.items())
                + (f"  {shown(row['times_timm'], 2)} times timm" if peer else ""),
                flush=True)
            if options.profile and what == "training":
                kinds = profile(run)
                if kinds:
                    row["profile_ms"] = kinds
                print("  kernels, ms: " + ", ".join(f"{kind} {ms:.1f}" for kind, ms in kinds.items())
                      if kinds
                      else "  the profile has no kernels of a GPU: nothing is stored", flush=True)
            if peer:
                peer.drop()
    if peer:
        peer.close()
    keras.config.set_dtype_policy("float32")
    write(options.json, rows, device=device.device_kind, versions=peer.versions if peer else {})


if __name__ == "__main__":
    main()
