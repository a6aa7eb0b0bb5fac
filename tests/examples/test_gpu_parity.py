"""The comparison of a GPU with the CPU, on the CPU alone; it needs JAX, and is run by `tox -e jax`."""
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.config.backend() != "jax":
    pytest.skip("for KERAS_BACKEND=jax", allow_module_level=True)

BENCHMARKS = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"
NET = "mlperf_tiny_resnet8"


def spoil_kernel(net):
    """One weight of thousands."""
    kernel = net.get_layer("conv1_conv").kernel
    values = np.array(kernel)
    values[0, 0, 0, 0] += 1
    kernel.assign(values)


def spoil_statistics(net):
    layer = next(layer for layer in net.layers if hasattr(layer, "moving_variance"))
    layer.moving_variance.assign(np.array(layer.moving_variance) * 1.5)


@pytest.fixture(scope="module")
def results():
    """Of a net under each policy, and of the same net with wrong weights."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu_parity
    finally:
        sys.path.remove(str(BENCHMARKS))
    import jax
    device = jax.devices("cpu")[0]

    def results(policy, spoil=None):
        net = gpu_parity.make(NET, policy)
        if spoil:
            spoil(net)
        return gpu_parity.prepare(net, device)()
    return gpu_parity, {(policy, spoil): results(policy, spoil) for policy in gpu_parity.POLICIES
                        for spoil in (None, spoil_kernel, spoil_statistics)}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_one_wrong_weight_is_out_of_bounds(results, policy):
    parity, of = results
    right, exact = of[policy, None], of["float32", None]
    assert not parity.judge(policy, right, right, exact)["outside"]
    assert "logits" in parity.judge(policy, of[policy, spoil_kernel], right, exact)["outside"]
    # a training step does not read the statistics
    assert parity.judge(policy, of[policy, spoil_statistics], right, exact)["outside"] == ["logits"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_one_missing_gradient_is_out_of_bounds(results, policy):
    parity, of = results
    right, exact = of[policy, None], of["float32", None]
    norms = exact["gradients"]
    for i in np.flatnonzero(norms > np.median(norms)):
        gradients = np.where(np.arange(norms.size) == i, 0, right["gradients"])
        row = parity.judge(policy, {**right, "gradients": gradients}, right, exact)
        assert row["outside"] == ["gradients"]


@pytest.mark.slow
def test_half_precision_is_no_float32(results):
    parity, of = results
    exact = of["float32", None]
    for policy in ("mixed_bfloat16", "mixed_float16"):
        assert "logits" in parity.judge("float32", of[policy, None], exact, exact)["outside"]


@pytest.mark.slow
def test_a_number_that_is_none_is_out_of_bounds(results):
    parity, of = results
    exact = of["float32", None]
    broken = {**exact, "losses": np.full_like(exact["losses"], np.nan)}
    assert parity.judge("float32", broken, exact, exact)["outside"] == ["losses"]
    assert parity.judge("mixed_float16", broken, broken, exact)["outside"] == ["losses"]
    overflown = {**exact, "gradients": np.full_like(exact["gradients"], np.inf)}
    assert parity.judge("mixed_float16", overflown, overflown, exact)["outside"] == ["gradients"]


@pytest.mark.slow
def test_nets_out_of_bounds_are_named(results, monkeypatch, tmp_path, capsys):
    """As is a net that does not run, and the others are compared all the same."""
    parity, of = results
    net = parity.make(NET, "float32")
    calls = []

    def prepare(net, device):
        calls.append(net)
        spoiled = len(calls) == 7       # the second net's first one: the GPU in float32

        def run():
            if len(calls) > 12 and net is calls[14]:
                raise MemoryError("no memory is left")
            return of["float32", spoil_kernel if spoiled else None]
        return run
    monkeypatch.setattr(parity, "make", lambda variant, policy: net if policy == "float32" else object())
    monkeypatch.setattr(parity, "prepare", prepare)
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["gpu_parity.py", "--nets", "resnet50", "plainnet18", "inception_v4",
                                      "--threads", "1", "--json", str(path)])
    assert parity.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert "OUT OF BOUNDS" not in lines[1] and "OUT OF BOUNDS: logits" in lines[2]
    assert "mixed_bfloat16 MemoryError: no memory is left" in lines[3]
    assert lines[4] == "out of bounds: inception_v4, plainnet18"
    stored = json.loads(path.read_text())
    assert stored["out_of_bounds"] == ["inception_v4", "plainnet18"] and len(stored["rows"]) == 9


@pytest.mark.slow
def test_two_devices_in_one_process(tmp_path):
    """As on a machine with a GPU, and within bounds."""
    path = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_parity.py"), "--nets", NET, "--json", str(path)], text=True,
        capture_output=True, env={
            **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "PYTHONPATH": str(BENCHMARKS.parents[1])})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "all nets are within bounds"
    assert [row["policy"] for row in json.loads(path.read_text())["rows"]] == [
        "float32", "mixed_bfloat16", "mixed_float16"]
