"""Every benchmark at a tiny size: it runs, measures both sides, and gives no ratio that its noise forbids."""
import json
import os
import pathlib
import runpy
import sys

import keras
import numpy as np
import pytest
from tiny import policy

import reskeras
from reskeras.images.preprocessing import Preprocessing

BENCHMARKS = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"
NET = ["--nets", "CifarResNet20", "--size", "32", "--seconds", "0"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def started(script, *arguments):
        path = tmp_path / "figures.json"
        monkeypatch.setattr(sys, "argv", [script, *arguments, "--json", str(path)])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        stored = json.loads(path.read_text())
        assert (
            stored["versions"]["keras"]
            and stored["machine"]["cores"]
            and stored["command"].startswith("python "))
        return stored["rows"], capsys.readouterr().out.splitlines()
    return started


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import timing
    return timing


def test_a_wrong_net_is_named(run, capsys):
    with pytest.raises(SystemExit):
        run("export.py", "--net", "wrong")
    assert "argument --net: invalid choice: 'wrong' (choose from" in capsys.readouterr().err
    for script, *options in (
        ("input.py", "--images", "4", "--batch", "2", "--net"), ("inference.py", "--nets")):
        with pytest.raises(AttributeError, match="Resnet50.*did you mean 'ResNet50'"):
            run(script, *options, "Resnet50")


def test_sides_take_turns_and_their_runs_are_compared(timing):
    order, calls = (
        [],
        {"a": iter([9, 9, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0]), "b": iter([9, 9, 2.0, 2.0, 2.1, 2.0, 2.0, 2.0])})

    def side(name):
        return lambda: order.append(name) or next(calls[name])
    found = timing.in_turns({"a": side("a"), "b": side("b")}, seconds=0)
    assert order[4:] == ["a", "b"] * 6
    assert found["a"] == timing.Timed((1, 3, 1, 3, 1, 3)) and found["a"].ms == 2 and not found["a"].quiet
    assert (
        found["b"].quiet
        and timing.ratio(found["b"], found["b"]) == 1
        and timing.ratio(found["a"], found["b"]) is None)
    assert (
        timing.figures(found)["noisy"] == ["a"]
        and timing.shown(None) == "noisy"
        and timing.shown(1 / 3) == "0.333")


def test_a_slower_machine_changes_times_and_a_slower_side_the_ratio(timing):
    slow, steady = timing.Timed((1.0,) * 6 + (1.2,) * 6), timing.Timed((2.0,) * 12)
    both = timing.Timed((2.0,) * 6 + (2.4,) * 6)
    assert (
        slow.quiet
        and timing.figures({"a": slow})["unsteady"] == ["a"]
        and not timing.figures({"a": steady})["unsteady"])
    assert timing.ratio(both, slow) == 2 and timing.ratio(slow, steady) is None


def test_export(run, monkeypatch):
    for where in (keras.applications, reskeras):        # a small net in the place of the large one
        monkeypatch.setattr(where, "ResNet50", reskeras.CifarResNet20)
    rows, lines = run("export.py", "--size", "32", "--seconds", "0", "--targets", "TFLite float32")
    assert [row["target"] for row in rows] == ["TFLite float32"]
    assert rows[0]["plain_ms"] > 0 and rows[0]["ours_ms"] > 0
    assert lines[-1].split()[-1] == ("noisy" if rows[0]["ratio"] is None else f"{rows[0]['ratio']:.3f}")


def test_inference_before_and_after_optimize(run):
    (row,), lines = run("inference.py", *NET, "--batches", "1", "--runtimes", "graph")
    assert row["runtime"] == "graph" and row["before_ms"] > 0 and row["after_ms"] > 0
    assert lines[-1].split()[-1] == ("noisy" if row["ratio"] is None else f"{row['ratio']:.3f}")


def test_inference_against_others(run):
    (row,), _ = run("inference_timm.py", *NET, "--batches", "1", "--ways", "optimized", "TFLite int8")
    assert set(row["ms"]) == {"optimized", "TFLite int8", "matmul"}
    assert row["best"] == "optimized" and row["best_low"] == "TFLite int8"
    assert 0 < row["share_of_matmul_rate"]["optimized"]


def test_train_step(run, timing):
    (row,), _ = run(
        "train_step.py", *NET, "--batch", "2", "--policies", "float32", "--stock", "CifarResNet20",
        "--profile")
    assert set(row["ms"]) == {"reskeras", "matmul", "stock"} and set(row["times_faster"]) == {"stock"}
    assert any("FusedBatchNormGrad" in op for op in row["profile_ms"])


def test_a_stock_net_is_the_same_net(timing):
    """In float64: the two add in another order, and a net of random weights makes much of float32's rounding.
    """
    stock = runpy.run_path(str(BENCHMARKS / "train_step.py"))["stock"]
    with policy("float64"):
        net = reskeras.ResNeXt50_32x4d(weights=None, depths=(1, 1, 1, 1), input_shape=(32, 32, 3))
    other = keras.models.clone_model(net, clone_function=stock)
    other.set_weights(net.get_weights())
    kinds = {type(layer).__module__.split(".")[0] for layer in other.layers}
    assert kinds == {"keras"} and type(other.get_layer("conv1_bn")).__module__ != "keras.layers"
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 3))
    np.testing.assert_allclose(other(x), net(x), rtol=1e-9)


