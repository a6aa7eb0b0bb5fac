"""The trainings of hours: texts and verdicts are recomputed from the rows; the runner at a tiny size."""
import argparse
import dataclasses
import importlib
import json
import pathlib
import sys

import numpy as np
import pytest
from scipy import stats

from reskeras.commands.study import Study
from reskeras.commands.tour import TRAINED, load_studies

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """The modules of the folder."""
    monkeypatch.syspath_prepend(FOLDER)
    names = ("cases", "claims", "results", "run")
    yield argparse.Namespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name, None)


def test_the_tour_has_what_the_rows_show(experiment):
    rows, studies = experiment.claims.read_rows(), load_studies()
    assert set(TRAINED) == {f"trained_{name}" for name in experiment.claims.CLAIMS}
    for name in experiment.claims.CLAIMS:
        study = json.loads(json.dumps(dataclasses.asdict(experiment.results.make_study(rows, name))))
        assert Study.from_dict(study) == studies[f"trained_{name}"]


@pytest.mark.parametrize("page, command, end, function", [
    ("README.md", "results.py", "claims", "list_differences"),
    ("docs/guides/comparing_runs.md", "results.py pytorch", "pytorch", "compare_with_pytorch"),
    ("docs/guides/comparing_runs.md", "results.py finetune", "finetune", "compare_finetuning")])
def test_the_pages_have_the_tables(experiment, holds, page, command, end, function):
    block = getattr(experiment.results, function)(experiment.claims.read_rows())
    holds(page, f"examples/experiments/{command}", f"end of {end}", block)


def test_every_row_is_of_a_case(experiment):
    rows = [json.loads(line) for line in experiment.claims.ROWS.read_text().splitlines()]
    assert rows and experiment.claims.read_rows() == rows
    assert len({(row["case"], row["seed"]) for row in rows}) == len(rows)
    assert all(0 <= row[value] <= 100 for row in rows for value in ("train_error", "test_error"))


def test_the_first_seed_of_all_claims_comes_first(experiment):
    runs = experiment.cases.list_runs()
    seeds = [seed for _, seed in runs]
    assert seeds == sorted(seeds) and len(set((case.name, seed) for case, seed in runs)) == len(runs)
    assert [case.name for case, _ in runs[:3]] == ["reskeras", "PyTorch", "plain-20"]
    assert all(needed >= 3 for _, needed in experiment.cases.PLANS.values())


def make_rows(experiment, errors, value="train_error"):
    """Rows of made-up errors: case -> one for each seed."""
    return [{"case": case, "seed": seed, "settings": experiment.cases.CASES[case].settings,
             "date": "2026-11-27", "train_error": 1.0, "test_error": 50.0, "curve": [90.0, 1.0],
             "cpu_seconds": 1800.0, "versions": "v", value: error}
            for case, own in errors.items() for seed, error in enumerate(own)]


DEGRADED = {"plain-20": (10, 12, 11), "plain-56": (60, 75, 66), "ResNet-20": (1, 2, 1),
            "ResNet-56": (1, 1, 2)}


