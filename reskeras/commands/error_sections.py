"""Sections of a page about what a classifier gets wrong: the confusion matrix, and the images."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from . import html
from .classifier import Classifier, scale_scores
from .tallies import ClassTally, make_tally

if TYPE_CHECKING:
    import keras

    from ..train.data import ImageDataset

MAX_CLASSES = 30        # of a matrix; of more classes the most frequent mistakes are listed
MAX_IMAGES = 40         # that are shown
MAX_ROWS = 200          # classes of the table
MAX_VALIDATED = 10_000  # images of which the report of a training tells the mistakes

Draw = Callable[[int], html.Html]       # index of an image -> its picture


def make_error_sections(names: Sequence[str], labels: np.ndarray, predicted: np.ndarray, draw: Draw,
                        note: str = "") -> list[html.Html]:
    """The confusion matrix, and the images that get a wrong class.

    Args:
        names: the names of the classes.
        labels: (N,), the true classes.
        predicted: (N,), the classes that the net says.
        draw: makes the picture of image i; it is called for wrong ones only.
        note: a sentence about the images.
    """
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, predicted), 1)
    wrong = np.flatnonzero(predicted != labels)
    if len(names) <= MAX_CLASSES:
        matrix = html.confusion_matrix(counts, names, "true")
        note = f"Rows are the true class, columns what the net says. {note}"
    else:
        np.fill_diagonal(counts, 0)
        most = [divmod(int(i), len(names)) for i in np.argsort(-counts, axis=None, kind="stable")[:20]]
        rows = [(names[true], names[said], counts[true, said]) for true, said in most if counts[true, said]]
        matrix = html.table(("true", "the net says", "images"), rows, wraps=True)
        note = f"The most frequent mistakes. {note}"
    errors = html.tag("p", "None of the images.")
    if len(wrong):
        figures = [_draw_error(draw(i), names[labels[i]], names[predicted[i]]) for i in wrong[:MAX_IMAGES]]
        errors = html.tag("div", *figures, class_="tiles")
    return [html.section("Confusion matrix", matrix, html.tag("p", note.strip(), class_="small")),
            html.section("What it gets wrong", errors)]


def _draw_error(picture: html.Html, label: str, said: str) -> html.Html:
    lines = (html.tag("div", f"{label}, taken"), html.tag("div", f"for {said}"))
    return html.tag("figure", picture, html.tag("figcaption", *lines))


def make_validation_sections(model: keras.Model, validation: ImageDataset) -> list[html.Html]:
    """What is measured of the validation images of a training, of the first MAX_VALIDATED of them.

    A table of the classes, labels or numbers; and of classes the confusion matrix and the wrong images.
    """
    from ..exporters.keras_file import make_array_function
    from ..model_metadata import get_metadata
    from ..train.classifier import find_final_activation
    metadata, names = get_metadata(model), [
        name for _, name in get_metadata(model).get_classes(model.output_shape[-1])]
    net = Classifier(model.name, make_array_function(model), tuple(model.input_shape[1:]), metadata,
                     find_final_activation(model) == "linear")
    tally = make_tally(metadata.task or "multiclass", names, 0.5)
    labels: list[int] = []
    predicted: list[int] = []
    pictures: dict[int, html.Html] = {}
    for images, truth, *_ in validation.iterate_batches():
        arrays, true = images.numpy(), truth.numpy()
        scores = scale_scores(net, net.run(arrays))
        tally.add(true, scores)
        best = scores.argmax(-1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(int)
        if true.ndim > 1:       # probabilities, or of no single class
            true = true.argmax(-1) if true.shape[1] > 1 else (true[:, 0] > 0.5).astype(int)
        if isinstance(tally, ClassTally):
            for i in np.flatnonzero(best != true):
                if len(pictures) < MAX_IMAGES:
                    pictures[len(labels) + int(i)] = _draw_prepared(arrays[i], metadata.preprocessing,
                                                                     len(pictures))
        labels += true.tolist()
        predicted += best.tolist()
        if len(labels) >= MAX_VALIDATED:
            break
    sections = [_make_table(tally.measure(str))]
    if isinstance(tally, ClassTally):
        sections += make_error_sections(names, np.array(labels), np.array(predicted), pictures.__getitem__,
                                        f"{len(labels):,} validation images.")
    return sections


def _make_table(result: Mapping[str, Any]) -> html.Html:
    """A line for each class, label or number, and how well the scores are calibrated."""
    rows = result["per_class"][:MAX_ROWS]
    cells = [["-" if value is None else f"{value:.3f}" if isinstance(value, float) else value
              for value in row.values()] for row in rows]
    calibration = result.get("calibration")
    note = [html.tag("p", f"Expected calibration error: {calibration['ece']:.4f}.", class_="small")
            ] if calibration else []
    return html.section("In detail", html.table([key.replace("_", " ") for key in rows[0]], cells), *note)


def _draw_prepared(image: np.ndarray, preprocessing: Any, number: int) -> html.Html:
    """The picture of an image as the net takes it, with its own darkest and brightest value."""
    channels = image[..., ::-1] if preprocessing is not None and preprocessing.is_bgr else image
    low, high = float(channels.min()), float(channels.max())
    pixels = ((channels - low) * (255 / max(high - low, 1e-6))).astype("uint8")
    return html.picture(pixels if pixels.shape[-1] in (1, 3) else pixels[..., 0], 88,
                        f"validation image {number}")
