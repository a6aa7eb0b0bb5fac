"""Images like those that a model will see, through its own preprocessing: to calibrate and to compare on."""
from __future__ import annotations

import contextlib
import os
import pathlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Iterator, TextIO

import numpy as np

from ..errors import ArgumentError, list_names
from ..images.image_files import IMAGE_SUFFIXES, find_image_files

if TYPE_CHECKING:
    from ..images.preprocessing import Preprocessing

MAX_IMAGES = 256        # of a folder or data set; TensorFlow's guide asks for 100 to 500
MIN_IMAGES = 32         # to calibrate on

# Parts of the preprocessing's range: how far images may reach beyond it, how much of it they must cover.
_SLACK, _MIN_SPAN = 0.01, 0.25


@dataclass(frozen=True)
class ImageSet:
    """Images as the model takes them, and their true classes if the source had them."""

    images: np.ndarray                  # float32 (N, height, width, channels)
    classes: np.ndarray | None = None   # (N,)


def load_images(source: Any, preprocessing: Preprocessing | None, shape: tuple[int, int, int],
                limit: int = MAX_IMAGES, verbose: bool | TextIO = False) -> ImageSet:
    """Loads the images of a source as the model takes them.

    Args:
        source: an array (N, height, width, channels) of uint8 pixels, or of floats as the model takes them; a
            pair (images, classes); a folder of image files, at any depth, of which those that cannot be read
            are left out with a warning; a list of files; a tf.data set of images or of such pairs, batched
            or not.
        preprocessing: the model's preprocessing; None if it is not known.
        shape: (height, width, channels) that the model takes.
        limit: the most images of a folder, a list or a data set; files are picked evenly.
        verbose: whether reading files shows a bar, or where to show it, instead of on stderr.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: these are no images, or they have another shape, are not finite, are all alike, or have
            not been through the preprocessing.
    """
    classes = None
    if isinstance(source, tuple) and len(source) == 2:
        source, classes = source[0], np.asarray(source[1])
    if is_folder := isinstance(source, (str, os.PathLike)):
        source = _find_image_files(pathlib.Path(source))

    are_files = isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, os.PathLike))
    if hasattr(source, "element_spec"):
        images, classes = _read_dataset(source, limit)
    elif are_files:
        images = _read_files(list(source), limit, _require_preprocessing(preprocessing), verbose, is_folder)
    else:
        images = _to_array(source)

    are_pixels = images.dtype == "uint8"
    if are_pixels and len(images):
        prepare = _require_preprocessing(preprocessing)
        images = np.concatenate([prepare(images[i:i + 32]) for i in range(0, len(images), 32)])
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"images of shape {images.shape}: expected (N, {', '.join(map(str, shape))})")
    if classes is not None:
        classes = _check_classes(classes, len(images))
    _check_values(images)
    if not (are_files or are_pixels):       # these have just been prepared, however dim or bright they are
        _check_preparation(images, preprocessing)
    return ImageSet(images, classes)


def check_image_count(images: np.ndarray, batch_size: int | None) -> None:
    """Raises: ValueError for too few images to choose int8 ranges from."""
    least = max(MIN_IMAGES, batch_size or 1)
    if len(images) < least:
        raise ValueError(f"{len(images)} images to calibrate on: at least {least} are needed, "
                         "some hundred are better")


def pick_evenly(items: list[Any], limit: int) -> list[Any]:
    """Picks at most `limit` of the items, evenly from the first to the last."""
    if len(items) <= limit:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).astype(int)]


def iterate_batches(images: np.ndarray, batch_size: int,
                    verbose: bool | TextIO = False) -> Iterator[np.ndarray]:
    """The images in full batches; those after the last full one are left out.  `verbose` shows a bar."""
    for i in _show_bar(range(0, len(images) - batch_size + 1, batch_size), "calibrating", "batch", verbose):
        yield images[i:i + batch_size]


def _show_bar(items: Iterable[Any], text: str, unit: str, verbose: bool | TextIO) -> Iterable[Any]:
    """The items, with a bar while they are iterated over, if `verbose` asks for one."""
    if not verbose:
        return items
    from tqdm import tqdm
    bar: Iterable[Any] = tqdm(items, text, unit=unit, file=None if verbose is True else verbose)
    return bar


def _to_array(source: Any) -> np.ndarray:
    """Raises: ValueError for anything but an array of numbers, such as a list of arrays of several shapes."""
    with contextlib.suppress(ValueError):
        images = np.asarray(source)
        if images.dtype.kind in "biuf":
            return images
    is_list = isinstance(source, (list, tuple)) and len(source) > 0
    kind = type(source).__name__ + (f" of {type(source[0]).__name__}" if is_list else "")
    raise ValueError(f"a {kind}: expected an array of images (N, height, width, channels), "
                     "a pair (images, classes), a folder, a list of files or a tf.data set")


def _check_classes(classes: np.ndarray, count: int) -> np.ndarray:
    """The classes of `count` images, (N,).  Raises: ValueError for others, such as one-hot rows or names."""
    is_whole = classes.dtype.kind in "iuf" and not np.any(classes != np.floor(classes))
    if not is_whole or classes.shape[1:] not in ((), (1,)):
        raise ValueError(f"classes of shape {classes.shape} and type {classes.dtype}: expected whole "
                         "numbers, one for each image")
    if len(classes) != count:
        raise ValueError(f"{len(classes)} classes for {count} images")
    return classes.reshape(-1)


