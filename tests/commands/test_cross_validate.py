"""Cross-validation: folds by value, results of each fold, resumed after an interruption; the command."""
import csv

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

import reskeras
from reskeras import cli

# all images in one batch, so that the order in which they get ready does not matter
SETTINGS = {"epochs": 2, "batch_size": 16, "warmup": 0, "augmentation": ""}


@pytest.fixture(scope="module")
def images():
    rng, y = np.random.default_rng(0), np.arange(24) % 2
    x = rng.integers(0, 128, (24, 16, 16, 3)) + 127 * y[:, None, None, None]
    return x.astype("uint8"), y


@pytest.fixture(scope="module")
def model():
    model = reskeras.create("cifar_resnet20", weights=None, input_shape=(16, 16, 3), classes=2,
                            depths=(1, 1, 1))
    return reskeras.set_metadata(model, preprocessing="cifar_resnet20.digits")


def test_each_fold_is_a_fit_from_the_same_weights(images, model, tmp_path, capsys):
    """Interrupted in the second fold, and called again."""
    x, y = images
    initial = model.get_weights()

    def validate(**more):
        return reskeras.cross_validate(model, images, "digits", folds=3, seed=1, output=tmp_path, verbose=0,
                                       **SETTINGS, **more)

    import reskeras.commands.recorded_runs as recorded
    fit, calls = recorded.fit, []

    def interrupted(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            validate()
        model.set_weights(initial)
        result = validate()
    assert len(calls) == 4                          # the first fold was not trained twice
    np.testing.assert_array_equal(model.get_weights()[0], initial[0])

    train, validation = list(StratifiedKFold(3, shuffle=True, random_state=1).split(x, y))[2]
    expected = reskeras.fit(model, (x[train], y[train]), "digits", validation_data=(x[validation],
                                                                                   y[validation]),
                            seed=1, verbose=0, **SETTINGS).history["val_loss"][-1]
    assert result.outcomes[2].metrics["val_loss"] == pytest.approx(expected, rel=1e-3)
    losses = result.list_values("val_loss")
    assert result.metric == "val_accuracy" and len(result.values) == 3
    assert result.mean == pytest.approx(np.mean(result.values))
    assert result.deviation == pytest.approx(np.std(result.values, ddof=1))
    with open(tmp_path / "folds.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == losses and [row["images"] for row in rows] == ["8"] * 3
    with pytest.raises(ValueError, match="fold1.*data='arrays"):
        reskeras.cross_validate(model, (x, 1 - y), "digits", folds=3, seed=1, output=tmp_path, verbose=0,
                                **SETTINGS)


def test_the_command(images, tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x=images[0], y=images[1])
    assert cli.main(["cross-validate", "cifar_resnet20", "--data", f"npz:{tmp_path}/images.npz", "--recipe",
                     "digits", "--folds", "2", "--output", str(tmp_path / "out"), "--model-overrides",
                     "depths=(1, 1, 1)", "--epochs", "1", "--batch-size", "4", "--warmup", "0"]) == 0
    out = capsys.readouterr().out
    assert "fold2" in out and "deviation" in out and "val_accuracy" in out
    assert (tmp_path / "out" / "fold2" / "report.html").is_file()


@pytest.mark.parametrize("arguments, message", [
    ({"validation_split": 0.5}, "the other folds validate"), ({"folds": 30}, "at most 12"),
    ({"seed": -1}, "seed"), ({"data": None}, "data")])
def test_errors(images, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        reskeras.cross_validate(**{"model": "cifar_resnet20", "data": images, "recipe": "digits",
                                   "verbose": 0, **arguments})
