"""Where images come from, by one grammar: folder:PATH, tfrecord:GLOB, tfds:NAME, npz:FILE, cifar10, cifar100, digits, arrays."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from ..spec import nearest
from ..images.labels import label_set
from . import tfrecord

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
SPLITS = {"train": ("train",), "test": ("test", "val", "validation")}
GRAMMAR = ("folder:PATH, tfrecord:GLOB, tfds:NAME, npz:FILE, cifar10[:FILE or FOLDER], cifar100[:FILE or FOLDER], digits, or "
           "arrays (images, labels)")


@dataclass(frozen=True)
class Source:
    """Images with labels: paths or pixels in memory, or a stream of either in an order that never changes."""
    name: str
    images: Any = None                          # paths, or uint8 (N, height, width, channels); None for a stream
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    classes: tuple[str, ...] = ()               # their names or WordNet ids; () where nobody says
    stream: Callable[[], tf.data.Dataset] | None = None     # of (bytes or pixels, label)

    def __len__(self) -> int:
        if self.stream is not None:
            raise TypeError(f"{self.name} is a stream: its length is known at its end")
        return len(self.labels)

    @property
    def files(self) -> bool:
        return isinstance(self.images, list)

    def called(self, index: int) -> str:
        """What one image is called in a message."""
        return self.images[index] if self.files else f"image {index} of {self.name}"


def source(what: Any, split: str = "train") -> Source:
    """The images that `what` says.

    Arguments:
        what: a string of the grammar, (images, labels) with uint8 images, or a Source.
        split: "train" or "test", where there are both: the folders train, test or val, tfds' splits, x_test in an .npz file.
    Raises: ValueError for another word or data of another form; FileNotFoundError; ImportError where a package is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected train or test{nearest(split, SPLITS)}")
    if isinstance(what, Source):
        return what
    if isinstance(what, (tuple, list)) and len(what) == 2:
        return arrays("arrays", *what)
    if not isinstance(what, str):
        raise ValueError(f"data={type(what).__name__}: expected {GRAMMAR}")
    kind, colon, rest = what.partition(":")
    if kind not in KINDS or bool(colon) != bool(rest) or not rest and kind in ("folder", "tfrecord", "tfds", "npz"):
        raise ValueError(f"data={what!r}{nearest(kind, KINDS) if kind not in KINDS else ''}; expected {GRAMMAR}")
    return KINDS[kind](what, rest, split)


def arrays(name: str, images: Any, labels: Any, classes: tuple[str, ...] = ()) -> Source:
    images, labels = np.asarray(images), np.asarray(labels)
    images = images[..., None] if images.ndim == 3 else images
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3):
        raise ValueError(f"{name}: images of shape {images.shape} and type {images.dtype}; expected uint8 of 0 to 255, "
                         "(N, height, width, 1 or 3)")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
        raise ValueError(f"{name}: labels of shape {labels.shape} and type {labels.dtype}; expected a class number for each of "
                         f"the {len(images)} images")
    return Source(name, images, labels.astype("int64"), classes)


def folder(name: str, path: str, split: str) -> Source:
    """PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE beside PATH/test or PATH/val."""
    top = pathlib.Path(path).expanduser()
    if not top.is_dir():
        raise FileNotFoundError(f"{name}: no such folder")
    inside = {sub.name: sub for sub in sorted(top.iterdir()) if sub.is_dir() and not sub.name.startswith(".")}
    if "train" in inside:
        found = [inside[word] for word in SPLITS[split] if word in inside]
        if not found:
            raise ValueError(f"{name}: it has a folder train, and none called {' or '.join(SPLITS[split])}")
        return folder(name, str(found[0]), split)
    classes = tuple(inside)
    files = [sorted(f for f in sub.rglob("*") if f.suffix.lower() in SUFFIXES) for sub in inside.values()]
    empty = [c for c, own in zip(classes, files) if not own]
    if not classes or empty:
        raise ValueError(f"{name}: expected a folder for each class with images in it"
                         + (f"; {empty[0]} has none" if empty else ""))
    labels = np.repeat(np.arange(len(classes)), [len(own) for own in files])
    return Source(name, [str(f) for own in files for f in own], labels, classes)


def records(name: str, pattern: str, split: str) -> Source:
    return Source(name, classes=tfrecord.classes(pattern), stream=lambda: tfrecord.read(pattern))


