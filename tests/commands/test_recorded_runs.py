"""What a sweep and a cross-validation remember: settings of any kind, failures, remote and damaged folders.

The trainings themselves are replaced: `test_sweep.py` and `test_cross_validate.py` train.
"""
import pathlib
import types

import keras
import numpy as np
import pytest

import reskeras
from reskeras import cli
from reskeras.commands import recorded_runs

IMAGES = np.zeros((12, 8, 8, 3), "uint8"), np.arange(12) % 2
TABLE = {"nets": ["cifar_resnet20", "cifar_plain20"], "recipes": ["digits"], "seeds": [0],
         "data": "digits", "validation_data": "digits"}


@pytest.fixture
def calls(monkeypatch):
    """The calls of `fit`, which does not train."""
    made = []

    def fit(**arguments):
        made.append(arguments)
        if arguments.get("output") and arguments.get("save_every") == 7:
            recorded_runs.write_text(f"{arguments['output']}/checkpoint.npz", "x")
        if arguments["batch_size"] > 6 if "batch_size" in arguments else False:
            raise reskeras.errors.ArgumentError("batch_size", arguments["batch_size"], "at most 6")
        if arguments["seed"] == 99 or arguments.get("save_every") == 7:
            raise FloatingPointError("the loss became NaN")
        return types.SimpleNamespace(history={"loss": [1.0], "val_loss": [np.nan], "val_accuracy": [0.5]})
    monkeypatch.setattr(recorded_runs, "fit", fit)
    return made


def validate(**arguments):
    return reskeras.cross_validate("cifar_resnet20", IMAGES, **{"folds": 2, "recipe": "digits", "verbose": 0,
                                                                **arguments})


def test_a_remote_folder_is_gone_on_with(calls, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)
    for run in (lambda: reskeras.sweep(TABLE, output="memory://swept", verbose=0),
                lambda: validate(output="memory://folds")):
        calls.clear()
        first, second = run(), run()
        assert len(calls) == 2 and calls[0]["output"].startswith("memory://")
        assert [o.metrics["val_accuracy"] for o in second.outcomes] == [0.5, 0.5]
    assert str(second.file) == "memory://folds/folds.csv"
    assert [str(file) for file in reskeras.sweep(TABLE, output="memory://swept", verbose=0).files] == [
        f"memory://swept/{name}" for name in ("sweep.csv", "summary.csv", "sweep.html")]
    assert fsspec.filesystem("memory").exists("/swept/sweep.html") and not list(tmp_path.iterdir())
    assert np.isnan(first.outcomes[0].metrics["val_loss"])      # null in the file
    assert np.isnan(second.outcomes[0].metrics["val_loss"])


@pytest.mark.parametrize("before, after", [
    ({"optimizer": keras.optimizers.Lion(1e-3)}, {"optimizer": keras.optimizers.Lion(1e-2)}),
    ({"learning_rate": np.float32(0.5)}, {"learning_rate": np.float32(0.25)}),
    ({"recipe": reskeras.get_recipe("digits")},
     {"recipe": reskeras.get_recipe("digits").override({"epochs": 3})}),
    ({"model_overrides": {"width": 0.5}}, {"model_overrides": {"width": 0.25}}),
    ({"preprocessing": pathlib.Path("a")}, {"preprocessing": pathlib.Path("b")}),
    ({"model_overrides": {"attention": len}}, {"model_overrides": {"attention": max}}),
], ids=["optimizer", "NumPy", "recipe", "dict", "path", "function"])
def test_other_settings_are_an_error(before, after, calls, tmp_path):
    validate(output=tmp_path, **before)
    validate(output=tmp_path, **before)                         # the same settings are not
    assert len(calls) == 2
    with pytest.raises(ValueError, match="fold1.*with which this run was started"):
        validate(output=tmp_path, **after)


def test_other_images_are_an_error(calls, tmp_path):
    validate(output=tmp_path)
    with pytest.raises(ValueError, match="fold1.*data="):
        reskeras.cross_validate("cifar_resnet20", (IMAGES[0] + 1, IMAGES[1]), "digits", folds=2, verbose=0,
                                output=tmp_path)


def test_a_run_that_failed_before_its_first_checkpoint_takes_other_settings(calls, tmp_path):
    def run(batch_size, **more):
        return reskeras.sweep({**TABLE, "overrides": {"a": {"batch_size": batch_size}}, **more},
                              output=tmp_path, verbose=0)

    def read(**arguments):
        size = arguments["overrides"]["batch_size"]
        return fit(**{**arguments, "batch_size": size})
    fit, recorded_runs.fit = recorded_runs.fit, read            # the fixture puts back the right one
    failed = run(8)
    assert all("at most 6" in outcome.error for outcome in failed.outcomes)
    assert not any(outcome.error for outcome in run(4).outcomes)
    with pytest.raises(ValueError, match="'batch_size': 4"):    # it has finished now
        run(2)
    assert any(outcome.error for outcome in run(4, save_every=7, seeds=[5]).outcomes)
    with pytest.raises(ValueError, match="save_every=7"):       # it has failed after a checkpoint
        run(4, seeds=[5])


@pytest.mark.parametrize("arguments, kind, message", [
    ({"batch_size": 8}, ValueError, "batch_size=8: expected at most 6"),
    ({"metric": "val_acc"}, ValueError, "metric='val_acc'.*did you mean 'val_accuracy'"),
])
def test_what_fit_refuses_is_an_error_of_all_folds(arguments, kind, message, calls, tmp_path):
    with pytest.raises(kind, match=message):
        validate(output=tmp_path / "out", **arguments)
    assert len(calls) <= 1


def test_more_folds_than_numbers(calls):
    with pytest.raises(ValueError, match="folds=13: expected at most 12, the number of images of arrays"):
        reskeras.cross_validate("cifar_resnet20", (IMAGES[0], np.arange(12.0)), folds=13)
    assert not calls


def test_a_fold_that_diverges_does_not_stop_the_others(calls):
    assert [outcome.error for outcome in validate(seed=99).outcomes] == [
        "FloatingPointError: the loss became NaN"] * 2


def test_a_spelling_is_refused_from_the_shell_in_one_line(tmp_path, capsys):
    """By `fit` itself."""
    assert cli.main(["cross-validate", "cifar_resnet2", "--data", "digits", "--folds", "2",
                     "--recipe", "digits", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'cifar_resnet20'" in error and error.count("\n") == 1
    with pytest.raises(TypeError, match="epoch=3; did you mean 'epochs'"):
        validate(epoch=3)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": 3}',
                                  '{"settings": {}, "metrics": {"loss": "x"}}',
                                  '{"settings": {}, "metrics": {"loss": 1}, "epochs": "many"}'])
def test_a_damaged_file_says_what_to_do(text, calls, tmp_path):
    validate(output=tmp_path)
    (tmp_path / "fold2.json").write_text(text)
    with pytest.raises(ValueError, match="fold2.json.*; delete this file and the folder fold2"):
        validate(output=tmp_path)
    assert len(calls) == 2                                      # before anything is trained
    (tmp_path / "fold2.json").unlink()
    (tmp_path / "folds.csv").write_text("fold,ima")             # half a table is written again
    assert "fold2" in validate(output=tmp_path).file.read_text()


def test_a_file_in_place_of_the_folder(calls, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="output=.*a folder; this is a file"):
        validate(output=tmp_path / "file")