def _require_preprocessing(preprocessing: Preprocessing | None) -> Preprocessing:
    """Raises: ArgumentError if it is not known."""
    if preprocessing is None:
        raise ArgumentError("preprocessing", None, "the checkpoint that the model was trained like, such as "
                            "'resnet50v1_5.a1_in1k', because pixels or files were given and the model does "
                            "not say how they are prepared", hint="or give images as the model takes them")
    return preprocessing


def _find_image_files(folder: pathlib.Path) -> list[str]:
    """The image files in a folder, at any depth.

    Raises: FileNotFoundError, ValueError if there are none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of images")
    found = find_image_files(folder)
    files = [str(file) for file in found.images]
    if files and found.others:
        warnings.warn(f"{list_names([str(file) for file in found.others])} are not images by their names and "
                      "are left out", stacklevel=3)
    if not files:
        raise ValueError(f"{folder} holds no image files ({', '.join(IMAGE_SUFFIXES)})")
    return files


def _read_files(files: list[Any], limit: int, preprocessing: Preprocessing, verbose: bool | TextIO,
                skips_unreadable: bool) -> np.ndarray:
    """The prepared images of some files, picked evenly.

    Raises:
        ValueError: the message names the file that cannot be read; if they are skipped, only if none can.
    """
    images: list[np.ndarray] = []
    unreadable: list[str] = []
    for file in _show_bar(pick_evenly(files, limit), "reading", "image", verbose):
        try:
            images.append(preprocessing(file))
        except (OSError, ValueError) as error:
            name = os.fspath(file)
            reason = str(getattr(error, "strerror", None) or error).removeprefix(f"{name} ")
            unreadable.append(f"{name}: {reason}")
            if not skips_unreadable:
                raise ValueError(unreadable[0]) from error
    if not images:
        raise ValueError(f"none of the images can be read; the first one is {unreadable[0]}")
    if unreadable:
        warnings.warn(f"{len(unreadable)} images could not be read and are left out: "
                      f"{list_names(unreadable)}", stacklevel=2)
    return np.concatenate(images)


def _read_dataset(dataset: Any, limit: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The first images of a tf.data set, and their classes if it has pairs."""
    images: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    count = 0
    for element in dataset.as_numpy_iterator():
        image, *labels = element if isinstance(element, tuple) else (element,)
        if isinstance(image, dict) or np.ndim(image) not in (3, 4):
            raise ValueError(f"the data set's elements are {dataset.element_spec}: expected images "
                             "(height, width, channels), batches of them, or pairs with their classes")
        is_batch = np.ndim(image) == 4
        images.append(image if is_batch else image[None])
        classes += [label if is_batch else np.asarray(label)[None] for label in labels[:1]]
        count += len(images[-1])
        if count >= limit:
            break
    if not images:
        raise ValueError("the data set is empty")
    return np.concatenate(images)[:limit], np.concatenate(classes)[:limit] if classes else None


def _check_values(images: np.ndarray) -> None:
    """Raises: ValueError for images that no model was trained on."""
    is_finite = np.isfinite(images)
    if not is_finite.all():
        count = int((~is_finite).any((1, 2, 3)).sum())
        raise ValueError(f"{count} of {len(images)} images hold numbers that are not finite")
    is_repeated = len(images) > 1 and np.ptp(images, axis=0).max() == 0
    if is_repeated or np.ptp(images, axis=(1, 2, 3)).max() == 0:
        raise ValueError("the images are constant: all of them are alike, or of one colour each")


def _check_preparation(images: np.ndarray, preprocessing: Preprocessing | None) -> None:
    """Raises: ValueError for floats that are not what the preprocessing makes of pixels."""
    first, last = float(images.min()), float(images.max())
    if preprocessing is None:
        _, height, width, channels = images.shape
        if not (first >= 0 and 64 < last <= 255):
            return
        if channels not in (1, 3):      # there is no `Preprocessing` that says so
            warnings.warn(f"the images reach from {first:g} to {last:g}, like pixels before any "
                          "preprocessing; if the model does not take those, give images as it takes them",
                          stacklevel=2)
        else:
            scaling = "" if channels == 3 else ", mean=(0.0,), std=(1.0,)"
            raise ValueError(f"the images reach from {first:g} to {last:g}, like pixels before any "
                             "preprocessing; if the model takes those, say so: give reskeras.Preprocessing"
                             f"(({height}, {width}), 'raw'{scaling}, crop_pct=1.0) as `preprocessing`")
        return

    scale, offset = map(np.array, preprocessing.scale_and_offset)
    low, high = float(offset.min()), float((255 * scale + offset).max())
    width = high - low
    reaches_beyond = first < low - _SLACK * width or last > high + _SLACK * width
    covers_little = last - first < _MIN_SPAN * width
    lacks_negatives = low < 0 <= first
    if reaches_beyond or covers_little or lacks_negatives:
        raise ValueError(f"the images reach from {first:.3g} to {last:.3g}, and the model's preprocessing "
                         f"makes {low:.3g} to {high:.3g} of pixels: they have not been through it, as "
                         "reskeras.get_preprocessing(model) would do")
