"""The page of a run of the demo."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import html
from .digits import CLASSES, Digits, SIZE
from .error_sections import make_error_sections

if TYPE_CHECKING:
    import keras


def build_report(result: dict[str, Any], model: keras.Model, cost: Any, test: Digits, scores: np.ndarray,
                 examples: list[int]) -> html.Html:
    """The page of a run; every number on it was measured in the run.

    Args:
        result: what `demo` returns.
        model: the trained net.
        cost: cost of the net.
        test: the test images.
        scores: (N, classes), of the trained net for the test images.
        examples: indices of the test images that were classified by the int8 file.
    """
    accuracy, reports = result["accuracy"], result["reports"]
    history, seconds = result["history"], result["seconds"]
    digits = [_digit(test, i, *format_top_labels(prediction))
              for i, prediction in zip(examples, result["predictions"])]
    return html.page(
        f"{model.name} on handwritten digits",
        html.tiles((f"{accuracy['trained net']:.2%}", f"of {len(test)} test images"),
                   (f"{cost.params:,}", "parameters"),
                   (f"{cost.macs / 1e6:.1f} M", "multiply-accumulates"),
                   (format_kilobytes(reports["TFLite int8"].bytes), "as int8 TFLite"),
                   (f"{seconds['train']:.0f} s", f"training, {len(history['loss'])} epochs")),
        html.section("Learning curves", _curves(history),
                     _note("Training images are augmented, so they are harder than the validation images.")),
        _files_section(result),
        html.section("Ten test images through the int8 file", html.tag("div", *digits, class_="tiles")),
        *_error_sections(test, scores.argmax(1)),
        html.section("Time",
                     html.table(("step", "seconds"), [(step, f"{s:.1f}") for step, s in seconds.items()]),
                     _note(" · ".join(f"{name} {version}"
                                      for name, version in reports["TFLite"].versions.items()))),
        lead=f"{len(test)} test images of scikit-learn's digits, {SIZE}x{SIZE} pixels.")


def _note(text: str) -> html.Html:
    return html.tag("p", text, class_="small")


def _files_section(result: dict[str, Any]) -> html.Html:
    """What each exported file does."""
    header = ("file", "size", "one image", "test accuracy", "same class as Keras", "largest difference")
    rows = [(name, format_kilobytes(report.bytes), f"{report.latency_ms:.2f} ms",
             f"{result['accuracy'][name]:.2%}",
             f"{result['agreement'][name]:.2%}", f"{report.max_relative_difference:.0e}")
            for name, report in result["reports"].items()]
    return html.section("Files", html.table(header, rows), _note(
        "Each file was loaded by its own runtime and compared with Keras. Batch normalization was folded "
        "into the "
        "convolutions first, except in the Keras file. Differences are relative to the largest output. "
        "Latency is the "
        "median of single calls on this machine."))


def _error_sections(test: Digits, predicted: np.ndarray) -> list[html.Html]:
    """The confusion matrix, and the images that get a wrong class."""
    return make_error_sections(
        [str(label) for label in range(CLASSES)], test.labels, predicted,
        lambda i: html.picture(test.pixels[i], 88, f"a handwritten {test.labels[i]}"))


def _digit(test: Digits, i: int, *caption: str) -> html.Html:
    image = html.picture(test.pixels[i], 88, f"a handwritten {test.labels[i]}")
    return html.tag("figure", image, html.tag("figcaption", *(html.tag("div", line) for line in caption)))


def _curves(history: dict[str, list[float]]) -> html.Html:
    """Draws error and loss by epoch, on a logarithmic scale above the smallest tick."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figures = []
    with html.use_ink(html.INK, 11):
        for key, name in (("accuracy", "error (%)"), ("loss", "loss")):
            drawing = Figure(figsize=(4.8, 3.2), layout="constrained")
            axes = drawing.subplots()
            for prefix, label, color in (("", "training", "#e08a2e"), ("val_", "validation", "#2f7ed8")):
                values = np.asarray(history[prefix + key])
                values = 100 * (1 - values) if key == "accuracy" else values
                axes.plot(range(1, len(values) + 1), values, marker=".", label=label, color=color)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_yscale("symlog", linthresh=1.0 if key == "accuracy" else 0.01)     # an error may be zero
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
            figures.append(html.figure(drawing))
    return html.tag("div", *figures, class_="pair")


def format_top_labels(prediction: dict[str, Any]) -> list[str]:
    """Formats the two likeliest classes as ["3 99%", "5 1%"], but none below half a percent."""
    return [f"{p['label']} {p['score']:.0%}" for p in prediction["predictions"][:2] if p["score"] >= 0.005]


def format_kilobytes(number: int) -> str:
    """A number of bytes in kB."""
    return f"{number / 1000:,.0f} kB"
