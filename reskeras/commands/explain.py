"""`explain`: a page about one image and one net: where the net looks, its maps and its first filters."""
from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import check_whole_number
from ..remote_paths import exists
from ..terminal import print_text
from . import html
from .open_model import ModelName, check_trained_model, open_trained_model

if TYPE_CHECKING:
    import keras

Path = str | os.PathLike[str]

CHANNELS = 32           # maps of a stage that are shown
FILTERS = 64            # first filters that are shown
TILE, GAP = 56, 2       # pixels of a map in a grid, and between two
# Dark blue, teal, yellow, red at 0, 1/3, 2/3, 1
HEAT = np.array([[28, 32, 92], [32, 150, 168], [248, 214, 72], [214, 40, 40]], "float32")


def explain(model: ModelName | keras.Model, image: Path, output: Path = "explain.html", *, top: int = 3,
            preprocessing: Any = None, labels: Any = None) -> pathlib.Path:
    """Writes a page with Grad-CAM for the likeliest classes, the strongest maps, and the first filters.

    Args:
        model: the name of a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default
            weights), a `.keras` file, or a keras.Model.
        image: the path of an image file, as in `reskeras.predict`.
        output: the page, an .html file.
        top: how many classes.
        preprocessing: as in `reskeras.predict`.
        labels: as in `reskeras.predict`.

    Returns:
        The path of the page.

    Raises:
        ValueError: for a net that is not an image classifier or whose preprocessing is not known, a file that
            is no image, or an `output` with a suffix other than .html.
        OSError: if a file cannot be read or written.

    Example:
        >>> reskeras.explain("cifar_resnet20.digits", "three.png", "three.html")
        PosixPath('three.html')
    """
    top = check_whole_number("top", top)
    html.check_suffix(output)
    check_trained_model(model)
    if not exists(image):
        raise FileNotFoundError(f"{os.fspath(image)}: no such file")

    from .classifier import open_classifier, prepare_image, to_probabilities
    from .grad_cam import compute_grad_cam, get_first_filters
    net = open_trained_model(model)
    classifier = open_classifier(net)
    metadata = classifier.metadata.override(preprocessing, labels)
    prepare = metadata.get_preprocessing(classifier.shape, classifier.name)
    try:
        prepared = prepare_image(image, prepare)
    except ValueError as error:
        raise ValueError(f"{os.fspath(image)}: {error}") from error
    inside = compute_grad_cam(net, prepared, top=top)
    scores = to_probabilities(inside.scores, classifier.name)
    classes = metadata.get_classes(len(scores))

    shown = np.clip(prepare_image(image, prepare.without_scaling())[0], 0, 255).astype("uint8")
    captions = {i: f"{classes[i][1]} {scores[i]:.1%}" for i in inside.cams}
    pictures = [_captioned(shown, "the image as the net takes it")]
    pictures += [_captioned(_overlay(shown, cam), captions[i]) for i, cam in inside.cams.items()]
    filters = get_first_filters(net)
    return html.write_page(output, html.page(
        f"{net.name} on {pathlib.Path(image).name}",
        html.section("Where it looks", html.tag("div", *pictures, class_="pictures"),
                     _note(f"Grad-CAM (arXiv:1610.02391) of {inside.layer}: red is what speaks for the "
                           f"class; what speaks "
                           "against it is not shown.")),
        html.section("What its stages see",
                     *(_stage_figure(name, maps) for name, maps in inside.maps.items()),
                     _note("The maps with the largest mean, each scaled to its own range.")),
        *([_filters_section(*filters, prepare.is_bgr)] if filters else []),
        lead=f"Likeliest: {', '.join(captions.values())}", style="explain.css"))


def print_result(page: pathlib.Path) -> int:
    """Prints the path of the page.  Returns: the exit code."""
    print_text(page)
    return 0


def _note(text: str) -> html.Html:
    return html.tag("p", text, class_="small")


def _captioned(pixels: np.ndarray, caption: str) -> html.Html:
    return html.tag("figure", html.picture(pixels, 240, caption), html.tag("figcaption", caption))


