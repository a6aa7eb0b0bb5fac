"""Sections of a page about what a classifier gets wrong: the confusion matrix, and the images."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from . import html

if TYPE_CHECKING:
    import keras

    from ..train.data import ImageDataset

MAX_CLASSES = 30        # of a matrix; of more classes the most frequent mistakes are listed
MAX_IMAGES = 40         # that are shown
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
    """The error sections of the validation images of a training, of the first MAX_VALIDATED of them.

    None if the images have several labels, or numbers.
    """
    from ..exporters.keras_file import make_array_function
    from ..model_metadata import get_metadata
    from ..train.classifier import find_final_activation
    run, metadata = make_array_function(model), get_metadata(model)
    if metadata.task in ("multilabel", "regression"):
        return []
    classes = metadata.get_classes(model.output_shape[-1])
    threshold = 0.0 if find_final_activation(model) == "linear" else 0.5
    labels: list[int] = []
    predicted: list[int] = []
    pictures: dict[int, html.Html] = {}
    for images, truth, *_ in validation.iterate_batches():
        arrays, scores, true = images.numpy(), run(images.numpy()), truth.numpy()
        best = scores.argmax(-1) if scores.shape[1] > 1 else (scores[:, 0] > threshold).astype(int)
        if true.ndim > 1:       # probabilities
            true = true.argmax(-1) if true.shape[1] > 1 else (true[:, 0] > 0.5).astype(int)
        for i in np.flatnonzero(best != true):
            if len(pictures) < MAX_IMAGES:
                pictures[len(labels) + int(i)] = _draw_prepared(arrays[i], metadata.preprocessing,
                                                                 len(pictures))
        labels += true.tolist()
        predicted += best.tolist()
        if len(labels) >= MAX_VALIDATED:
            break
    return make_error_sections([name for _, name in classes], np.array(labels), np.array(predicted),
                               pictures.__getitem__, f"{len(labels):,} validation images.")


def _draw_prepared(image: np.ndarray, preprocessing: Any, number: int) -> html.Html:
    """The picture of an image as the net takes it, with its own darkest and brightest value."""
    channels = image[..., ::-1] if preprocessing is not None and preprocessing.is_bgr else image
    low, high = float(channels.min()), float(channels.max())
    pixels = ((channels - low) * (255 / max(high - low, 1e-6))).astype("uint8")
    return html.picture(pixels if pixels.shape[-1] in (1, 3) else pixels[..., 0], 88,
                        f"validation image {number}")
