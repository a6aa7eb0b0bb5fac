"""Training, and the report of it."""
from __future__ import annotations

import csv
import functools
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

from ..train import fit as training
from ..train.run_folder import BEST_MODEL, LAST_MODEL, LOG_FILE, RUN_FILE
from . import html

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

CURVES = (("loss", "loss"), ("accuracy", "accuracy (%)"), ("learning_rate", "learning rate"))


@functools.wraps(training.fit)
def fit(*args: Any, **kwargs: Any) -> keras.callbacks.History:
    history = training.fit(*args, **kwargs)
    folder = kwargs.get("output") or kwargs.get("resume")
    if folder and pathlib.Path(folder, LOG_FILE).is_file():
        write_report(folder)
    return history


def train(model: str | None, data: str | None, recipe: str = "finetune", output: str | None = None, resume: str | None = None,
          **options: Any) -> str:
    """`fit`, with `runs/NAME.RECIPE` for an output that is not given; what came of it in a few lines.

    Raises: as `fit`, and ValueError where neither a net and data nor a folder to go on with is given.
    """
    if resume is None and (model is None or data is None):
        raise ValueError("expected a net and --data SOURCE, or --resume DIR")
    if resume is None and output is None:
        name = pathlib.Path(str(model)).name.removesuffix(".keras")
        output = os.path.join("runs", f"{name}.{recipe.replace('/', '-')}".lower())
    history = fit(model, data, recipe, output=output, resume=resume, **options)
    folder, found = pathlib.Path(str(resume or output)), history.history
    lines = [f"{len(found['loss'])} epochs; loss {found['loss'][-1]:.4f}, accuracy {found['accuracy'][-1]:.2%}"]
    if "val_accuracy" in found:
        best = max(range(len(found["val_accuracy"])), key=found["val_accuracy"].__getitem__)
        lines[0] += f"; validation {found['val_accuracy'][-1]:.2%}, best {found['val_accuracy'][best]:.2%} in epoch {best + 1}"
    files = [name for name in (BEST_MODEL, LAST_MODEL, "report.html") if (folder / name).is_file()]
    return "\n".join([*lines, *(str(folder / name) for name in files)])


def write_report(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes curves.png (with matplotlib) and report.html from a training's run.json and log.csv.

    Raises: FileNotFoundError where it has none yet; OSError.
    """
    place = pathlib.Path(folder)
    about = json.loads((place / RUN_FILE).read_text(encoding="utf-8"))
    with open(place / LOG_FILE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    drawing = curves(rows, html.INK)
    picture = curves(rows, "black")
    if picture is not None:
        with html.replaced(place / "curves.png") as new:
            picture.savefig(new, dpi=120, format="png")
    last = rows[-1]
    known = (("val_accuracy", "validation accuracy"), ("accuracy", "training accuracy"))
    facts = [(f"{float(last[name]):.2%}", title) for name, title in known if name in last]
    facts += [(f"{float(last['images_per_s']):.0f}", "images per second"), (f"{float(last['waiting']):.0%}", "waiting for input")]
    recipe, strategy = about["recipe"], about["strategy"]
    values = {**recipe["training"], **{f"model.{name}": value for name, value in recipe["model"].items()}}
    return html.write_page(place / "report.html", html.page(
        f"{about['net']} on {about['data']['name']}", html.tiles(*facts),
        *([html.section("Curves", html.figure(drawing))] if drawing is not None else []),
        html.section("Epochs", html.table(list(last), [list(row.values()) for row in rows])),
        html.section(f"Recipe {recipe['name']}", html.tag("p", about["learning_rate"]), html.table(
            ("field", "value", "source"), [(n, v, recipe["sources"].get(n, "")) for n, v in values.items()
                                           if n in recipe["sources"]])),
        html.section("How", html.table(("", ""), [*strategy.items(), ("seed", about["seed"]), *about["versions"].items()]),
                     html.tag("p", "To go on: ", html.tag("code", about["resume"]))),
        lead=f"{about['data']['images']:,} images, {len(rows)} epochs, recipe {recipe['name']}"))


def curves(rows: list[dict[str, str]], ink: str) -> Figure | None:
    """Loss, accuracy and learning rate over the epochs; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    epochs = [int(row["epoch"]) for row in rows]
    with html.use_ink(ink):
        drawing = Figure(figsize=(9, 7), layout="constrained")
        for axes, (name, title) in zip(drawing.subplots(len(CURVES), sharex=True), CURVES):
            for column, label in ((name, "training"), (f"val_{name}", "validation")):
                if column in rows[0]:
                    line = [(100 if name == "accuracy" else 1) * float(row[column]) for row in rows]
                    axes.plot(epochs, line, marker="." if len(rows) < 40 else "", label=label)
            axes.set_ylabel(title)
            axes.grid(alpha=0.2)
        drawing.axes[0].legend(frameon=False)
        drawing.axes[-1].set_xlabel("epoch")
    return drawing
