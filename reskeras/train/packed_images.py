"""A packed store: the pixels of all images of a data set in one file, at the size of a training.

Photos are decoded and made smaller once, not in each epoch.  The file is mapped into memory: the system keeps
in memory what fits, and nothing has to be read to begin.  The store is a folder of two files: pixels.bin has
the images, one after the other; index.npz has their sizes, checksums and labels.
"""
from __future__ import annotations

import os
import pathlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator

import numpy as np

from ..errors import ArgumentError, check_whole_number
from ..file_reading import open_npz, open_regular_file, read_bytes
from ..files import atomic_write
from ..images.decode import decode_image
from ..remote_paths import to_url
from .indexed_images import IndexedImages
from .labels import read_labels, read_weights
from .source import DataSource
from .training import CHOICES

_PIXELS, _INDEX = "pixels.bin", "index.npz"
_KEYS = ("version", "sides", "channels", "checksums", "labels", "classes", "task",
         "is_resized")
_VERSION = 1
_MAX_SIDE = 2 ** 20
_AT_ONCE = 16               # images in memory
_HINT = "write it again with `reskeras pack`"


def write_packed_images(source: DataSource, folder: str | os.PathLike[str],
                        size: int | None = None) -> pathlib.Path:
    """Writes a packed store, which `open_source("packed:FOLDER")` opens.

    Args:
        source: image files, or gray or RGB pixels of 8 bits; not a stream.
        folder: a new folder, or a packed store to replace.
        size: pixels of the shorter side; smaller images stay as they are.  By default all do.

    Returns:
        The path of the folder.

    Raises:
        ArgumentError: for a size below 1, and for images that cannot be packed.
        FileExistsError: if the folder exists and is not a packed store.
        ValueError: for a file that is not an image; the message names it, and nothing is written.
        OSError: if the files cannot be read or written.

    Example:
        >>> write_packed_images(open_source("folder:photos"), "photos.packed", size=256)
    """
    if size is not None:
        check_whole_number("size", size)
    if source.stream is not None or source.value_channels:
        raise ArgumentError("data", source.name, "image files, or gray or RGB pixels of 8 bits in memory",
                            hint="a stream, and images of other types, are read as they are")
    if to_url(folder):
        raise ArgumentError("output", str(folder), "a folder on a disk, because it is mapped into memory")
    place = pathlib.Path(folder).expanduser()
    if place.exists() and not (place / _INDEX).is_file():
        raise FileExistsError(f"{place} exists, and is not a packed store; give a new folder")

    sides, checksums, was_larger = [], [], False
    with atomic_write(place) as new:
        new.mkdir()
        with open(new / _PIXELS, "wb") as file:
            for pixels, is_smaller in _iterate_resized(source, size):
                file.write(pixels.data)
                sides.append(pixels.shape[:2])
                checksums.append(zlib.crc32(pixels.data))
                was_larger |= is_smaller
        index: dict[str, Any] = {
            "version": _VERSION, "sides": np.array(sides, "int64"), "channels": source.channels,
            "checksums": np.array(checksums, "uint32"), "labels": source.labels,
            "classes": np.array(source.classes, "str"), "task": source.task, "is_resized": was_larger}
        np.savez(new / _INDEX, **index if source.weights is None else {**index, "weights": source.weights})
    return place


def _iterate_resized(source: DataSource, size: int | None) -> Iterator[tuple[np.ndarray, bool]]:
    """(uint8 pixels, whether they are fewer than before) of each image, few of them in memory at a time."""
    def read(index: int) -> tuple[np.ndarray, bool]:
        pixels = _read_pixels(source, index)
        small = pixels if size is None else _shrink(pixels, size)
        return np.ascontiguousarray(small), small is not pixels
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(source), _AT_ONCE):
            yield from pool.map(read, range(first, min(first + _AT_ONCE, len(source))))


def _read_pixels(source: DataSource, index: int) -> np.ndarray:
    """The pixels of an image, as in evaluation: Pillow decodes."""
    if isinstance(source.images, np.ndarray):
        return np.asarray(source.images[index])
    if isinstance(source.images, IndexedImages):
        image = source.images.read(int(source.images.indices[index]))
    else:
        image = read_bytes(source.images[index])
    try:
        return decode_image(image) if isinstance(image, bytes) else np.asarray(image)
    except ValueError as error:
        raise ValueError(f"{source.image_name(index)}: {error}") from error


