"""`find-learning-rate`: a range test of learning rates, its curve as a picture or a table."""
from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..files import atomic_write, write_text
from ..json_writer import to_json
from ..terminal import print_text
from ..train.learning_rate_finder import LearningRateCurve, measure_learning_rates
from .evaluation import check_files

if TYPE_CHECKING:
    import keras

    from ..train.recipe import Recipe

_ENDINGS = (".png", ".csv", ".json")


def find_learning_rate(model: str | os.PathLike[str] | keras.Model, data: Any,
                       recipe: str | Recipe | None = None, *, output: str | os.PathLike[str] | None = None,
                       lowest_rate: float = 1e-7, highest_rate: float = 10.0, updates: int = 100,
                       **options: Any) -> LearningRateCurve:
    """Finds a learning rate by a range test (Smith, 2015, arXiv:1506.01186).

    It trains all layers with a rate that rises exponentially, until the smoothed loss is four times its
    smallest value.  A model that is given as an object has its weights from before again.

    Args:
        model: as `reskeras.fit` takes it.
        data: images to train on, likewise.
        recipe: a name or a `Recipe`; by default as for `fit`.  Its optimizer, batch size, augmentation and
            loss are used.
        output: a file for the curve: .png (needs matplotlib), .csv or .json.
        lowest_rate: the rate of the first update.
        highest_rate: the rate of the last one.
        updates: how many updates of the weights, at least 10.
        **options: other arguments of `reskeras.fit`, and fields of the recipe's training part.

    Returns:
        The curve.  Its `minimum_over_10`, a tenth of the rate with the smallest smoothed loss, is the
        suggestion; its `learning_rate` is the same as a value of the recipe's field; `steepest` is where the
        loss falls most.

    Raises:
        ArgumentError: for arguments that the test sets itself, and as `reskeras.fit`.
        ValueError: if the loss explodes at once.

    Example:
        >>> curve = reskeras.find_learning_rate("resnet50d", "folder:photos", "bag_of_tricks")
        >>> reskeras.fit("resnet50d", "folder:photos", "bag_of_tricks", learning_rate=curve.learning_rate)
    """
    if output is not None and pathlib.Path(output).suffix.lower() not in _ENDINGS:
        raise ArgumentError("output", os.fspath(output), f"a file that ends in {', '.join(_ENDINGS)}")
    check_files(output=output)
    if output is not None and str(output).lower().endswith(".png"):
        _import_figure()
    curve = measure_learning_rates(model, data, recipe, lowest_rate=lowest_rate, highest_rate=highest_rate,
                                   updates=updates, **options)
    if output is not None:
        _write(curve, pathlib.Path(output))
    return curve


def print_result(curve: LearningRateCurve) -> int:
    """Prints the suggestion.  Returns: the exit code."""
    print_text(str(curve))
    return 0


def _write(curve: LearningRateCurve, path: pathlib.Path) -> None:
    if path.suffix.lower() == ".json":
        write_text(path, to_json(dataclasses.asdict(curve)))
    elif path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["learning_rate", "loss", "smoothed_loss"])
        writer.writerows(zip(curve.rates, curve.losses, curve.smoothed))
        write_text(path, text.getvalue())
    else:
        figure = _import_figure()(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot(curve.rates, curve.losses, alpha=0.3, label="each batch")
        axes.plot(curve.rates, curve.smoothed, label="smoothed")
        axes.axvline(curve.minimum_over_10, color="black", linestyle=":",
                     label=f"minimum / 10: {curve.minimum_over_10:.3g}")
        axes.axvline(curve.steepest, color="gray", linestyle="--", label=f"steepest: {curve.steepest:.3g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss",
                 ylim=(0.9 * min(curve.losses), 1.1 * max(curve.losses[0], max(curve.smoothed[:-1]))))
        axes.grid(alpha=0.2)
        axes.legend(frameon=False)
        with atomic_write(path) as new:
            figure.savefig(new, dpi=120, format="png")


def _import_figure() -> Any:
    """matplotlib's Figure.  Raises: ImportError that says how to install it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a .png needs matplotlib: pip install \"reskeras[pictures]\"; or "
                          "give a .csv or .json file") from error
    return Figure