def _stage_figure(name: str, maps: np.ndarray) -> html.Html:
    """The maps (height, width, channels) of a stage that have the largest mean."""
    strongest = np.argsort(-maps.mean((0, 1)), kind="stable")[:CHANNELS]
    tiles = [apply_colormap(_scale_to_unit(maps[..., i])) for i in strongest]
    height, width, number = maps.shape
    return html.tag("figure", html.picture(make_mosaic(tiles), 560, f"maps of {name}"),
                    html.tag("figcaption", f"{name}: {len(tiles)} of {number} maps of {height}x{width}"))


def _filters_section(name: str, kernel: np.ndarray, is_bgr: bool) -> html.Html:
    height, width, _, number = kernel.shape
    tiles = filter_tiles(kernel, is_bgr)
    return html.section("The first filters", html.picture(make_mosaic(tiles), 560, f"filters of {name}"),
                        _note(f"{name}: {len(tiles)} of {number} filters of {height}x{width}; gray is 0."))


def _scale_to_unit(values: np.ndarray) -> np.ndarray:
    """Scales to 0 .. 1; a constant becomes 0."""
    low, high = values.min(), values.max()
    scaled: np.ndarray = (values - low) / ((high - low) or 1)
    return scaled


def apply_colormap(values: np.ndarray) -> np.ndarray:
    """Values in 0 .. 1 of any shape -> RGB bytes of the colors of HEAT, with a last axis of 3."""
    position = np.clip(values, 0, 1).astype("float32") * (len(HEAT) - 1)
    low = np.minimum(position.astype(int), len(HEAT) - 2)
    colors: np.ndarray = HEAT[low] + (position - low)[..., None] * (HEAT[low + 1] - HEAT[low])
    return colors.astype("uint8")


def _overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The image in gray under the class activation map in color, both in the size of the image."""
    gray = image.astype("float32").mean(-1, keepdims=True)
    mixed: np.ndarray = 0.5 * gray + 0.5 * apply_colormap(resize_bilinear(cam, image.shape[:2]))
    return mixed.astype("uint8")


def resize_bilinear(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resizes (height, width, ...) to `shape` with bilinear interpolation between the centers of cells."""
    for axis, size in enumerate(shape[:2]):
        old_size = values.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * old_size / size - 0.5, 0, old_size - 1)
        low = np.minimum(position.astype(int), max(old_size - 2, 0))
        share = np.expand_dims(position - low, 1 - axis)
        upper = np.take(values, np.minimum(low + 1, old_size - 1), axis)
        values = np.take(values, low, axis) * (1 - share) + upper * share
    return values


def filter_tiles(kernel: np.ndarray, is_bgr: bool) -> list[np.ndarray]:
    """The first filters as RGB images: in color for three channels, otherwise their mean; gray is 0.

    Each has its own scale.

    Args:
        kernel: (height, width, channels, filters).
        is_bgr: whether the net takes BGR images.
    """
    if kernel.shape[2] != 3:
        kernel = kernel.mean(2, keepdims=True).repeat(3, 2)
    elif is_bgr:
        kernel = kernel[:, :, ::-1]
    largest = np.abs(kernel).max((0, 1, 2), keepdims=True)
    pixels = (127.5 + 127.5 * kernel / np.where(largest, largest, 1)).astype("uint8")
    return [pixels[..., i] for i in range(min(FILTERS, kernel.shape[-1]))]


def make_mosaic(tiles: list[np.ndarray], columns: int = 8) -> np.ndarray:
    """Tiles (height, width, 3) of one shape as one image, each about TILE pixels wide, on white."""
    height, width = tiles[0].shape[:2]
    scale = max(1, round(TILE / max(height, width)))
    height, width = height * scale + GAP, width * scale + GAP
    rows = -(-len(tiles) // columns)
    mosaic = np.full((rows * height - GAP, min(columns, len(tiles)) * width - GAP, 3), 255, "uint8")
    for i, tile in enumerate(tiles):
        y, x = i // columns * height, i % columns * width
        mosaic[y:y + height - GAP, x:x + width - GAP] = tile.repeat(scale, 0).repeat(scale, 1)
    return mosaic
