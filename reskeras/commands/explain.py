"""A page about one image and one net: where the net looks, what its stages and its first filters show."""
from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from . import html
from .open_model import open_trained_model
from .predict import Path, open_classifier, to_probabilities, read_image

if TYPE_CHECKING:
    import keras

TILE, GAP = 56, 2       # pixels of a map in a grid, and between two
# Dark blue, teal, yellow, red at 0, 1/3, 2/3, 1
HEAT = np.array([[28, 32, 92], [32, 150, 168], [248, 214, 72], [214, 40, 40]], "float32")


def explain(image: Path, model: Path | keras.Model, output: Path, *, top: int = 3, channels: int = 32, preprocessing: Any = None,
            labels: Any = None) -> pathlib.Path:
    """Writes a page with Grad-CAM for the likeliest classes, the strongest maps of every stage, and the first filters.

    Arguments:
        image: path of a JPEG, PNG, GIF (first frame), BMP or WebP file.
        model: a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default ones), a `.keras` file, or a model.
        output: an .html file.
        top: how many classes.
        channels: how many maps of a stage.
        preprocessing, labels: as in `reskeras.commands.predict.predict`.
    Returns: the path of the page.
    Raises: ValueError for a net that is no image classifier or whose preprocessing nobody knows, or a file that is no image;
        OSError.
    """
    from .grad_cam import get_first_filters, compute_grad_cam
    for name, value in (("top", top), ("channels", channels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: expected a whole number of at least 1")
    net = open_trained_model(model)
    known = open_classifier(net)
    memory, pixels = known.metadata.override(preprocessing, labels), read_image(image)
    prepare = memory.prepare(known.shape, known.name)
    inside = compute_grad_cam(net, prepare(pixels), top=top)
    scores = to_probabilities(inside.scores, known.name)
    classes = memory.classes(len(scores))
    shown = np.clip(prepare.without_scaling()(pixels)[0], 0, 255).astype("uint8")
    filters = get_first_filters(net)
    cams = [_captioned(shown, "the image as the net takes it")]
    cams += [_captioned(_overlay(shown, cam), f"{classes[i][1]} {scores[i]:.1%}") for i, cam in inside.cams.items()]
    return html.write_page(output, html.page(
        f"{net.name} on {pathlib.Path(image).name}",
        html.section("Where it looks", html.tag("div", *cams, class_="pictures"),
                     _note(f"Grad-CAM (arXiv:1610.02391) of {inside.layer}: red is what speaks for the class; what speaks against "
                          "it is left out.")),
        html.section("What its stages see", *(_stage_figure(name, maps, channels) for name, maps in inside.maps.items()),
                     _note("The maps with the largest mean, each scaled to its own range.")),
        *([_filters_section(*filters, prepare.is_bgr)] if filters else []),
        lead="Likeliest: " + ", ".join(f"{classes[i][1]} {scores[i]:.1%}" for i in inside.cams), style="look.css"))


def _note(text: str) -> html.Html:
    return html.tag("p", text, class_="small")


def _captioned(pixels: np.ndarray, caption: str) -> html.Html:
    return html.tag("figure", html.picture(pixels, 240, caption), html.tag("figcaption", caption))


def _stage_figure(name: str, maps: np.ndarray, channels: int) -> html.Html:
    strongest = np.argsort(-maps.mean((0, 1)), kind="stable")[:channels]
    tiles = [apply_colormap(_scaled(maps[..., i])) for i in strongest]
    height, width, number = maps.shape
    return html.tag("figure", html.picture(make_mosaic(tiles), 560, f"maps of {name}"),
                    html.tag("figcaption", f"{name}: {len(tiles)} of {number} maps of {height}x{width}"))


def _filters_section(name: str, kernel: np.ndarray, reverses: bool) -> html.Html:
    height, width, _, number = kernel.shape
    tiles = filter_tiles(kernel, reverses)
    return html.section("The first filters", html.picture(make_mosaic(tiles), 560, f"filters of {name}"),
                        _note(f"{name}: {len(tiles)} of {number} filters of {height}x{width}; grey is 0."))


def _scaled(values: np.ndarray) -> np.ndarray:
    """To 0 .. 1; a constant becomes 0."""
    low, high = values.min(), values.max()
    return (values - low) / ((high - low) or 1)


def apply_colormap(values: np.ndarray) -> np.ndarray:
    """0 .. 1 to bytes of HEAT."""
    place = np.clip(values, 0, 1).astype("float32") * (len(HEAT) - 1)
    low = np.minimum(place.astype(int), len(HEAT) - 2)
    return (HEAT[low] + (place - low)[..., None] * (HEAT[low + 1] - HEAT[low])).astype("uint8")


def _overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The image in grey under the cam in colour, both of the image's size."""
    grey = image.astype("float32").mean(-1, keepdims=True)
    return (0.5 * grey + 0.5 * apply_colormap(resize_bilinear(cam, image.shape[:2]))).astype("uint8")


def resize_bilinear(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bilinear, between the centres of the cells."""
    for axis, size in enumerate(shape[:2]):
        old = values.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.minimum(place.astype(int), max(old - 2, 0))
        part = np.expand_dims(place - low, 1 - axis)
        values = np.take(values, low, axis) * (1 - part) + np.take(values, np.minimum(low + 1, old - 1), axis) * part
    return values


def filter_tiles(kernel: np.ndarray, reverses: bool, number: int = 64) -> list[np.ndarray]:
    """Filters of three channels in colour, others as the mean over theirs; grey is 0, and each has its own scale."""
    three = kernel.shape[2] == 3
    kernel = kernel[:, :, ::-1] if three and reverses else kernel if three else kernel.mean(2, keepdims=True).repeat(3, 2)
    largest = np.abs(kernel).max((0, 1, 2), keepdims=True)
    bytes_ = (127.5 + 127.5 * kernel / np.where(largest, largest, 1)).astype("uint8")
    return [bytes_[..., i] for i in range(min(number, kernel.shape[-1]))]


def make_mosaic(tiles: list[np.ndarray], columns: int = 8) -> np.ndarray:
    """Tiles (h, w, 3) of one shape side by side, each about TILE pixels wide, on white."""
    height, width = tiles[0].shape[:2]
    times = max(1, round(TILE / max(height, width)))
    height, width = height * times + GAP, width * times + GAP
    rows = -(-len(tiles) // columns)
    whole = np.full((rows * height - GAP, min(columns, len(tiles)) * width - GAP, 3), 255, "uint8")
    for i, tile in enumerate(tiles):
        y, x = i // columns * height, i % columns * width
        whole[y:y + height - GAP, x:x + width - GAP] = tile.repeat(times, 0).repeat(times, 1)
    return whole
