"""The page of a run of the demo."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import html
from .digits import CLASSES, Digits, SIZE

if TYPE_CHECKING:
    import keras


def build_report(result: dict[str, Any], model: keras.Model, cost: Any, test: Digits, expected: np.ndarray,
           ten: list[int]) -> html.Html:
    """The page of the run; every number on it was measured in the run."""
    accuracy, certificates, history, seconds = (result[k] for k in ("accuracy", "certificates", "history", "seconds"))
    labels = [str(c) for c in range(CLASSES)]
    guess = expected.argmax(1)
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (test.labels, guess), 1)
    wrong = np.flatnonzero(guess != test.labels)
    return html.page(
        f"{model.name} on handwritten digits",
        html.tiles((f"{accuracy['trained net']:.2%}", f"of {len(test)} test images"), (f"{cost.params:,}", "parameters"),
                   (f"{cost.macs / 1e6:.1f} M", "multiply-accumulates"),
                   (format_kilobytes(certificates["TFLite int8"].bytes), "as int8 TFLite"),
                   (f"{seconds['train']:.0f} s", f"training, {len(history['loss'])} epochs")),
        html.section("Learning curves", _curves(history), html.tag(
            "p", "Training images are augmented, so they are harder than those of the validation.", class_="small")),
        html.section("Artefacts", html.table(
            ("artefact", "size", "one image", "test accuracy", "same class as Keras", "largest difference"),
            [(name, format_kilobytes(c.bytes), f"{c.latency_ms:.2f} ms", f"{accuracy[name]:.2%}", f"{result['agreement'][name]:.2%}",
              f"{c.max_relative_difference:.0e}") for name, c in certificates.items()]),
            html.tag("p", "Each file was loaded by its own runtime and compared with Keras. Batch normalization was folded into "
                     "the convolutions first, except in the Keras file. Differences are relative to the largest output. "
                     "Latency is the median of single calls on this machine.", class_="small")),
        html.section("Ten test images through the int8 file", html.tag("div", class_="tiles", *(
            _digit(test, i, *format_top_labels(p)) for i, p in zip(ten, result["predictions"])))),
        html.section("Confusion matrix", html.confusion_matrix(counts, labels, "true"),
                     html.tag("p", "Rows are the true digit, columns what the trained net says.", class_="small")),
        html.section("What it gets wrong", html.tag("div", class_="tiles", *(
            _digit(test, i, f"{test.labels[i]}, taken", f"for {guess[i]}") for i in wrong[:40]))
            if len(wrong) else html.tag("p", "Nothing, of the test images.")),
        html.section("Time", html.table(("step", "seconds"), [(step, f"{s:.1f}") for step, s in seconds.items()]), html.tag(
            "p", " · ".join(f"{k} {v}" for k, v in certificates["TFLite"].versions.items()), class_="small")),
        lead=f"{len(test)} test images of scikit-learn's digits, {SIZE}x{SIZE} pixels.")


def _digit(test: Digits, i: int, *caption: str) -> html.Html:
    image = html.picture(test.pixels[i], 88, f"a handwritten {test.labels[i]}")
    return html.tag("figure", image, html.tag("figcaption", *(html.tag("div", line) for line in caption)))


def _curves(history: dict[str, list[float]]) -> html.Html:
    """Error and loss by epoch, on a logarithmic scale above the smallest tick: what is left to learn."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figures = []
    with html.use_ink(html.INK, 11):
        for key, name in (("accuracy", "error (%)"), ("loss", "loss")):
            drawing = Figure(figsize=(4.8, 3.2), layout="constrained")
            axes = drawing.subplots()
            for prefix, label, colour in (("", "training", "#e08a2e"), ("val_", "validation", "#2f7ed8")):
                values = np.asarray(history[prefix + key])
                values = 100 * (1 - values) if key == "accuracy" else values
                axes.plot(range(1, len(values) + 1), values, marker=".", label=label, color=colour)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_yscale("symlog", linthresh=1.0 if key == "accuracy" else 0.01)     # an error may be zero
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
            figures.append(html.figure(drawing))
    return html.tag("div", *figures, class_="pair")


def format_top_labels(prediction: dict[str, Any]) -> list[str]:
    """["3 99%", "5 1%"]: the two likeliest, but none below half a percent."""
    return [f"{p['label']} {p['score']:.0%}" for p in prediction["predictions"][:2] if p["score"] >= 0.005]


def format_kilobytes(number: int) -> str:
    return f"{number / 1000:,.0f} kB"
