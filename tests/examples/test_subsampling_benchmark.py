"""The benchmark of pools of one position at a tiny size, and its figures."""
import json
import pathlib
import runpy
import sys

BENCHMARKS = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"
SIDES = {"max pool", "strided slice", "depthwise"}


def test_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["subsampling.py", "--size", "8", "--channels", "4", "--seconds", "0",
                                      "--json", str(path)])
    runpy.run_path(str(BENCHMARKS / "subsampling.py"), run_name="__main__")
    rows = json.loads(path.read_text())["rows"]
    assert [row["alone"] for row in rows] == [True, False]
    assert all(set(row["ms"]) == SIDES and min(row["ms"].values()) > 0 for row in rows)
    assert rows[0]["apart"] == 0 and rows[1]["apart"] < 1e-5
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "strided slice / depthwise" in lines[0]


def test_its_figures():
    stored = json.loads((BENCHMARKS / "figures" / "subsampling.json").read_text())
    assert stored["command"].startswith("python examples/benchmarks/subsampling.py")
    assert all(set(row["ms"]) == SIDES for row in stored["rows"])
    quiet = [row["ratio"]["strided slice"] for row in stored["rows"]
             if row["ratio"]["strided slice"] is not None]
    assert quiet and min(quiet) > 1     # the pool is slower on few channels, and as fast on many
