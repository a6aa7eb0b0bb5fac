"""A net of every family on the GPU against the same net on the CPU, in one process, under the JAX backend.

    KERAS_BACKEND=jax python examples/benchmarks/gpu_parity.py --json gpu_parity.json

Compares logits, and of one training step the losses of the images and the norms of the gradients, in float32
(products at their highest precision), mixed_bfloat16 and mixed_float16.  All are compared with float32 on the
CPU.  In 16 bits the GPU may be twice as far from it as the CPU is in the same 16 bits, and four roundings
more.  The nets are tests/tiny.py's, with weights from a seed and statistics as of trained nets.  The exit
status is 1 if a net is out of bounds; its name is printed.  JAX_PLATFORMS, if set, must have both devices:
"cuda,cpu".  On a machine without a GPU the CPU is compared with itself.
"""
from __future__ import annotations

import concurrent.futures
import os
import pathlib
import sys
from typing import Any, Callable

from timing import parser, write

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from tiny import NETS, images, tiny, trained  # noqa: E402

Arrays = dict[str, np.ndarray]
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
ROUNDING = {"mixed_bfloat16": 2.0 ** -7, "mixed_float16": 2.0 ** -10}
# What is allowed in float32: far above what rounding the images anew changes, far below what a wrong weight
# changes.  A ReLU whose input is almost 0 may pass a gradient on one device alone.
IN_FLOAT32 = {"logits": 1e-4, "losses": 1e-3, "gradients": 1e-2}
COUNT = 16          # images: with fewer, one ReLU decides how large a gradient is


def make(variant: str, policy: str) -> keras.Model:
    """Nets of one variant are equal under all policies, and drop the same branches."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        return trained(tiny(variant, classifier_activation=None, **NETS[variant]))
    finally:
        keras.config.set_dtype_policy(before)


def step(net: keras.Model) -> Callable[..., dict[str, Any]]:
    def run(trainable: Any, other: Any, x: Any, labels: Any) -> dict[str, Any]:
        def loss(trainable: Any) -> tuple[Any, Any]:
            scores = net.stateless_call(trainable, other, x, training=True)[0].astype("float32")
            losses = -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1)[:, 0]
            # a sum: the gradients of a mean are smaller, and float16 has few digits for small numbers
            return losses.sum(), losses
        gradients, losses = jax.grad(loss, has_aux=True)(trainable)
        return {
            "logits": net.stateless_call(trainable, other, x, training=False)[0].astype("float32"),
            "losses": losses, "gradients": jnp.stack([jnp.linalg.norm(g.ravel()) for g in gradients])}
    return run


def prepare(net: keras.Model, device: jax.Device) -> Callable[[], Arrays]:
    """A function that compiles and runs a step there; it may be called in another thread."""
    values = (
        [variable.value for variable in net.trainable_variables],
        [variable.value for variable in net.non_trainable_variables],
        images(net, COUNT), np.arange(COUNT) % net.output_shape[-1])
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        arguments = jax.device_put(values, device)
        lowered = jax.jit(step(net)).lower(*arguments)

    def run() -> Arrays:
        results = lowered.compile()(*arguments)
        assert all(array.devices() == {device} for array in results.values()), f"not on {device}"
        return {what: np.asarray(array) for what, array in results.items()}
    return run


def differences(found: Arrays, exact: Arrays) -> dict[str, float]:
    """The largest of the logits', by their spread, and root mean squares of the others: of the losses, by
    their mean, and of the gradients' norms, each by itself or by their median if that is more.  A bias before
    a normalization has no gradient but rounding errors, so what is less than a thousandth of the largest norm
    is left out.
    """
    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.square(values).mean()))
    norms = exact["gradients"]
    kept = norms > norms.max() / 1000
    scale = np.maximum(norms, np.median(norms[kept]))
    return {
        "logits": float(np.abs(found["logits"] - exact["logits"]).max() / exact["logits"].std()),
        "losses": rms(found["losses"] - exact["losses"]) / float(exact["losses"].mean()),
        "gradients": rms(((found["gradients"] - norms) / scale)[kept])}


def judge(policy: str, gpu: Arrays, cpu: Arrays, exact: Arrays) -> dict[str, Any]:
    """What is stored of a net: differences, the CPU's own, what is allowed, and what is more than that.

    Args:
        gpu, cpu: the results of the two devices under `policy`.
        exact: those of the CPU in float32.
    """
    found, own = differences(gpu, exact), differences(cpu, exact)
    allowed = IN_FLOAT32 if policy == "float32" else {
        what: IN_FLOAT32[what] + 2 * own[what] + 4 * ROUNDING[policy] for what in found}
    return {
        "policy": policy, "difference": found, "cpu_difference": own, "allowed": allowed,
        # not "greater": a number that is none, or infinite on both, is out of bounds
        "outside": [what for what in found if not found[what] <= allowed[what] < np.inf]}


def compare(variant: str, runs: dict[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Rows of one net; where it did not run, the error.

    Args:
        runs: for each policy, the futures of the GPU's results and of the CPU's.
    """
    rows: list[dict[str, Any]] = []
    for policy, (gpu, cpu) in runs.items():
        try:
            row = judge(policy, gpu.result(), cpu.result(), runs["float32"][1].result())
        except Exception as error:      # of any kind; the other nets are compared all the same
            row = {"policy": policy, "outside": ["error"], "error": f"{type(error).__name__}: {error}"[:500]}
        rows.append({"net": variant, **row})
    return rows


def line(rows: list[dict[str, Any]]) -> str:
    """The differences of a net's logits, and the largest share of what is allowed."""
    texts = []
    for row in rows:
        if "error" in row:
            texts.append(f"{row['policy']} {row['error'].splitlines()[0]}")
            continue
        share = max(row["difference"][what] / row["allowed"][what] for what in row["difference"])
        outside = f", OUT OF BOUNDS: {', '.join(row['outside'])}" if row["outside"] else ""
        texts.append(f"{row['policy']} {row['difference']['logits']:.1e} ({share:.0%} of allowed{outside})")
    return f"{rows[0]['net']:24} " + "  ".join(texts)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), metavar="NET")
    arguments.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2),
                           help="that compile")
    options = arguments.parse_args()
    cpu, device = jax.devices("cpu")[0], jax.local_devices()[-1]
    print(f"on {device.device_kind}" + (", against itself" if device == cpu else ""), flush=True)
    rows: list[dict[str, Any]] = []
    with concurrent.futures.ThreadPoolExecutor(options.threads) as pool:
        def start(variant: str) -> dict[str, tuple[Any, Any]]:
            nets = {policy: make(variant, policy) for policy in POLICIES}
            return {policy: (pool.submit(prepare(net, device)), pool.submit(prepare(net, cpu)))
                    for policy, net in nets.items()}
        # all are started before the first is waited for, so that the threads always have something to compile
        started = {variant: start(variant) for variant in options.nets}
        for variant, runs in started.items():
            new = compare(variant, runs)
            print(line(new), flush=True)
            rows += new
    outside = sorted({row["net"] for row in rows if row["outside"]})
    write(options.json, rows, device=device.device_kind, out_of_bounds=outside)
    print(f"out of bounds: {', '.join(outside)}" if outside else "all nets are within bounds")
    return bool(outside)


if __name__ == "__main__":
    sys.exit(main())