def tfds(name: str, dataset: str, split: str) -> Source:
    """A data set of tensorflow-datasets with an image and a label; prepared at first use."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(f"{name} needs tensorflow-datasets: pip install \"reskeras[train]\"") from error
    builder = tensorflow_datasets.builder(dataset)
    builder.download_and_prepare()
    if not {"image", "label"} <= set(builder.info.features or ()):
        raise ValueError(f"{name}: expected a data set with an image and a label; it has "
                         f"{', '.join(builder.info.features or ())}")
    found = [word for word in SPLITS[split] if word in builder.info.splits]
    if not found:
        raise ValueError(f"{name}: it has no split {' or '.join(SPLITS[split])}, only {', '.join(builder.info.splits)}")

    def stream() -> tf.data.Dataset:
        examples = builder.as_dataset(split=found[0], shuffle_files=False,
                                      decoders={"image": tensorflow_datasets.decode.SkipDecoding()})
        return examples.map(lambda e: (e["image"], tf.cast(e["label"], tf.int64)))
    return Source(name, classes=tuple(getattr(builder.info.features["label"], "names", None) or ()), stream=stream)


def npz(name: str, path: str, split: str) -> Source:
    """x and y, or images and labels, or x_train, y_train, x_test and y_test; images are uint8."""
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{name}: no such file")
    with np.load(file, allow_pickle=False) as data:
        for x, y in ((f"x_{split}", f"y_{split}"), ("x", "y"), ("images", "labels")):
            if x in data and y in data:
                return arrays(name, data[x], data[y])
        raise ValueError(f"{name}: expected the arrays x and y, or x_{split} and y_{split}; it has {', '.join(data.files)}")


def cifar(name: str, path: str, split: str) -> Source:
    """CIFAR from Keras' download, a local .npz file, or the folder of the original binary files."""
    kind = name.partition(":")[0]
    classes = tuple(label for _, label in label_set(kind))
    where = pathlib.Path(path).expanduser()
    if path and where.is_dir():
        x, y = _binaries(where, kind, split)
        return arrays(name, x, y, classes)
    if path:
        found = npz(name, path, split)
        return arrays(name, found.images, found.labels, classes)
    import keras
    train, test = getattr(keras.datasets, kind).load_data()
    x, y = train if split == "train" else test
    return arrays(name, x, y, classes)


def _binaries(where: pathlib.Path, kind: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """One byte (CIFAR-100: two, of which the second is the class) and 3 x 32 x 32 bytes for each image."""
    names = {"cifar10": {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]},
             "cifar100": {"train": ["train.bin"], "test": ["test.bin"]}}[kind][split]
    missing = [n for n in names if not (where / n).is_file()]
    if missing:
        raise FileNotFoundError(f"{where / missing[0]}: no such file; expected {', '.join(names)}")
    head = 1 if kind == "cifar10" else 2
    data = np.concatenate([np.fromfile(where / n, "uint8") for n in names])
    if not len(data) or len(data) % (head + 3072):
        raise ValueError(f"{where}: {len(data)} bytes are no whole number of {kind} images of {head + 3072} bytes")
    data = data.reshape(-1, head + 3072)
    return data[:, head:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), data[:, head - 1].astype("int64")


def digits(name: str, path: str, split: str) -> Source:
    """scikit-learn's digits: of every ten of a class, in order, the first and the sixth are the test, the eighth validation."""
    if path:
        raise ValueError(f"data={name!r}: digits takes no path")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("digits are scikit-learn's: pip install \"reskeras[demo]\"") from error
    bunch = load_digits()
    place = np.array([np.sum(bunch.target[:i] == c) % 10 for i, c in enumerate(bunch.target)])
    chosen = np.isin(place, (0, 5)) if split == "test" else ~np.isin(place, (0, 5, 7))
    pixels = np.round(bunch.images[chosen] * 255 / 16).astype("uint8")
    return arrays(name, pixels, bunch.target[chosen], tuple(label for _, label in label_set("digits")))


KINDS: dict[str, Callable[[str, str, str], Source]] = {
    "folder": folder, "tfrecord": records, "tfds": tfds, "npz": npz, "cifar10": cifar, "cifar100": cifar, "digits": digits}