def test_a_net_of_strided_slices_is_the_same_net(timing):
    strided = runpy.run_path(str(BENCHMARKS / "train_step.py"))["strided"]
    net = reskeras.ResNeSt50(weights=None, depths=(1, 1, 1, 1), input_shape=(32, 32, 3))
    other = keras.models.clone_model(net, clone_function=strided)
    other.set_weights(net.get_weights())
    assert sum(type(layer).__name__ == "Strided" for layer in other.layers) == 16
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
    np.testing.assert_allclose(other(x, training=True), net(x, training=True), rtol=1e-3)


def test_build(run):
    rows, _ = run("build.py", "--nets", "--calls", "1")
    assert [row["what"] for row in rows] == ["import reskeras", "reskeras list"]
    assert all(row["ms"]["reskeras"] > 0 and row["processor"]["ms"]["reskeras"] > 0
               and row["peak_mib"]["reskeras"] > 5 for row in rows)


def test_mlperf_tiny(run, tmp_path):
    """Against itself."""
    net = reskeras.MLPerfTinyResNet8(weights=None)
    net.save_weights(tmp_path / "net.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("float32")
    reskeras.export(net, tmp_path / "theirs.tflite", quantize="int8", calibration_data=pixels, strict=False,
                    preprocessing=Preprocessing((32, 32), "raw"))
    (row,), (line,) = run("mlperf_tiny.py", "--weights", str(tmp_path / "net.weights.h5"), "--theirs",
                          str(tmp_path / "theirs.tflite"), "--seconds", "0")
    assert row["ms"]["ours"] > 0 and row["bytes"]["ours"] == pytest.approx(row["bytes"]["theirs"], rel=0.01)


def test_precisions(run, timing):
    """And the rows that the tables make of them; a side that is too noisy has no ratio."""
    rows, lines = run("precisions.py", "--nets", "MLPerfTinyResNet8", "--size", "32", "--batches", "2",
                      "--runtimes", "TFLite", "--precisions", "int8", "--seconds", "0")
    (row,) = rows
    assert set(row["ms"]) == set(row["ratio"]) == {"float32", "int8"} and min(row["ms"].values()) > 0
    assert lines[-1].startswith("MLPerfTinyResNet8, 2, TFLite: float32 ")
    table = runpy.run_path(str(BENCHMARKS / "table.py"))
    row = {"net": "a", "batch": 1, "runtime": "ONNX", "ms": {"float32": 12.34, "int8": 1.25}, "noisy": [],
           "unsteady": ["int8"], "ratio": {"float32": 1.0, "int8": None}}
    other = {**row, "runtime": "TFLite", "unsteady": [], "ratio": {"float32": 1.0, "int8": 0.1}}
    files = [{"rows": [row]}, {"rows": [other]}]
    assert table["precisions"](files)[2:] == ["| `a`, ONNX, batch 1 | 12.3 | (1.250), – |",
                                              "| `a`, TFLite, batch 1 | 12.3 | 1.250, 0.10 |"]
    assert table["int8"](files)[2:] == ["| `a` | 1 | 12.3 → (1.250), – | 12.3 → 1.250, 0.10 |"]


def test_input(run, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: asked.append(cores), raising=False)
    rows, lines = run(
        "input.py", "--images", "8", "--batch", "4", "--size", "32", "--seconds", "0", "--net",
        "CifarResNet20")
    assert [row["side"] for row in rows][:4] == ["decode, crop", "+ RandAugment", "+ mixup", "packed, crop"]
    assert all(row["images_per_second"] > 0 for row in rows) and len(asked[0]) == rows[0]["cores"] == 1
    assert "images that the net takes" in lines[-1]


def test_stochastic_depth(run):
    rows, lines = run(
        "stochastic_depth.py", "--net", "mlperf_tiny_resnet8", "--width", "1", "--size", "8", "--batch", "2",
        "--steps", "2", "--rates", "0.6", "--seconds", "0")
    assert [(row["mode"], row["side"]) for row in rows] == [
        ("batch", "batch 0.60"), ("sample", "sample 0.60")]
    assert (
        all(row["ms"][row["side"]] > 0 and row["survival"] == pytest.approx(0.6) for row in rows)
        and len(lines) == 2)


def test_the_readme_has_their_summary(holds, timing):
    table = runpy.run_path(str(BENCHMARKS / "table.py"))["summary"](BENCHMARKS / "figures")
    holds(
        "README.md", "python examples/benchmarks/table.py examples/benchmarks/figures", "end of speed", table)


def test_the_goals_are_judged_by_the_figures(holds, timing):
    table = runpy.run_path(str(BENCHMARKS / "table.py"))["goals"](BENCHMARKS / "figures")
    holds(
        "docs/speed.md", "goals, python examples/benchmarks/table.py examples/benchmarks/figures",
        "end of goals", table)


@pytest.mark.parametrize("page, end", [("speed", "end of speed"), ("optimize", "end of latencies"),
                                       ("exports", "end of exports"),
                                       ("guides/quantize", "end of quantization")])
def test_the_page_has_the_stored_figures(holds, timing, page, end):
    table = runpy.run_path(str(BENCHMARKS / "table.py"))["text"](BENCHMARKS / "figures", page).strip()
    holds(f"docs/{page}.md", "python examples/benchmarks/table.py examples/benchmarks/figures", end, table)


def test_scaling(run):
    rows, _ = run("scaling.py", "--depths", "20", "--batches", "64")
    assert rows[0]["predicted_bytes"] > 0 and rows[0]["added_bytes"] >= 0


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="it needs two cores")
def test_replicas(run):
    (row,), lines = run(
        "replicas.py", "--net", "mlperf_tiny_resnet8", "--images", "64", "--batch", "16", "--epochs", "2",
        "--runs", "1", "--size", "16", "--processes", "1", "2")
    others = {"2", "2, Keras' normalization", "2, not synchronized"}
    assert set(row["images_per_second"]) == {"1", *others} and row["losses_apart"] < 1e-5
    assert row["cores"] == len(os.sched_getaffinity(0)) // 2 and set(row["ratio"]) == others
    assert "processes: 2, not synchronized" in lines[-2] and lines[-1].startswith("the losses are ")
    with pytest.raises(SystemExit, match="999: expected at most"):
        run("replicas.py", "--processes", "999")


@pytest.mark.slow
def test_gpu_under_jax(tmp_path):
    pytest.importorskip("jax")
    import os
    import subprocess
    path = tmp_path / "figures.json"
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "gpu.py"), "--nets", "ResNet50V1_5", "--batch", "2", "--size",
            "32", "--seconds", "0", "--profile", "--json", str(path)],
        check=True, text=True, stdout=subprocess.PIPE,
        env={
            **os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(BENCHMARKS.parents[1])})
    stored = json.loads(path.read_text())
    assert [row["what"] for row in stored["rows"]] == ["training", "inference", "inference"]
    assert "cpu" in stored["device"].lower()
    assert "no kernels of a GPU: nothing is stored" in done.stdout
    assert not any("profile_ms" in row for row in stored["rows"])
