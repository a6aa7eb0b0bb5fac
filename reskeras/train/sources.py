"""Where images come from.

A source is one of folder:PATH, table:FILE, tfrecord:GLOB, packed:FOLDER, tfds:NAME, hf:NAME, npz:FILE,
cifar10, cifar100, digits, arrays, or a dataset of TensorFlow, Keras or Hugging Face.  A path may be a URL,
see remote_paths.py, except that of a packed store.
"""
from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, check_choice, list_names
from ..file_reading import open_npz, read_bytes
from ..images.image_files import find_image_files, is_hidden
from ..images.labels import get_label_set
from ..remote_paths import exists, to_url
from . import tfrecord
from .labels import read_labels, read_weights
from .dataset_source import is_dataset, open_dataset, refuse_generator
from .hugging_face import is_hugging_face, open_hugging_face, open_named
from .packed_images import open_packed
from .remote_folder import open_remote_folder
from .source import DataSource, check_label_offset
from .table_source import open_table

_MAX_BYTES = 2 ** 30        # of a file of CIFAR, which has up to 154 MB
# split -> its names in folders and tfds
_SPLITS = {"train": ("train",), "test": ("test", "val", "validation"),
           "validation": ("val", "validation", "test")}
_GRAMMAR = ("folder:PATH, table:FILE, tfrecord:GLOB, packed:FOLDER, tfds:NAME, hf:NAME[:SPLIT], npz:FILE, "
            "cifar10[:FILE or FOLDER], cifar100[:FILE or FOLDER], digits, (images, labels) or a dataset")


def open_source(data: Any, split: str = "train", argument: str = "data",
                label_offset: int | None = None) -> DataSource:
    """The images that `data` names.

    Args:
        data: a string, see the top of this file; (images, labels) or (images, labels, weights) with uint8
            images (N, height, width, channels); or a `DataSource`, which is returned as it is.
        split: "train", "validation" or "test", if there are several: the folders train, val and test, the
            splits of tfds, x_train, x_val and x_test in an .npz file.  If there is none for validation, the
            one for tests is taken, and the other way round.
        argument: the argument of the caller that has the value `data`, for the errors.
        label_offset: the label of the first class in TFRecord files, 0 or 1; by default 0 if the label 0
            occurs, else 1.

    Raises:
        ArgumentError: for an unknown string, and for a `label_offset` where there are no TFRecord files.
        ValueError: for images or labels of a wrong form.
        FileNotFoundError: if the files do not exist.
        ImportError: if a package is missing.
    """
    check_choice("split", split, _SPLITS)
    label_offset = check_label_offset(label_offset)
    if label_offset is not None and not has_records(data):
        raise ArgumentError("label_offset", label_offset, f"None, because {argument} are no TFRecord files")
    if isinstance(data, DataSource):
        return data
    if is_hugging_face(data):
        return open_hugging_face(type(data).__name__, data, _SPLITS[split], argument)
    if is_dataset(data):
        return open_dataset(data, argument)
    refuse_generator(data, argument)
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return from_arrays("arrays", data[0], data[1], weights=data[2] if len(data) == 3 else None)
    if not isinstance(data, str):
        raise ArgumentError(argument, data, _GRAMMAR)
    kind, colon, rest = data.partition(":")
    needs_rest = kind in ("folder", "table", "tfrecord", "packed", "tfds", "hf", "npz")
    kinds = (*_READERS, "tfrecord")
    if kind not in kinds or bool(colon) != bool(rest) or not rest and needs_rest:
        raise ArgumentError(argument, data, _GRAMMAR, () if kind in kinds else kinds)
    if rest and kind == "digits":
        raise ArgumentError(argument, data, "digits, without a path")
    if kind == "tfrecord":
        return tfrecord.open_records(data, rest, label_offset)
    return _READERS[kind](data, rest, split)


def has_records(data: Any) -> bool:
    """Whether `data` names TFRecord files."""
    return isinstance(data, str) and data.startswith("tfrecord:")


