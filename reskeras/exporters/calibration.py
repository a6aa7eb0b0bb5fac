"""Images that stand for those a net will see, through the net's own preprocessing: to calibrate and to compare on."""
from __future__ import annotations

import contextlib
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

if TYPE_CHECKING:
    from ..images.preprocessing import Preprocessing

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
MOST = 256          # images of a folder or data set; TensorFlow's guide asks for 100 to 500
FEWEST = 32         # to calibrate on
SLACK, SPAN = 0.01, 0.25    # of the range of the preprocessing: what may stick out of it, what must be covered


@dataclass(frozen=True)
class Samples:
    """Images as the net takes them, and their true classes where the source had them."""
    images: np.ndarray
    truth: np.ndarray | None = None


def samples(source: Any, prepare: Preprocessing | None, shape: tuple[int, int, int], most: int = MOST,
            progress: bool = False) -> Samples:
    """The images of `source`, prepared.

    Arguments:
        source: an array (N, height, width, channels), of uint8 pixels or of floats as the net takes them; a pair (images,
            classes); a folder of image files, at any depth; a list of files; a tf.data set of images or of pairs, batched or
            not.
        prepare: the net's preprocessing, None where nobody knows it.
        shape: (height, width, channels) that the net takes.
        most: images of a folder, a list or a data set; the files evenly picked.
    Raises: ValueError for images that are none, of another shape, not finite, all alike, or not through the preprocessing.
    """
    truth = None
    if isinstance(source, tuple) and len(source) == 2:
        source, truth = source[0], np.asarray(source[1])
    if isinstance(source, (str, os.PathLike)):
        source = listed(pathlib.Path(source), most)
    if hasattr(source, "element_spec"):
        images, truth = _of_dataset(source, most)
    elif isinstance(source, (list, tuple)) and source and isinstance(source[0], (str, os.PathLike)):
        images = _of_files(spread(list(source), most), needed(prepare), progress)
    else:
        images = array(source)
    if images.dtype == "uint8" and len(images):
        images = np.concatenate([needed(prepare)(images[i:i + 32]) for i in range(0, len(images), 32)])
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"images of shape {images.shape}: expected (N, {', '.join(map(str, shape))})")
    truth = None if truth is None else whole(truth, len(images))
    refuse(images, prepare)
    return Samples(images, truth)


def array(source: Any) -> np.ndarray:
    """Raises: ValueError for what is no array of numbers, such as a list of arrays of several shapes."""
    with contextlib.suppress(ValueError):
        images = np.asarray(source)
        if images.dtype.kind in "biuf":
            return images
    kind = type(source).__name__ + (f" of {type(source[0]).__name__}" if isinstance(source, (list, tuple)) else "")
    raise ValueError(f"a {kind}: expected an array of images (N, height, width, channels), a pair (images, classes), a folder, "
                     "a list of files or a tf.data set")


def whole(truth: np.ndarray, count: int) -> np.ndarray:
    """The classes of `count` images as numbers.  Raises: ValueError for others, such as one-hot rows or names."""
    if truth.dtype.kind not in "iuf" or truth.shape[1:] not in ((), (1,)) or np.any(truth != np.floor(truth)):
        raise ValueError(f"classes of shape {truth.shape} and type {truth.dtype}: expected whole numbers, one for each image")
    if len(truth) != count:
        raise ValueError(f"{len(truth)} classes for {count} images")
    return truth.reshape(-1)


def enough(images: np.ndarray, batch: int | None) -> None:
    """Raises: ValueError for too few images to scale integers by."""
    least = max(FEWEST, batch or 1)
    if len(images) < least:
        raise ValueError(f"{len(images)} images to calibrate on: at least {least} are needed, some hundred are better")


def needed(prepare: Preprocessing | None) -> Preprocessing:
    if prepare is None:
        raise ValueError("pixels or files were given, and the net does not say how they are prepared; give preprocess=, the "
                         "weights row that it was trained like, such as 'resnet50v1_5.a1_in1k', or images as the net takes them")
    return prepare


def listed(folder: pathlib.Path, most: int) -> list[str]:
    """The image files in a folder, at any depth.  Raises: FileNotFoundError, ValueError where there are none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of images")
    files = sorted(str(f) for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no image files ({', '.join(SUFFIXES)})")
    return spread(files, most)


def spread(items: list[Any], most: int) -> list[Any]:
    """At most `most` of the items, from the first to the last."""
    return items if len(items) <= most else [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]


def _of_files(files: list[Any], prepare: Preprocessing, progress: bool) -> np.ndarray:
    def prepared() -> Iterator[np.ndarray]:
        shown = files
        if progress:
            from tqdm import tqdm
            shown = tqdm(files, "reading", unit="image")
        for file in shown:
            try:
                yield prepare(file)
            except (OSError, ValueError) as error:
                raise ValueError(f"{os.fspath(file)}: {getattr(error, 'strerror', None) or error}") from error
    return np.concatenate(list(prepared()))


def _of_dataset(dataset: Any, most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The first images of a tf.data set, and their classes where it has pairs."""
    images: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    count = 0
    for element in dataset.as_numpy_iterator():
        some, *rest = element if isinstance(element, tuple) else (element,)
        if isinstance(some, dict) or np.ndim(some) not in (3, 4):
            raise ValueError(f"the data set's elements are {dataset.element_spec}: expected images (height, width, channels), "
                             "batches of them, or pairs with their classes")
        images.append(some if np.ndim(some) == 4 else some[None])
        truth += [label if np.ndim(some) == 4 else np.asarray(label)[None] for label in rest[:1]]
        count += len(images[-1])
        if count >= most:
            break
    if not images:
        raise ValueError("the data set is empty")
    return np.concatenate(images)[:most], np.concatenate(truth)[:most] if truth else None


def refuse(images: np.ndarray, prepare: Preprocessing | None) -> None:
    """Raises: ValueError for images that no net was trained on."""
    if not np.isfinite(images).all():
        raise ValueError(f"{int((~np.isfinite(images)).any((1, 2, 3)).sum())} of {len(images)} images hold numbers that are not "
                         "finite")
    if (len(images) > 1 and np.ptp(images, axis=0).max() == 0) or np.ptp(images, axis=(1, 2, 3)).max() == 0:
        raise ValueError("the images are constant: all of them are alike, or of one colour each")
    least, most = float(images.min()), float(images.max())
    if prepare is None:
        if least >= 0 and most > 64 and most <= 255:
            raise ValueError(f"the images reach from {least:g} to {most:g}, like pixels before any preprocessing; if the net "
                             "takes those, say so: preprocess=Preprocessing((height, width), 'raw')")
        return
    scale, offset = map(np.array, prepare.affine)
    low, high = float((offset).min()), float((255 * scale + offset).max())
    width = high - low
    if least < low - SLACK * width or most > high + SLACK * width or (
            most - least < SPAN * width) or (low < 0 <= least):
        raise ValueError(f"the images reach from {least:.3g} to {most:.3g}, and the net's preprocessing makes {low:.3g} to "
                         f"{high:.3g} of pixels: they have not been through it, as reskeras.preprocess(model) would do")
