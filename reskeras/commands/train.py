"""`train`: trains a net by a recipe, and writes a report about the run."""
from __future__ import annotations

import csv
import functools
import io
import math
import os
import pathlib
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import tensorflow as tf

from ..build import load
from ..errors import describe_error, list_names
from ..file_reading import read_text
from ..files import atomic_write
from ..remote_paths import exists, join_path, mirror_folder, to_url
from ..terminal import print_text
from ..train import fit as training
from ..train.keras_objects import describe_object
from ..train.left_out import read_left_out
from ..train.recipes import choose_recipe
from ..train.run_folder import BEST_MODEL, LAST_MODEL, LOG_FILE, read_run_info
from . import html
from .error_sections import make_validation_sections
from .quiet import hide_retracing, quiet_tensorflow

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from ..train.data import ImageDataset

REPORT, PICTURE = "report.html", "curves.png"
# of classes and labels; of numbers there is the error instead of the accuracy
CURVES = (("loss", "loss"), ("accuracy", "accuracy (%)"), ("mae", "mean absolute error"),
          ("learning_rate", "learning rate"))
_ALTERNATIVES = {"accuracy", "mae"}

_LEFT_OUT = {"unreadable": "training images that cannot be read",
             "val_unreadable": "validation images that cannot be read",
             "no_image": "not images by their names, or beside the folders of the classes"}

Row = Mapping[str, str]         # an epoch in log.csv


@functools.wraps(training.fit)
@hide_retracing()
def fit(*args: Any, **kwargs: Any) -> keras.callbacks.History:
    """Calls `reskeras.train.fit.fit`, and writes a report into the run's folder."""
    folder = kwargs.get("output") or kwargs.get("resume")
    if not folder:
        return training.fit(*args, **kwargs)
    with mirror_folder(folder, is_new=not kwargs.get("resume")) as place:
        kwargs |= {name: str(place) for name in ("output", "resume") if kwargs.get(name) == folder
                   and to_url(folder)}
        history = training.fit(*args, **kwargs)
        if (place / LOG_FILE).is_file():
            _write_report(place, getattr(history, "validation", None))
        return history


def train(model: str | None = None, data: str | None = None, recipe: str | None = None, *,
          output: str | None = None,
          resume: str | None = None, **options: Any) -> str:
    """`fit` for the shell: a training run always has a folder, `runs/NAME.RECIPE` if none is given.

    Args:
        model: the name of a net or a `.keras` file.
        data: a source of images.
        recipe: the name of a recipe; by default as for `fit`.
        output: a new folder.
        resume: the folder of a training run to resume.
        **options: of `fit`.

    Returns:
        The last losses and accuracies, and the files of the training, in a few lines; "" with verbose=0.

    Raises:
        ValueError: if neither a net and data are given, nor a folder to resume; and as `fit`.
    """
    if resume is None and (model is None or data is None):
        raise ValueError("expected a net and --data SOURCE, or --resume FOLDER")
    if resume is None and output is None:
        output = name_run_folder(str(model), recipe, options.get("quantize"))
    with quiet_tensorflow():        # it logs what it finds of GPUs; this is the first that asks for them
        tf.config.list_physical_devices()
    trained = fit(model, data, recipe, output=output, resume=resume, **options)
    history = trained.history
    if not options.get("verbose", 1):
        return ""
    folder = str(resume or output)
    losses = history["loss"]
    summary = f"{len(losses)} epoch{'s' * (len(losses) != 1)}; loss {losses[-1]:.4f}"
    if "accuracy" in history:
        summary += f", accuracy {history['accuracy'][-1]:.2%}"
    else:
        summary += f", mean absolute error {history['mae'][-1]:.4g}"
        if "val_mae" in history:
            summary += f"; validation {history['val_mae'][-1]:.4g}"
    if "val_accuracy" in history:
        accuracies = history["val_accuracy"]
        summary += f"; validation {accuracies[-1]:.2%}"
        # the epochs that best.keras may be from
        epochs = [i for i, loss in enumerate(history["val_loss"]) if math.isfinite(loss)]
        if epochs:
            by_loss = trained.task.by_loss
            best = max(epochs, key=lambda i: -history["val_loss"][i] if by_loss else accuracies[i])
            summary += f", best {accuracies[best]:.2%} in epoch {best + 1}"
    files = [join_path(folder, name) for name in (BEST_MODEL, LAST_MODEL, REPORT)]
    return "\n".join([summary, *(str(file) for file in files if exists(file))])


def name_run_folder(model: str, recipe: str | None, quantize: str | None) -> str:
    """The folder of a training for which none is given: runs/NAME.RECIPE."""
    name = pathlib.Path(model).name.removesuffix(".keras")
    return os.path.join("runs", f"{name}.{choose_recipe(recipe, quantize)}".replace("/", "-").lower())


def print_result(summary: str) -> int:
    """Prints the summary, if there is one.  Returns: the exit code."""
    if summary:
        print_text(summary)
    return 0


def _write_report(folder: str | os.PathLike[str], validation: ImageDataset | None = None) -> pathlib.Path:
    """Writes curves.png (with matplotlib) and report.html into the folder of a training run.

    Args:
        folder: the folder.
        validation: the images of which the page tells what the best net gets wrong.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: if the folder has no run.json or log.csv yet.
        ValueError: if one of them is damaged.
        OSError: if it cannot be written to.
    """
    place = pathlib.Path(folder)
    info, rows = read_run_info(place), _read_log(place / LOG_FILE)
    picture = _draw_curves(rows, "black")
    if picture is not None:
        with atomic_write(place / PICTURE) as new:
            picture.savefig(new, dpi=120, format="png")
    errors: list[html.Html] = []
    if validation is not None and validation.workers == 1 and (place / BEST_MODEL).is_file():
        errors = make_validation_sections(load(place / BEST_MODEL), validation)
    return html.write_page(place / REPORT, _build_report(info, rows, read_left_out(place), errors))