def _shrink(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes the shorter side to `size`, smoothing; a smaller image is returned as it is."""
    from PIL import Image
    height, width = pixels.shape[:2]
    factor = size / min(height, width)
    if factor >= 1:
        return pixels
    sides = max(round(width * factor), 1), max(round(height * factor), 1)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return np.asarray(image.resize(sides, Image.Resampling.BICUBIC)).reshape(*sides[::-1], -1)


def open_packed(name: str, path: str, split: str) -> DataSource:
    """Opens a packed store; every pixel is read once, to compare the checksums.

    Args:
        name: what the source is called in messages.
        path: the folder.
        split: not used, because a store has one.

    Raises:
        ArgumentError: for a folder in an object store.
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not a packed store, or damaged.
    """
    if to_url(path):
        raise ArgumentError("data", name, "a folder on a disk, because it is mapped into memory")
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: no such folder")
    missing = [each for each in (_INDEX, _PIXELS) if not (folder / each).is_file()]
    if missing:
        raise ValueError(f"{name}: it is not a packed store, because it has no {missing[0]}; {_HINT}")
    with open_npz(folder / _INDEX) as arrays:
        index = {key: arrays[key] for key in arrays.files}
    sides, channels = _check_index(folder / _INDEX, index)
    counts = np.prod(sides, 1) * channels
    _check_pixels(folder / _PIXELS, counts, index["checksums"])

    stored = np.memmap(folder / _PIXELS, "uint8", "r")
    begins = np.cumsum(counts) - counts

    def read(number: int) -> np.ndarray:
        begin = begins[number]
        return stored[begin:begin + counts[number]].reshape(*sides[number], channels)
    shape = tuple(int(each[0]) if len(set(each)) == 1 else None for each in sides.T)
    number, weights = len(sides), index.get("weights")
    return DataSource(
        name, IndexedImages(read, np.arange(number), (*shape, channels)),
        read_labels(name, index["labels"], number), tuple(str(each) for each in index["classes"]),
        weights=None if weights is None else read_weights(name, weights, number),
        task=str(index["task"]), is_resized=bool(index["is_resized"]))


def _check_index(path: pathlib.Path, index: dict[str, Any]) -> tuple[np.ndarray, int]:
    """(height and width of each image, int64 (N, 2); channels).  Raises: ValueError if it is damaged."""
    missing = [key for key in _KEYS if key not in index]
    if missing:
        raise ValueError(f"{path} is not the index of a packed store, because it has no {missing[0]!r}; "
                         f"{_HINT}")
    scalars = [index[key] for key in ("version", "channels", "is_resized")]
    sides, checksums = index["sides"], index["checksums"]
    is_whole = all(each.shape == () and each.dtype.kind in "iub" for each in scalars)
    if is_whole and index["version"] != _VERSION:
        raise ValueError(f"{path} has the version {index['version']}; expected {_VERSION}; {_HINT}")
    if not (is_whole and index["channels"] in (1, 3) and sides.ndim == 2 and sides.shape[1] == 2
            and sides.dtype == np.int64 and len(sides) and sides.min() >= 1 and sides.max() <= _MAX_SIDE
            and checksums.shape == sides.shape[:1] and checksums.dtype == np.uint32
            and index["classes"].ndim == 1 and index["classes"].dtype.kind == "U"
            and str(index["task"]) in ("", *CHOICES["task"])):
        raise ValueError(f"{path} is damaged: its values cannot be those of images; {_HINT}")
    return sides, int(index["channels"])


def _check_pixels(path: pathlib.Path, counts: np.ndarray, checksums: np.ndarray) -> None:
    """Compares the length and the checksums.  Raises: ValueError if they are others."""
    with open_regular_file(path) as file:
        length, expected = os.fstat(file.fileno()).st_size, sum(map(int, counts))
        if length != expected:
            raise ValueError(f"{path} has {length:,} bytes, but {_INDEX} says {expected:,}: it is cut off, "
                             f"or of another store; {_HINT}")
        for number, (count, checksum) in enumerate(zip(counts, checksums)):
            if zlib.crc32(file.read(int(count))) != checksum:
                raise ValueError(f"{path} is damaged: the checksum of image {number} is another one; {_HINT}")