def from_arrays(name: str, images: Any, labels: Any, classes: tuple[str, ...] = (),
                weights: Any = None) -> DataSource:
    """Images in memory.

    Args:
        name: what they are called in messages.
        images: (N, height, width) or (N, height, width, channels); uint8 for pixels of 0 to 255, or other
            numbers, which are taken by value.
        labels: class numbers, (N,) or (N, 1); floats to predict, (N,) or (N, numbers); or 0 and 1 for each of
            several labels, (N, labels).
        classes: the names of the classes, if they are known.
        weights: how much each image counts in the loss, (N,).

    Raises:
        ValueError: for arrays of a wrong shape or type.
    """
    try:
        images = np.asarray(images)
    except ValueError as error:     # NumPy's sentence says nothing about images
        raise ValueError(f"{name}: the images have several sizes; expected one, (N, height, width, "
                         "channels): resize them, or give a folder of files or a dataset") from error
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.dtype.kind not in "uif" or not all(images.shape):
        raise ValueError(f"{name}: images of shape {images.shape} and type {images.dtype}; expected numbers, "
                         "(N, height, width) or (N, height, width, channels)")
    images = images.astype("float32") if images.dtype == np.float64 else images
    return DataSource(name, images, read_labels(name, labels, len(images)), classes,
                      weights=None if weights is None else read_weights(name, weights, len(images)))


def _open_folder(name: str, path: str, split: str) -> DataSource:
    """Opens PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE beside PATH/test or PATH/val."""
    if to_url(path):
        return open_remote_folder(name, to_url(path), _SPLITS[split], sum(_SPLITS.values(), ()))
    top = pathlib.Path(path).expanduser()
    if not top.is_dir():
        raise FileNotFoundError(f"{name}: no such folder")
    parts = [path for path in sorted(top.iterdir()) if not is_hidden(path)]
    folders = {path.name: path for path in parts if path.is_dir()}
    stray = [str(path) for path in parts if not path.is_dir()]
    if "train" in folders:
        split_folders = [folders[word] for word in _SPLITS[split] if word in folders]
        if not split_folders:
            raise ValueError(f"{name}: it has a folder train, but none named {' or '.join(_SPLITS[split])}")
        stray += [f"{path}{os.sep}" for word, path in folders.items()
                  if not any(word in words for words in _SPLITS.values())]
        source = _open_folder(name, str(split_folders[0]), split)
        return dataclasses.replace(source, left_out=(*stray, *source.left_out))

    classes = tuple(folders)
    files = [find_image_files(folder) for folder in folders.values()]
    empty = [(c, class_files.others) for c, class_files in zip(classes, files) if not class_files.images]
    if not classes or empty:
        others = list_names([str(file) for file in empty[0][1]], 3) if empty else ""
        raise ValueError(f"{name}: expected a folder for each class with images in it"
                         + (f"; {empty[0][0]} has none" if empty else "")
                         + (f", but {others}" if others else ""))
    labels = np.repeat(np.arange(len(classes)), [len(class_files.images) for class_files in files])
    return DataSource(name, [str(f) for class_files in files for f in class_files.images], labels, classes,
                      left_out=(*stray, *(str(f) for class_files in files for f in class_files.others)))


