"""Data sets of Hugging Face as sources: `datasets.Dataset`, `datasets.DatasetDict`, or hf:NAME[:SPLIT]."""
from __future__ import annotations

import os
import pathlib
import re
from typing import Any, Sequence

import numpy as np

from ..errors import ArgumentError, describe_error
from ..file_reading import read_bytes
from .indexed_images import IndexedImages
from .labels import WEIGHT_COLUMNS, read_labels, read_weights
from .source import DataSource

_IMAGE_NAMES, _LABEL_NAMES = ("image", "img", "pixels"), ("label", "labels", "fine_label", "target")
_SAVED = ("dataset_dict.json", "state.json")     # what `save_to_disk` writes
_ARRAYS = ("Array2D", "Array3D")


def is_hugging_face(data: Any) -> bool:
    """Whether `data` is an object of the package datasets."""
    return type(data).__module__.partition(".")[0] == "datasets"


def open_named(name: str, rest: str, splits: Sequence[str]) -> DataSource:
    """Opens hf:NAME[:SPLIT].

    Args:
        name: what the source is called in messages.
        rest: the name of a data set on the hub, or a folder that `save_to_disk` wrote; and a split.
        splits: the names of the split that is asked for, if `rest` has none.

    Raises:
        ImportError: without the package datasets.
        ValueError: if it cannot be opened, or has no image and label.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"{name} needs datasets: pip install \"reskeras[datasets]\"") from error
    match = re.fullmatch(r"(.+):([\w.]+)", rest)
    path, split = (match[1], match[2]) if match and not os.path.exists(rest) else (rest, "")
    folder = pathlib.Path(path).expanduser()
    try:
        if any((folder / file).is_file() for file in _SAVED):
            data = datasets.load_from_disk(str(folder))
        else:
            data = datasets.load_dataset(path)
    except Exception as error:      # it has errors of many kinds: of the hub, of files, of pyarrow
        raise ValueError(f"{name} cannot be opened ({describe_error(error)})") from error
    return open_hugging_face(name, data, (split,) if split else splits)


def open_hugging_face(name: str, data: Any, splits: Sequence[str], argument: str = "data") -> DataSource:
    """The images of a data set, which are read when they are needed.

    Args:
        name: what it is called in messages.
        data: a `datasets.Dataset` with a column of images, one of labels (a class, a list of classes, or
            numbers), and one called weight, if images have weights; or a `datasets.DatasetDict`.
        splits: the names of the split to take of a `DatasetDict`; the first one that it has.
        argument: the argument of the caller, for the errors.

    Raises:
        ArgumentError: for another object of datasets.
        ValueError: for a data set without such a split, or without an image and a label.
    """
    import datasets
    if isinstance(data, datasets.DatasetDict):
        known = [split for split in splits if split in data]
        if not known:
            raise ValueError(f"{name}: it has no split {' or '.join(splits)}, only {', '.join(data)}")
        data = data[known[0]]
    if not isinstance(data, datasets.Dataset):
        raise ArgumentError(argument, type(data).__name__, "a datasets.Dataset or a datasets.DatasetDict",
                            hint="load it without streaming=True")
    features = data.features
    image = _find_column(name, features, _IMAGE_NAMES, ("Image", *_ARRAYS))
    label = _find_column(name, {k: f for k, f in features.items() if k != image}, _LABEL_NAMES,
                         ("ClassLabel", "Value", "Sequence", "List"))
    labels, classes = _read_labels(name, data, label)
    weight = next((column for column in WEIGHT_COLUMNS if column in features and column != label), None)
    weights = None if weight is None else read_weights(name, _read_column(data, weight), len(data))
    return DataSource(name, _make_images(name, data, image), labels, classes, weights=weights)


def _read_column(data: Any, column: str) -> np.ndarray:
    return np.asarray(data.select_columns([column]).with_format("numpy")[:][column])


def _read_labels(name: str, data: Any, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of a column, and the names of the classes; of lists of classes 0 and 1 for each class."""
    feature = data.features[column]
    several = getattr(getattr(feature, "feature", None), "names", None)
    if several is None:
        return (read_labels(name, _read_column(data, column), len(data)),
                tuple(getattr(feature, "names", None) or ()))
    labels = np.zeros((len(data), len(several)), "int64")
    for row, numbers in zip(labels, data.select_columns([column]).with_format(None)[:][column]):
        if numbers is None or None in numbers or min(numbers, default=0) < 0:
            raise ValueError(f"{name}: the labels {numbers} in its column {column!r}; expected a list of "
                             "classes, which is empty for an image without a label")
        row[numbers] = 1
    return read_labels(name, labels, len(data)), tuple(several)


def _find_column(name: str, features: Any, names: Sequence[str], kinds: Sequence[str]) -> str:
    """The column of one of the names, or the only one of the first kind of which there is one."""
    for column in names:
        if column in features and type(features[column]).__name__ in kinds:
            return column
    for kind in kinds[:1] if kinds[0] == "ClassLabel" else kinds:
        columns = [column for column, feature in features.items() if type(feature).__name__ == kind]
        if len(columns) == 1:
            return columns[0]
    raise ValueError(f"{name}: expected a column {names[0]} of the kind {' or '.join(kinds[:2])}; it has "
                     + ", ".join(f"{column} ({type(f).__name__})" for column, f in features.items())
                     + f"; data.rename_column(NAME, {names[0]!r}) says which it is")


def _make_images(name: str, data: Any, column: str) -> IndexedImages:
    """The images of a column: files, or arrays of pixels."""
    import datasets
    feature, indices = data.features[column], np.arange(len(data))
    images = data.select_columns([column])
    if type(feature).__name__ in _ARRAYS:
        shape = tuple(feature.shape)
        if None in shape:
            raise ValueError(f"{name}: the arrays of {column} have the shape {shape}; expected one size")
        arrays = images.with_format("numpy")

        def read_array(index: int) -> np.ndarray:
            pixels: np.ndarray = np.asarray(arrays[index][column])
            return pixels[..., None] if pixels.ndim == 2 else pixels
        return IndexedImages(read_array, indices, shape if len(shape) == 3 else (*shape, 1),
                             np.dtype(feature.dtype).type)

    files = images.cast_column(column, datasets.Image(decode=False)).with_format(None)

    def read_file(index: int) -> bytes:
        file = files[index][column]
        return file["bytes"] if file["bytes"] is not None else read_bytes(file["path"])
    return IndexedImages(read_file, indices)
