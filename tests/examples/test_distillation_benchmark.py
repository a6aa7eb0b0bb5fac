"""The benchmark of distillation at a tiny size: it trains, and finds what it has trained."""
import json
import pathlib
import runpy
import sys

import numpy as np

import reskeras

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks" / "distillation.py"
SMALL = dict(depths=(1,), widths=(16,), strides=(1,))


def test_it_runs_and_goes_on(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name, count in (("train_first4000", 64), ("test_first1000", 20)):
        np.savez(tmp_path / f"cifar10_{name}.npz", labels=np.arange(count) % 10,
                 images=rng.integers(0, 256, (count, 32, 32, 3), "uint8"))
    teacher = tmp_path / "teacher.keras"
    reskeras.create("cifar_resnet20", weights=None, **SMALL).save(teacher)
    monkeypatch.setattr(sys, "argv", [
        SCRIPT.name, "--data", str(tmp_path), "--teacher", str(teacher), "--work", str(tmp_path / "work"),
        "--seeds", "1", "--epochs", "1", "--cases", "without", "soft", "int8", "--model-overrides",
        *(f"{k}={v}" for k, v in SMALL.items())])
    for _ in range(2):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = [json.loads(line) for line in (tmp_path / "work" / "rows.jsonl").read_text().splitlines()]
    assert [row["case"] for row in rows] == ["without", "soft", "int8"]         # not trained twice
    assert capsys.readouterr().out.count("soft: test error") == 2
    saved = json.loads((tmp_path / "work" / "soft-0" / "run.json").read_text())
    assert saved["recipe"]["training"]["temperature"] == 4.0
    saved = json.loads((tmp_path / "work" / "int8-0" / "run.json").read_text())
    assert saved["arguments"]["quantize"] == "int8"


def test_the_guide_has_the_stored_trainings(holds):
    benchmark = runpy.run_path(str(SCRIPT))
    lines = benchmark["describe_results"](benchmark["find_rows"](
        benchmark["SETTINGS"], benchmark["WITHOUT"], SCRIPT.with_suffix(".jsonl")))
    assert [line.partition(":")[0] for line in lines] == ["without", "soft", "int8"]
    holds("docs/training.md", "distillation, python examples/benchmarks/distillation.py",
          "end of distillation", "\n".join(f"* {line}" for line in lines))


def test_what_is_described():
    benchmark = runpy.run_path(str(SCRIPT))
    rows = {("without", 0): 40.0, ("without", 1): 41.0, ("without", 2): 42.0, ("soft", 0): 38.0,
            ("soft", 1): 39.2}
    assert benchmark["describe_results"](rows) == [
        "without: test error 41.0 %, 3 seeds",
        "soft: test error 38.6 %, 2 seeds, without a teacher 40.5 % with these; "
        "-1.9 points (-3.2 to -0.6), decided"]