def test_verdicts_by_value(experiment):
    claims = experiment.claims
    first, second = claims.CLAIMS["degradation"].statements
    third = claims.CLAIMS["gain"].statements[0]
    rows = make_rows(experiment, DEGRADED)
    found = claims.difference(rows, first)
    expected = stats.ttest_rel([60, 75, 66], [10, 12, 11]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert claims.difference(rows, second).mean == pytest.approx(np.mean([50 - 0, 63 + 1, 55 - 1]))
    assert claims.judge(rows, first, 3) == claims.judge(rows, second, 3) == "shown"
    assert claims.judge(rows, third, 3) == "not shown here: the interval includes zero"
    assert claims.judge(rows[:-1], second, 3) == "so far 2 of 3 seeds: not decided"
    assert claims.judge(rows, dataclasses.replace(first, sign=-1), 3) == "not shown here: the opposite sign"


def test_what_is_not_shown_has_a_diagnosis(experiment):
    results = experiment.results
    study = results.make_study(make_rows(experiment, DEGRADED), "degradation")
    assert study.verdict == "shown" and study.tables[0].rows[0][1] == "+56.0 (+39.7 to +72.3)"
    assert study.run.startswith("2026-11-27, 6.0 hours of one CPU core, 12 trainings of 20 epochs")
    not_degraded = {**DEGRADED, "plain-56": (9, 13, 10)}
    study = results.make_study(make_rows(experiment, not_degraded), "degradation")
    assert study.verdict == "not shown here" and "11.0 and 10.7 % for the plain nets" in study.finding
    dropped = {"ResNet-56": (40, 41, 40), "ResNet-56, p_L = 0.5": (45, 47, 46)}
    study = results.make_study(make_rows(experiment, dropped, "test_error"), "stochastic_depth")
    assert study.tables[0].rows[0][-1] == "not shown here: the opposite sign" and "seeds" in study.finding
    shown = {"ResNet-56": (40, 41, 40), "ResNet-56, p_L = 0.5": (35, 36.5, 35)}
    study = results.make_study(make_rows(experiment, shown, "test_error"), "stochastic_depth")
    assert (study.verdict, study.finding) == ("shown", "Shown.")


def test_pytorch_is_judged_by_two_standard_errors(experiment):
    ours, theirs = (36.0, 37, 35, 36, 36), (36.5, 37, 36, 37, 36)
    rows = make_rows(experiment, {"reskeras": ours, "PyTorch": theirs}, "test_error")
    error = np.sqrt(np.var(ours, ddof=1) / 5 + np.var(theirs, ddof=1) / 5)
    text = experiment.results.compare_with_pytorch(rows)
    assert f"differ by 0.50 points, {0.5 / error:.1f} standard errors (equal" in text
    assert "So far 4 of 5 seeds" in experiment.results.compare_with_pytorch(rows[:-1])


@pytest.fixture
def options(tmp_path):
    """Of the runner, with 40 images."""
    rng = np.random.default_rng(0)
    for name in ("cifar10_train_first4000.npz", "cifar10_test_first1000.npz"):
        np.savez(tmp_path / name, images=rng.integers(0, 256, (40, 32, 32, 3), "uint8"),
                 labels=np.arange(40) % 10)
    return argparse.Namespace(data=tmp_path, work=tmp_path / "work", threads=1, torch=sys.executable,
                              rows=tmp_path / "rows.jsonl")


def test_a_run_makes_a_row(experiment, options):
    case = experiment.cases.Case("x", "cifar_resnet20", {"recipe": "cifar_he", "batch_size": 8, "epochs": 1,
                                                         "milestones": (1, 1), "augmentation": ""},
                                 {"depths": (1, 1, 1)}, images=3)
    row = experiment.run.run_case(case, 2, options)
    assert (row["case"], row["seed"], row["settings"]) == ("x", 2, case.settings)
    assert len(row["curve"]) == len(row["test_curve"]) == 1 and not (options.work / "x-2").exists()
    assert row["test_error"] == pytest.approx(row["test_curve"][0])
    assert not experiment.run.is_done(case, 2, options.rows)
    options.rows.write_text(json.dumps(row) + "\n")
    assert experiment.run.is_done(case, 2, options.rows) and not experiment.run.is_done(case, 1, options.rows)
    changed = dataclasses.replace(case, images=4)
    assert not experiment.run.is_done(changed, 2, options.rows)


def test_five_classes_of_each_image_set(experiment):
    x, y = np.arange(40).reshape(40, 1, 1, 1), np.arange(40) % 10
    first, labels = experiment.run.choose((x, y), last=False)
    assert set(first.ravel() % 10) == {0, 1, 2, 3, 4} and (labels == first.ravel() % 10).all()
    chosen, labels = experiment.run.choose((x, y), last=True, count=2, seed=3)
    assert np.bincount(labels).tolist() == [2] * 5 and (labels + 5 == chosen.ravel() % 10).all()


def test_pytorch_begins_with_the_same_net(experiment, options):
    """Its script compares its scores with those of the Keras model before it trains."""
    pytest.importorskip("torch")
    settings = {"recipe": "cifar_he", "batch_size": 20, "epochs": 1, "milestones": (1, 1)}
    case = experiment.cases.Case("y", "cifar_resnet20", settings, kind="pytorch_net")
    row = experiment.run.run_case(case, 0, options)
    assert "PyTorch" in row["versions"] and len(row["curve"]) == 1
