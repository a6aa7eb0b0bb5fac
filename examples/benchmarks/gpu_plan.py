"""What XLA compiles of a training step for an H100, on a machine without one: how much its kernels read and
write.

    KERAS_BACKEND=jax python examples/benchmarks/gpu_plan.py --json gpu_plan.json

The bytes say where a step waits for the card's memory; they are no time: that is measured by `gpu.py`, on a
card.  Both sides are compiled in one run: the net, and the same net of Keras' own batch normalization.  A
kernel reads its operands, each once; where it only slices one, it reads the slices.  cuDNN's algorithms,
which need a card to be chosen, read and write the same maps.  The script needs JAX with its plugin for CUDA
(`pip install "jax[cuda13]"`), and no TensorFlow.
"""
from __future__ import annotations

import collections
import math
import os
import re
from dataclasses import dataclass
from typing import Any, Iterator

from timing import GPU_NETS, parser, write

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# What XLA asks of a card, as an H100 answers
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  shared_memory_per_block: 49152  shared_memory_per_core: 233472  shared_memory_per_block_optin: 232448
  core_count: 132  fpus_per_core: 128  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535
  block_dim_limit_z: 65535  memory_bandwidth: 3352320000000  l2_cache_size: 52428800  clock_rate_ghz: 1.98
  device_memory_size: 84929347584  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
GB_PER_SECOND = 3352
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8, "u64": 8}
NO_KERNELS = {"parameter", "constant", "bitcast", "get-tuple-element", "tuple"}
KINDS = ("convolutions", "sums over maps", "pooling", "other maps")
KERAS = "Keras' batch normalization"


@dataclass(frozen=True)
class Instruction:
    """One line of a computation in the text of an HLO module."""
    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    number: int         # of a parameter
    called: str         # the computation that a fusion runs
    target: str         # of a call of a library, as cuDNN


def read_hlo(text: str) -> dict[str, list[Instruction]]:
    """The computations of a module by name, that of the whole step as "ENTRY"."""
    computations: dict[str, list[Instruction]] = {}
    lines: list[Instruction] = []
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            lines = computations.setdefault("ENTRY" if head[1] else head[2], [])
        elif parts := re.match(r"  (?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$", line):
            name, shape, op, rest = parts.groups()
            called, target = re.search(r" calls=%([\w.\-]+)", line), re.search(r'target="([^"]+)"', line)
            operands = re.findall(r"%([\w.\-]+)", rest.split(")")[0])
            number = int(rest.split(")")[0]) if op == "parameter" else -1
            lines.append(Instruction(name, shape, op, tuple(operands), number, called[1] if called else "",
                                     target[1] if target else ""))
    return computations


def count_bytes(shape: str) -> int:
    """Of a type in HLO, "f32[2,3]{1,0}" or a tuple of them."""
    return sum(BYTES[kind] * math.prod(int(size) for size in sizes.split(",") if size)
               for kind, sizes in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape))


def count_read(shape: str, number: int, inner: list[Instruction]) -> int:
    """Bytes that a fusion of the instructions `inner` reads of its operand with this number and shape."""
    names = [line.name for line in inner if line.op == "parameter" and line.number == number]
    users = [line for line in inner if set(names) & set(line.operands)]
    if users and all(line.op == "slice" for line in users):
        return sum(count_bytes(line.shape) for line in users)
    return count_bytes(shape)


def list_kernels(text: str) -> Iterator[tuple[str, int]]:
    """The kind, and the bytes of operands and results, of each kernel of a step."""
    computations = read_hlo(text)
    shapes = {line.name: line.shape for line in computations["ENTRY"]}
    for line in computations["ENTRY"]:
        if line.op in NO_KERNELS:
            continue
        if line.op in ("while", "call", "conditional"):
            raise ValueError(f"{line.name}: expected a kernel, and not the computations that {line.op} runs")
        fused = computations.get(line.called, [])
        ops = {inner.op for inner in fused} | {line.op}
        kind = (
            "convolutions" if "cudnn" in line.target or ops & {"dot", "convolution"}
            else "pooling" if ops & {"scatter", "select-and-scatter", "reduce-window"}
            else "sums over maps" if "reduce" in ops else "other maps")
        yield kind, count_bytes(line.shape) + sum(
            count_read(shapes.get(name, ""), number, fused) for number, name in enumerate(line.operands))


def compile_step(net: Any, batch: int) -> Any:
    """A training step as JAX compiles it for the card."""
    import jax
    import keras
    import numpy as np
    from jax.experimental import topologies

    net.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=True)
    net._symbolic_build(data_batch=(
        np.zeros((2, *net.input_shape[1:]), "float32"), np.zeros(2, "int32"), None))    # makes its metrics
    net.optimizer.build(net.trainable_variables)
    card = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1").devices[0]
    there = jax.sharding.SingleDeviceSharding(card)

    def describe(shape: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=there)
    state = [[describe(v.shape, v.dtype) for v in variables] for variables in (
        net.trainable_variables, net.non_trainable_variables, net.optimizer.variables, net.metrics_variables)]
    data = (describe((batch, *net.input_shape[1:]), "float32"), describe((batch,), "int32"), None)
    lowered = jax.jit(net.train_step, donate_argnums=0).lower(tuple(state), data)
    return lowered.compile({"xla_gpu_autotune_level": 0})       # to choose among algorithms needs the card


def by_keras(net: Any) -> Any:
    """The same net with Keras' own batch normalization."""
    import keras

    def clone(layer: Any) -> Any:
        own = type(layer).__name__ == "BatchNormalization"
        return (keras.layers.BatchNormalization if own else type(layer)).from_config(layer.get_config())
    return keras.models.clone_model(net, clone_function=clone)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", default=GPU_NETS)
    arguments.add_argument("--batch", type=int, default=256)
    options = arguments.parse_args()
    import keras

    import reskeras
    keras.config.set_dtype_policy("mixed_bfloat16")
    rows = []
    for name in options.nets:
        net = getattr(reskeras, name)(weights=None, input_shape=(options.size, options.size, 3))
        row: dict[str, Any] = {"net": name, "batch": options.batch, "gb": {}, "mib": {}, "kernels": {}}
        for side, model in (("reskeras", net), (KERAS, by_keras(net))):
            step, kinds = compile_step(model, options.batch), collections.Counter()
            kernels = list(list_kernels(step.as_text()))
            for kind, size in kernels:
                kinds[kind] += size
            memory = step.memory_analysis()
            row["gb"][side] = {kind: round(kinds[kind] / 1e9, 2) for kind in KINDS}
            row["mib"][side] = round((memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2 ** 20)
            row["kernels"][side] = len(kernels)
        total = {side: sum(kinds.values()) for side, kinds in row["gb"].items()}
        row["ratio"] = total[KERAS] / total["reskeras"]
        row["least_ms"] = {side: round(1000 * size / GB_PER_SECOND, 2) for side, size in total.items()}
        rows.append(row)
        print(f"{name:18} {row['gb']['reskeras']}, at least {row['least_ms']['reskeras']:.1f} ms; "
              f"with {KERAS} {row['ratio']:.2f} times as many GB", flush=True)
    keras.config.set_dtype_policy("float32")
    write(options.json, rows, device="NVIDIA H100 80GB HBM3, by its description")


if __name__ == "__main__":
    main()
