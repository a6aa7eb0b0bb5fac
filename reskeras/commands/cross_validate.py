"""`cross_validate`: trains a net once for each fold of the data, validated on the images of that fold."""
from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass
from typing import Any, Sequence

import keras

from ..errors import ArgumentError, check_choice
from ..files import write_text
from ..intervals import Interval, confidence_interval, standard_deviation
from ..remote_paths import join_path
from ..terminal import print_text
from ..train.arguments import FitArguments
from ..train.folds import split_folds
from ..train.quantized_model import find_quantization
from ..train.recipe import Recipe
from ..train.recipes import choose_recipe
from ..train.sources import has_records, open_source
from .recorded_runs import Outcome, choose_metric, train_runs
from .tables import text_table, to_csv
from .train import name_run_folder

_OWN = {"validation_data": "the other folds validate", "validation_split": "the other folds validate",
        "resume": "the same call with the same output goes on", "callbacks": "they would see all folds"}


@dataclass(frozen=True)
class CrossValidation:
    """The results of all folds.

    Attributes:
        outcomes: how the training of each fold ended, with the metrics of its last epoch.
        metric: the name of the value that `values` has; "" if no fold has finished.
        file: folds.csv; None if nothing was written.
    """

    outcomes: Sequence[Outcome]
    metric: str
    file: str | os.PathLike[str] | None = None

    @property
    def values(self) -> list[float]:
        """The metric of each fold that has finished."""
        return self.list_values(self.metric)

    @property
    def mean(self) -> float:
        """The mean over the folds; NaN if none has finished."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation over the folds (n - 1); NaN for fewer than two."""
        return standard_deviation(self.values)

    @property
    def interval(self) -> Interval:
        """The mean with its interval of 95 %, as if the folds were independent, which they are not quite."""
        return confidence_interval(self.values)

    def list_values(self, metric: str) -> list[float]:
        """A metric of each fold that has finished."""
        return [outcome.metrics[metric] for outcome in self.outcomes if metric in outcome.metrics]


def cross_validate(model: str | os.PathLike[str] | keras.Model, data: Any,
                   recipe: str | Recipe | None = None, *, folds: int = 5,
                   output: str | os.PathLike[str] | None = None, metric: str | None = None, seed: int = 0,
                   verbose: int = 1, **arguments: Any) -> CrossValidation:
    """Trains a net once for each of k folds, and validates it on the images of that fold.

    Each fold has the same share of each class; the folds are those of scikit-learn's
    `StratifiedKFold(folds, shuffle=True, random_state=seed)`, and of `KFold` for labels that are not classes.
    Every training starts anew, from the same weights if `model` has weights.  If the call is interrupted, the
    same call with the same `output` goes on where it was.

    Args:
        model: as `reskeras.fit` takes it.
        data: all images, as `reskeras.fit` takes them, but no stream.
        recipe: a name or a `Recipe`; by default as for `fit`.
        folds: how many.
        output: a folder for a folder of each fold, and folds.csv; None writes nothing.
        metric: which value of the last epoch the mean is of; by default val_accuracy, or what comes nearest.
        seed: of the folds, and of each training.
        verbose: 0 prints nothing, 1 prints a line for each fold, 2 also one for each epoch.
        **arguments: any other argument of `reskeras.fit`.

    Returns:
        The metrics of each fold, their mean and deviation.

    Raises:
        ArgumentError: for a class with fewer images than folds, a stream, a metric that no fold has, folds
            that were started with other settings, and as `fit`.
        TypeError, ValueError, OSError: as `fit`, for arguments that do not fit; what goes wrong in the
            training of one fold is in its outcome.

    Example:
        >>> result = reskeras.cross_validate("resnet50d", "folder:photos", folds=5)     # doctest: +SKIP
        >>> f"{result.mean:.3f} +- {result.deviation:.3f}"                              # doctest: +SKIP
    """
    check_choice("verbose", verbose, (0, 1, 2))
    for name in arguments.keys() & _OWN.keys():
        raise ArgumentError(name, arguments[name], f"none, because {_OWN[name]}")
    recipe = choose_recipe(recipe, find_quantization(model, arguments.get("quantize")))
    offset = arguments.get("label_offset")
    source = open_source(data, label_offset=offset if has_records(data) else None)
    parts = split_folds(source, folds, FitArguments(model, data, seed=seed).seed)
    weights = model.get_weights() if isinstance(model, keras.Model) else None
    runs = {f"fold{number}": {**arguments, "model": model, "recipe": recipe, "seed": seed, "data": train,
                              "validation_data": validation}
            for number, (train, validation) in enumerate(parts, 1)}

    def restart() -> None:
        if weights is not None:
            assert isinstance(model, keras.Model)
            model.set_weights(weights)
    try:
        outcomes = train_runs(runs, output, verbose, "output", metric, restart, are_alike=True)
    finally:
        restart()
    result = CrossValidation(outcomes, choose_metric(outcomes, metric),
                             None if output is None else join_path(output, "folds.csv"))
    if result.file is not None:
        _write_table(result, [validation for _, validation in parts], result.file)
    return result


def cross_validate_in_folder(model: str, data: str, recipe: str | None = None, *, output: str | None = None,
                             **options: Any) -> CrossValidation:
    """`cross_validate` for the shell, which always has a folder: runs/NAME.RECIPE.folds if none is given."""
    if output is None:
        output = name_run_folder(model, recipe, options.get("quantize")) + ".folds"
    return cross_validate(model, data, recipe, output=output, **options)


def print_result(result: CrossValidation) -> int:
    """Prints the folds, their mean and deviation.  Returns: the exit code, 1 if a fold has failed."""
    names = _list_metrics(result)
    rows = [[o.name, *(f"{o.metrics[n]:.4g}" if n in o.metrics else "failed" for n in names)]
            for o in result.outcomes]
    values = {name: result.list_values(name) for name in names}
    rows.append(["mean", *(f"{statistics.fmean(v):.4g}" for v in values.values())])
    rows.append(["deviation", *(f"{standard_deviation(v):.4g}" for v in values.values())])
    print_text(text_table(["", *names], rows))
    for outcome in result.outcomes:
        if outcome.error:
            print_text(f"{outcome.name} has failed: {outcome.error}")
    if result.file is not None:
        print_text(result.file)
    return int(any(outcome.error for outcome in result.outcomes))


def _list_metrics(result: CrossValidation) -> list[str]:
    """The metrics of the validation."""
    return list(dict.fromkeys(name for outcome in result.outcomes for name in outcome.metrics
                              if name.startswith("val_")))


def _write_table(result: CrossValidation, validation: Sequence[Any],
                 file: str | os.PathLike[str]) -> None:
    names = list(dict.fromkeys(name for outcome in result.outcomes for name in outcome.metrics))
    rows = [[o.name, len(images), o.epochs, o.seconds, *(o.metrics.get(name, "") for name in names), o.error]
            for o, images in zip(result.outcomes, validation)]
    write_text(file, to_csv(["fold", "images", "epochs", "seconds", *names, "error"], rows))
