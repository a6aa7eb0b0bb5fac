"""The suite for a machine with a GPU: which parts it runs, and how a profile is read."""
import gzip
import json
import os
import pathlib
import sys

import keras
import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"

# Writes figures, or half of them, and notes that it ran.
STUB = """
import json, pathlib, sys, time
name, what, path = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[-1])
with open(path.with_name("ran.txt"), "a") as file:
    print(name, file=file)
time.sleep(0.3 if what == "slow" else 0)
figures = json.dumps({"rows": [1], "out_of_bounds": ["resnet50"] if what == "outside" else []})
path.write_text(figures[:9] if what == "half" else figures)
sys.exit(what in ("fails", "outside"))
"""


@pytest.fixture
def module(monkeypatch):
    """Imports a benchmark by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: __import__(name)


@pytest.fixture
def run(module, tmp_path):
    """Runs parts of the stub, given by what they do; also says which of them ran."""
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)

    def run(minutes=1.0, **parts):
        (tmp_path / "ran.txt").write_text("")
        failed, left = module("gpu_suite").run(
            {name: [str(stub), name, what] for name, what in parts.items()}, tmp_path, minutes)
        return failed, left, (tmp_path / "ran.txt").read_text().split()
    return run


def test_complete_parts_are_not_run_again(run, tmp_path):
    assert run(a="works", b="works") == ([], [], ["a", "b"])
    assert run(a="works", b="works") == ([], [], [])
    (tmp_path / "a.json").write_text('{"rows": [')
    (tmp_path / "b.json").write_text('{"rows": []}')
    assert run(a="works", b="works") == ([], [], ["a", "b"])


@pytest.mark.parametrize("what", ["half", "outside"])
def test_a_part_that_fails_is_named_and_the_others_go_on(run, what):
    assert run(a=what, b="works") == (["a"], [], ["a", "b"])
    assert run(a=what, b="works") == (["a"], [], ["a"])
    assert run(a="works", b="works") == ([], [], ["a"])


def test_a_part_with_another_exit_status_than_0_has_failed(run):
    assert run(a="fails", b="works") == (["a"], [], ["a", "b"])


def test_no_part_is_started_when_the_time_is_up(run):
    assert run(minutes=0, a="works", b="works") == ([], ["a", "b"], [])
    assert run(minutes=0.2 / 60, a="slow", b="works") == ([], ["b"], ["a"])
    assert run(minutes=0, a="slow", b="works") == ([], ["b"], [])


def test_the_exit_status_says_whether_all_have_run(module, monkeypatch, tmp_path, capsys):
    suite = module("gpu_suite")
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(suite, "make_parts", lambda timm, peak: {
        "a": [str(stub), "a", "fails"], "b": [str(stub), "b", "works"]})

    def status(minutes):
        folder = str(tmp_path / minutes)
        monkeypatch.setattr(sys, "argv", ["gpu_suite.py", "--output", folder, "--minutes", minutes])
        return suite.main(), capsys.readouterr().out.splitlines()[-1]
    assert status("1") == (1, "failed: a")
    assert status("0") == (1, "the time was up before: a, b")
    (tmp_path / "1" / "a.json").write_text('{"rows": [1]}')
    assert status("1") == (0, "all parts are complete")


def test_the_parts_have_the_names_of_the_figures(module):
    parts = module("gpu_suite").make_parts("PYTHON", 989)
    first, *nets = parts
    stored = {path.stem for path in (BENCHMARKS / "figures").glob("gpu.?.*.json")}
    assert first == "gpu_parity" and set(nets) <= stored and len(nets) == 4
    for name in nets:
        _, *arguments = parts[name]
        assert arguments == ["--nets", name.split(".")[2], "--batch", "256", "--profile", "--timm", "PYTHON",
                             "--peak", "989"]


def test_figures_are_written_completely_or_not_at_all(module, tmp_path, monkeypatch):
    timing, path = module("timing"), tmp_path / "figures.json"
    timing.write(str(path), [{"a": 1}])
    before = path.read_text()

    def write_half(path, data, **_):
        path.open("w").write(str(data)[:9])
        raise OSError("the disk is full")
    monkeypatch.setattr(pathlib.Path, "write_bytes", write_half)
    monkeypatch.setattr(pathlib.Path, "write_text", write_half)
    with pytest.raises(OSError, match="the disk is full"):
        timing.write(str(path), [{"a": 2}])
    assert path.read_text() == before and os.listdir(tmp_path) == ["figures.json"]


def meta(pid, name, tid=None):
    kind = {"name": "process_name"} if tid is None else {"name": "thread_name", "tid": tid}
    return {"ph": "M", "pid": pid, "args": {"name": name}, **kind}


def event(pid, tid, name, microseconds):
    return {"ph": "X", "pid": pid, "tid": tid, "ts": 1.0, "dur": microseconds, "name": name}


TRACE = [
    meta(1, "/device:GPU:0"), meta(1, "Stream #14(Compute)", 14), meta(1, "Stream #15(MemcpyD2H)", 15),
    meta(1, "XLA Ops", 2), meta(1, "XLA Modules", 3), meta(701, "/host:CPU"), meta(701, "Stream #14", 14),
    event(1, 14, "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", 4000),
    event(1, 14, "nvjet_tst_128x256_64x4_1x2_h_bz_NNT", 2000), event(1, 14, "input_reduce_fusion_12", 3000),
    event(1, 14, "loop_convert_fusion", 1000), event(1, 14, "loop_convert_fusion", 1000),
    event(1, 14, "wrapped_transpose", 500), event(1, 15, "MemcpyD2D", 400),
    event(1, 2, "input_reduce_fusion.12", 3000), event(1, 3, "jit_train_step", 11900),
    event(701, 14, "input_reduce_fusion_12", 9000), {}]
KINDS = {"convolutions and products": 6, "sums over maps": 3, "other fusions": 2,
         "copies and transposes": 0.9}


def test_the_time_of_kernels_by_kind(module, tmp_path):
    """Of the streams of a GPU alone: its other threads show the same time again."""
    folder = tmp_path / "plugins" / "profile" / "now"
    folder.mkdir(parents=True)
    (folder / "vm.trace.json.gz").write_bytes(gzip.compress(json.dumps({"traceEvents": TRACE}).encode()))
    profile = module("gpu_profile")
    times = profile.kernels(profile.read(str(tmp_path)))
    assert times["loop_convert_fusion"] == 2 and sum(times.values()) == pytest.approx(11.9)
    assert profile.by_kind(times) == KINDS and list(profile.by_kind(times)) == list(KINDS)
    assert profile.by_kind(times, steps=2)["convolutions and products"] == 3
    no_gpu = [event for event in TRACE if event.get("pid") != 1]
    assert profile.by_kind(profile.kernels(no_gpu)) == {}


@pytest.mark.parametrize("kind, names", {
    "convolutions and products": [
        "sm80_xmma_wgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x256x32_cudnn",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816dgrad_optimized_bf16>(Params)",
        "void conv2d_grouped_direct_kernel<false, true, __nv_bfloat16>", "gemm_fusion_dot_5",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float>", "triton_gemm_dot_3", "wrapped_convolution",
        "ampere_sgemm_128x64_nn", "implicit_convolve_sgemm"],
    "sums over maps": ["input_multiply_reduce_fusion_3", "wrapped_reduce", "loop_convert_reduce_fusion"],
    "other fusions": ["loop_reduce_precision_fusion", "wrapped_convert", "loop_multiply_add_fusion_2",
                      "fusion_77", "triton_softmax_4"],
    "copies and transposes": ["void cudnn::ops::nchwToNhwcKernel<float>", "input_transpose_fusion", "Memset",
                              "copy_fusion_2", "MemcpyH2D", "wrapped_copy"],
    "pooling": ["wrapped_reduce_window", "loop_reduce_window_fusion", "wrapped_select_and_scatter",
                "input_scatter_fusion"],
    "other": ["something_new"]}.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_kinds_of_kernels(module, kind, names):
    """Names that XLA and NVIDIA's libraries give to kernels."""
    assert {name: module("gpu_profile").kind_of(name) for name in names} == dict.fromkeys(names, kind)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="for KERAS_BACKEND=jax")
def test_a_profile_without_a_gpu_is_empty(module):
    import jax
    step = jax.jit(lambda x: (x @ x).sum())
    assert module("gpu_profile").profile(lambda: float(step(np.ones((8, 8), "float32")))) == {}