def _read_log(path: pathlib.Path) -> list[Row]:
    """The epochs in log.csv.  Raises: OSError; ValueError if there are none, or a value is no number."""
    names = {"epoch", "images_per_s", "waiting", *(name for name, _ in CURVES)} - _ALTERNATIVES
    text = read_text(path)
    try:
        rows: list[Row] = list(csv.DictReader(io.StringIO(text)))
        if not rows or not names <= rows[0].keys() or not _ALTERNATIVES & rows[0].keys():
            raise ValueError(f"it has no epochs, or lacks one of {', '.join(sorted({*names, 'accuracy'}))}")
        for row in rows:
            for value in row.values():
                float(value)        # None, or a list, in a line with fewer or more values than names
            int(row["epoch"])
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({describe_error(error)}); delete it, and resume the training"
                         ) from error
    return rows


def _build_report(info: Mapping[str, Any], rows: Sequence[Row],
                  left_out: Mapping[str, Sequence[str]], errors: Sequence[html.Html]) -> html.Html:
    """The page of a training run: how well the net does, the curves, the epochs, the images that were left
    out, the recipe, and how to resume.
    """
    recipe, data, last = info["recipe"], info["data"], rows[-1]
    facts = _list_accuracies(rows, recipe["training"].get("task") == "multilabel")
    facts += [(f"{float(last['images_per_s']):.0f}", "images per second"),
              (f"{float(last['waiting']):.0%}", "waiting for input")]

    values = {**recipe["training"], **{f"model.{name}": value for name, value in recipe["model"].items()}}
    sources = recipe["sources"]
    recipe_rows = [(name, describe_object(value), sources[name])
                   for name, value in values.items() if name in sources]
    run_rows = [*info["strategy"].items(), ("seed", info["seed"]), *info["versions"].items()]
    run_rows += [("continued", change["learning_rate"]) for change in info.get("continued", ())]
    drawing = _draw_curves(rows, html.INK)
    return html.page(
        f"{info['net']} on {data['name']}", html.tiles(*facts),
        *([html.section("Curves", html.figure(drawing))] if drawing is not None else []),
        html.section("Epochs", html.table(list(last), [list(row.values()) for row in rows])),
        *_list_left_out(left_out),
        html.section(f"Recipe {recipe['name']}", html.tag("p", info["learning_rate"]),
                     html.table(("field", "value", "source"), recipe_rows, wraps=True)),
        *errors,
        html.section("How", html.table(("", ""), run_rows, wraps=True),
                     html.tag("p", "To resume: ", html.tag("code", info["resume"]))),
        lead=f"{data['images']:,} images, {len(rows)} epoch{'s' * (len(rows) != 1)}, recipe {recipe['name']}")


def _list_left_out(left_out: Mapping[str, Sequence[str]]) -> list[html.Html]:
    """A section with the names of the files that were not used, if there are any."""
    rows = [(_LEFT_OUT[kind], len(names), list_names(names, 100)) for kind, names in left_out.items()
            if names and kind in _LEFT_OUT]
    return [html.section("Left out", html.table(("", "files", "names"), rows, wraps=True))] if rows else []


def _list_accuracies(rows: Sequence[Row], by_loss: bool) -> list[tuple[str, str]]:
    """The accuracies of the page's head: of the best epoch, whose net is best.keras, and of the last one.

    Of numbers, their errors.
    """
    last = rows[-1]
    if "accuracy" not in last:
        facts = [(f"{float(last['mae']):.4g}", "mean absolute error of the training, last epoch")]
        finite = [row for row in rows if math.isfinite(float(row.get("val_loss", "nan")))]
        if finite:
            best = min(finite, key=lambda row: float(row["val_loss"]))
            facts.insert(0, (f"{float(best['val_mae']):.4g}",
                             f"mean absolute error of the validation, best epoch {best['epoch']}"))
        return facts
    facts = [(f"{float(last['accuracy']):.2%}", "training accuracy, last epoch")]
    if "val_accuracy" not in last:
        return facts
    facts.insert(0, (f"{float(last['val_accuracy']):.2%}", f"in the last epoch, {last['epoch']}"))
    # as the training chooses best.keras: the first of the best, none whose loss is not finite
    finite = [row for row in rows if math.isfinite(float(row["val_loss"]))]
    if finite:
        best = max(finite, key=lambda row: -float(row["val_loss"]) if by_loss else float(row["val_accuracy"]))
        facts.insert(0, (f"{float(best['val_accuracy']):.2%}",
                         f"validation accuracy, best epoch {best['epoch']}"))
    return facts


def _draw_curves(rows: Sequence[Row], ink: str) -> Figure | None:
    """Draws loss, accuracy and learning rate over the epochs, text in a color; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    epochs = [int(row["epoch"]) for row in rows]
    with html.use_ink(ink):
        drawing = Figure(figsize=(9, 7), layout="constrained")
        curves = [(name, title) for name, title in CURVES if name in rows[0]]
        for axes, (name, title) in zip(drawing.subplots(len(curves), sharex=True), curves):
            for column, label in ((name, "training"), (f"val_{name}", "validation")):
                if column in rows[0]:
                    values = [(100 if name == "accuracy" else 1) * float(row[column]) for row in rows]
                    axes.plot(epochs, values, marker="." if len(rows) < 40 else "", label=label)
            axes.set_ylabel(title)
            axes.grid(alpha=0.2)
        drawing.axes[0].legend(frameon=False)
        drawing.axes[-1].set_xlabel("epoch")
    return drawing
