"""Sweeps: a table of runs, each once, with their comparison by value; killed, changed and failing ones."""
import csv
import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import reskeras
from reskeras import cli

TABLE = """
nets = ["{net}"]
recipes = ["digits"]
seeds = [0, 1]
data = "npz:{data}"
validation_data = "npz:{data}"

[overrides.short]
epochs = 2
batch_size = 8
warmup = 0
augmentation = ""
model.depths = [1, 1, 1]

[overrides.narrow]
epochs = 2
batch_size = 8
warmup = 0
augmentation = ""
model.depths = [1, 1, 1]
model.width = 0.5
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("images") / "images.npz"
    rng = np.random.default_rng(0)
    y = np.arange(16) % 2
    x = rng.integers(0, 128, (16, 16, 16, 3)) + 127 * y[:, None, None, None]
    np.savez(file, x=x.astype("uint8"), y=y)
    return file


@pytest.fixture(scope="module")
def table(data):
    file = data.with_name("table.toml")
    file.write_text(TABLE.format(net="cifar_resnet20", data=data))
    return file


@pytest.fixture(scope="module")
def swept(table):
    """A sweep of four runs that was killed in its third one, and then went on."""
    output = table.with_name("sweep")
    code = ("import sys, reskeras.commands.recorded_runs as s, reskeras.commands.sweep as sweep\n"
            "fit, calls = s.fit, []\n"
            "def killed(*args, **kwargs):\n"
            "    calls.append(1)\n"
            "    if len(calls) == 3:\n"
            "        import keras, os, signal\n"
            "        kill = keras.callbacks.LambdaCallback(\n"
            "            on_epoch_begin=lambda epoch, logs: epoch and os.kill(os.getpid(), signal.SIGKILL))\n"
            "        kwargs['callbacks'] = [kill]\n"
            "    return fit(*args, **kwargs)\n"
            "s.fit = killed\nsweep.sweep(sys.argv[1], output=sys.argv[2])\n")
    done = subprocess.run([sys.executable, "-c", code, str(table), str(output)], capture_output=True,
                          text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "2/4" in done.stdout and "3/4" not in done.stdout
    times = {file.name: file.stat().st_mtime_ns for file in output.glob("*.json")}
    result = reskeras.sweep(table, output=output, verbose=0)
    return output, result, done.stdout, times


def test_a_killed_sweep_goes_on(swept):
    output, result, printed, times = swept
    finished = [f"cifar_resnet20.digits.short.seed{seed}.json" for seed in (0, 1)]
    assert all((output / name).stat().st_mtime_ns == times[name] for name in finished)     # not trained again
    assert len(result.outcomes) == 4 and not any(o.error for o in result.outcomes)
    resumed = (output / "cifar_resnet20.digits.narrow.seed0" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in resumed] == ["epoch", "1", "2"]


def test_the_comparison_by_value(swept):
    output, result, _, _ = swept
    with open(output / "sweep.csv") as file:
        rows = list(csv.DictReader(file))
    values = {name: [float(row["val_accuracy"]) for row in rows if row["overrides"] == name]
              for name in ("short", "narrow")}
    for row in rows:        # as the log of the run itself
        log = output / f"cifar_resnet20.digits.{row['overrides']}.seed{row['seed']}" / "log.csv"
        last = list(csv.DictReader(open(log)))[-1]
        assert float(row["val_accuracy"]) == pytest.approx(float(last["val_accuracy"]), rel=1e-4)
        assert row["status"] == "finished" and row["epochs"] == "2"
    first, second = result.comparisons
    assert result.metric == "val_accuracy"
    assert first.mean == pytest.approx(np.mean(values["short"]))
    assert second.deviation == pytest.approx(np.std(values["narrow"], ddof=1))
    expected = np.subtract(values["narrow"], values["short"])
    assert second.difference.mean == pytest.approx(expected.mean())
    with open(output / "summary.csv") as file:
        low = float(list(csv.DictReader(file))[1]["low"])
    half = stats.t.ppf(0.975, 1) * stats.sem(expected)
    assert low == pytest.approx(expected.mean() - half)
    page = (output / "sweep.html").read_text()
    assert f"{second.mean:.4g}" in page and "narrow" in page and f"{second.difference.mean:+.4g}" in page


def test_a_changed_table_is_an_error(swept, table):
    output = swept[0]
    changed = table.with_name("changed.toml")
    changed.write_text(table.read_text().replace("epochs = 2", "epochs = 3", 1))
    with pytest.raises(ValueError, match=r"short.seed0.*expected overrides=\{'epochs': 2.*not \{'epochs': 3"):
        reskeras.sweep(changed, output=output, verbose=0)


def test_a_failure_does_not_stop_the_others(data, tmp_path, capsys):
    """From the command line; the first run has larger batches than images."""
    file = tmp_path / "t.toml"
    text = TABLE.format(net="cifar_resnet20", data=data).replace("seeds = [0, 1]", "seeds = [5]")
    file.write_text(text.replace("batch_size = 8", "batch_size = 64", 1).replace("epochs = 2", "epochs = 1"))
    assert cli.main(["sweep", str(file), "--output", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    for text in ("short.seed5 has failed", "batch_size=64", "0 of 1", "1 of 1"):
        assert text in printed
    with open(tmp_path / "out" / "sweep.csv") as out:
        rows = list(csv.DictReader(out))
    assert [row["status"] for row in rows] == ["failed", "finished"] and "at most 16" in rows[0]["error"]
    assert float(rows[1]["val_accuracy"]) >= 0 and rows[0]["val_accuracy"] == ""


@pytest.mark.parametrize("change, message", [
    ({"nets": []}, "nets=.*a list of at least one value"),
    ({"nets": ["cifar_resnet200"]}, "cifar_resnet20"),
    ({"recipes": ["digit"]}, "digits"),
    ({"seeds": [-1]}, "seeds"),
    ({"seed": [1]}, "did you mean 'seeds'"),
    ({"epochs": 3}, "unknown argument epochs=3"),
    ({"overrides": {"a": {"epoch": 3}}}, "did you mean 'epochs'"),
    ({"overrides": {"epochs": 3}}, "fields for each name"),
    ({"overrides": {"a": {"model": {"widht": 2}}}}, "did you mean 'width'"),
    ({"nets": ["cifar_resnet20", "cifar_resnet20"]}, "once"),
    ({"nets": ["no.keras"]}, "no.keras: no such file"),
    ({"epochs": 3}, r"belongs into overrides, such as \[overrides.short\]"),
    ({"output": "runs"}, "output is an argument of sweep itself"),
    ({"overrides": {"a": {"epochs": "many"}}}, "overrides.a.epochs='many': expected a whole number"),
    ({"data": None}, "data=None: expected images to train on"),
    ({"class_weight": "balance"}, "did you mean 'balanced'"),
    ({"metrics": ["AUK"]}, "did you mean 'AUC'"),
    ({"validation_data": "digit"}, "validation_data='digit'.*did you mean 'digits'"),
    ({"data": "npz:no.npz"}, "npz:no.npz: no such file"),
])
def test_errors_come_before_the_first_run(change, message, tmp_path):
    table = {"nets": ["cifar_resnet20"], "recipes": ["digits"], "data": "digits", **change}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        reskeras.sweep(table, output=tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_a_damaged_file(tmp_path, capsys):
    (tmp_path / "t.toml").write_text("nets = [")
    assert cli.main(["sweep", str(tmp_path / "t.toml")]) == 2
    error = capsys.readouterr().err
    assert "t.toml" in error and "TOML" in error and error.count("\n") == 1
    assert cli.main(["sweep", str(tmp_path / "no.toml")]) == 2
    assert "no.toml: no such file" in capsys.readouterr().err