def _open_tfds(name: str, dataset: str, split: str) -> DataSource:
    """Opens a data set of tensorflow-datasets with an image and a label; it is prepared at first use."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(f"{name} needs tensorflow-datasets: pip install \"reskeras[train]\"") from error
    builder = tensorflow_datasets.builder(dataset)
    builder.download_and_prepare()
    features = builder.info.features or {}
    if not {"image", "label"} <= set(features):
        raise ValueError(f"{name}: expected a data set with an image and a label; it has "
                         f"{', '.join(features)}")
    splits = [word for word in _SPLITS[split] if word in builder.info.splits]
    if not splits:
        raise ValueError(f"{name}: it has no split {' or '.join(_SPLITS[split])}, only "
                         f"{', '.join(builder.info.splits)}")

    def stream() -> tf.data.Dataset:
        examples = builder.as_dataset(split=splits[0], shuffle_files=False,
                                      decoders={"image": tensorflow_datasets.decode.SkipDecoding()})
        return examples.map(lambda e: (e["image"], tf.cast(e["label"], tf.int64)))
    return DataSource(name, classes=tuple(getattr(features["label"], "names", None) or ()), stream=stream)


def _open_npz(name: str, path: str, split: str) -> DataSource:
    """Opens x and y, or images and labels, or x_train, y_train, x_test and y_test; images are uint8.

    Weights of the images are in sample_weight, or sample_weight_train and sample_weight_test.
    """
    file = to_url(path) or pathlib.Path(path).expanduser()
    if not exists(file):
        raise FileNotFoundError(f"{name}: no such file")
    with open_npz(file) as arrays:
        own = [(f"x_{word}", f"y_{word}", f"sample_weight_{word}") for word in _SPLITS[split]]
        for x, y, weight in (*own, ("x", "y", "sample_weight"), ("images", "labels", "sample_weight")):
            if x in arrays and y in arrays:
                return from_arrays(name, arrays[x], arrays[y],
                                   weights=arrays[weight] if weight in arrays else None)
        raise ValueError(f"{name}: expected the arrays x and y, or x_{split} and y_{split}; it has "
                         f"{', '.join(arrays.files)}")


def _open_cifar(name: str, path: str, split: str) -> DataSource:
    """Opens CIFAR from Keras' download, a local .npz file, or the folder of the original binary files."""
    kind = name.partition(":")[0]
    classes = tuple(label for _, label in get_label_set(kind))
    place = pathlib.Path(path).expanduser()
    if path and place.is_dir() and not to_url(path):
        images, labels = _read_cifar_binaries(place, kind, split)
    elif path:
        source = _open_npz(name, path, split)
        images, labels = source.images, source.labels
    else:
        import keras
        train, test = getattr(keras.datasets, kind).load_data()
        images, labels = train if split == "train" else test
    return from_arrays(name, images, labels, classes)


def _read_cifar_binaries(folder: pathlib.Path, kind: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one byte (CIFAR-100: two; the second is the class) and 3 x 32 x 32 bytes for each image."""
    names = {"cifar10": {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]},
             "cifar100": {"train": ["train.bin"], "test": ["test.bin"]}}[kind][
                 "train" if split == "train" else "test"]
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder / missing[0]}: no such file; expected {', '.join(names)}")
    head = 1 if kind == "cifar10" else 2
    data = np.concatenate([np.frombuffer(read_bytes(folder / n, _MAX_BYTES), "uint8") for n in names])
    if not len(data) or len(data) % (head + 3072):
        raise ValueError(f"{folder}: {len(data)} bytes are no whole number of {kind} images "
                         f"of {head + 3072} bytes")
    data = data.reshape(-1, head + 3072)
    return data[:, head:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), data[:, head - 1].astype("int64")


def _open_digits(name: str, path: str, split: str) -> DataSource:
    """scikit-learn's digits.

    Of every ten images of a class, in order, the first and the sixth are the test, the eighth is the
    validation of `reskeras demo`, which is in neither split.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("digits need scikit-learn: pip install \"reskeras[demo]\"") from error
    bunch = load_digits()
    position = np.array([np.sum(bunch.target[:i] == c) % 10 for i, c in enumerate(bunch.target)])
    is_test, is_validation = np.isin(position, (0, 5)), position == 7
    chosen = is_test if split == "test" else ~(is_test | is_validation)
    pixels = np.round(bunch.images[chosen] * 255 / 16).astype("uint8")
    return from_arrays(name, pixels, bunch.target[chosen], tuple(label for _,
                                                                 label in get_label_set("digits")))


def _open_hugging_face(name: str, rest: str, split: str) -> DataSource:
    return open_named(name, rest, _SPLITS[split])


_READERS: dict[str, Callable[[str, str, str], DataSource]] = {
    "hf": _open_hugging_face, "packed": open_packed,
    "folder": _open_folder, "table": open_table, "tfds": _open_tfds, "npz": _open_npz, "cifar10": _open_cifar,
    "cifar100": _open_cifar, "digits": _open_digits}
