"""What XLA compiles for a GPU, read from its text; and compiled, where JAX has its plugin for CUDA."""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"
# A map of 2 x 4 x 4 x 8 in bfloat16, 512 bytes, through one kernel of each kind
HLO = """
HloModule step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%two_sums (x: bf16[2,4,4,8]) -> (f32[8], f32[8]) {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  %zero = f32[] constant(0)
  %y = f32[2,4,4,8]{3,2,1,0} convert(%x)
  %one = f32[8]{0} reduce(%y, %zero), dimensions={0,1,2}, to_apply=%add
  %two = f32[8]{0} reduce(%y, %zero), dimensions={0,1,2}, to_apply=%add
  ROOT %both = (f32[8]{0}, f32[8]{0}) tuple(%one, %two)
}

%relu (x: bf16[2,4,4,8]) -> bf16[2,4,4,8] {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  ROOT %y = bf16[2,4,4,8]{3,2,1,0} maximum(%x, %x)
}

%gather_back (x: bf16[2,4,4,8]) -> bf16[2,4,4,8] {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  ROOT %y = bf16[2,4,4,8]{3,2,1,0} scatter(%x, %x, %x), to_apply=%add
}

%first_image (x: bf16[2,4,4,8]) -> bf16[1,4,4,8] {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  %one = bf16[1,4,4,8]{3,2,1,0} slice(%x), slice={[0:1], [0:4], [0:4], [0:8]}
  ROOT %y = bf16[1,4,4,8]{3,2,1,0} maximum(%one, %one)
}

ENTRY %main (image: bf16[2,4,4,8], kernel: bf16[8,1,1,8]) -> bf16[2,4,4,8] {
  %image = bf16[2,4,4,8]{3,2,1,0} parameter(0), metadata={op_name="x"}
  %kernel = bf16[8,1,1,8]{3,2,1,0} parameter(1)
  %cudnn-conv.1 = (bf16[2,4,4,8]{3,2,1,0}, u8[0]{0}) custom-call(%image, %kernel), window={size=1x1}, \
custom_call_target="__cudnn$convForward", metadata={op_name="conv(x)"}
  %get-tuple-element.1 = bf16[2,4,4,8]{3,2,1,0} get-tuple-element(%cudnn-conv.1), index=0
  %input_reduce_fusion = (f32[8]{0}, f32[8]{0}) fusion(%get-tuple-element.1), kind=kInput, calls=%two_sums
  %loop_maximum_fusion = bf16[2,4,4,8]{3,2,1,0} fusion(%get-tuple-element.1), kind=kLoop, calls=%relu
  %loop_slice_fusion = bf16[1,4,4,8]{3,2,1,0} fusion(%loop_maximum_fusion), calls=%first_image
  ROOT %input_scatter_fusion = bf16[2,4,4,8]{3,2,1,0} fusion(%loop_maximum_fusion), calls=%gather_back
}
"""


@pytest.fixture
def gpu_plan(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_plan
    return gpu_plan


def test_bytes_of_each_kind(gpu_plan):
    assert list(gpu_plan.list_kernels(HLO)) == [
        ("convolutions", 512 + 128 + 512), ("sums over maps", 512 + 2 * 32), ("other maps", 2 * 512),
        ("other maps", 2 * 256), ("pooling", 2 * 512)]


def test_a_loop_is_refused(gpu_plan):
    with pytest.raises(ValueError, match="loop_slice_fusion: expected a kernel.*while"):
        list(gpu_plan.list_kernels(HLO.replace("fusion(%loop_maximum_fusion), calls=%first_image",
                                               "while(%loop_maximum_fusion), body=%first_image")))


def test_a_type_without_a_size_is_named(gpu_plan):
    with pytest.raises(KeyError, match="c64"):
        gpu_plan.count_bytes("c64[2,3]{1,0}")


def test_the_plan_agrees_with_a_card():
    """Its memory is about what JAX counted there, and its bytes would take half of the measured time."""
    (plan,) = (BENCHMARKS / "figures").glob("gpu_plan.json")
    plans = {row["net"]: row for row in json.loads(plan.read_text())["rows"]}
    measured = [row for path in (BENCHMARKS / "figures").glob("gpu.*.json")
                for row in json.loads(path.read_text())["rows"] if row["what"] == "training"]
    assert {row["net"] for row in measured} == set(plans)
    for row in measured:
        for mib, least in zip(*(plans[row["net"]][key].values() for key in ("mib", "least_ms")), strict=True):
            assert row["peak_mib"] == pytest.approx(mib, rel=0.02)
            assert least < row["ms"]["reskeras"]
        _, with_keras = plans[row["net"]]["least_ms"].values()      # which is what was measured
        assert 0.43 < with_keras / row["ms"]["reskeras"] < 0.62


@pytest.mark.slow
@pytest.mark.skipif(not any(importlib.util.find_spec(f"jax_cuda{i}_plugin") for i in (12, 13)),
                    reason="JAX has no plugin for CUDA")
def test_compiled_without_a_gpu(tmp_path):
    path = tmp_path / "plan.json"
    subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "gpu_plan.py"), "--nets", "CifarResNet20", "--size", "32",
            "--batch", "8", "--json", str(path)],
        check=True, env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(BENCHMARKS.parents[1])})
    (row,) = json.loads(path.read_text())["rows"]
    (ours, theirs), (kernels, more) = row["gb"].values(), row["kernels"].values()
    assert row["ratio"] > 1.03 and kernels < more
    assert ours["convolutions"] == theirs["convolutions"]
    assert ours["sums over maps"] < theirs["sums over maps"]
