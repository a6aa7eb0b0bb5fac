"""Which images are taken by value, and how their values are normalized.

Bytes of gray and RGB images are pixels in 0..255, which every net's preprocessing knows.  Anything else, of
other channels, of 16 bits, or floats, is taken by value: (value - mean) / deviation, for each channel.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from ..errors import ArgumentError
from ..file_reading import read_bytes
from ..images.decode import decode_image
from ..images.preprocessing import Preprocessing
from ..images.values import decode_values, read_values

if TYPE_CHECKING:
    from .source import DataSource

_MEASURED = 1000            # images whose values are read to normalize all
_TIFF = (".tif", ".tiff")


def find_value_channels(path: str) -> int | None:
    """The channels of an image file that is taken by value; None for a file that is decoded to RGB.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not an image.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".npy", *_TIFF):
        return None
    if suffix in _TIFF:
        try:
            decode_image(read_bytes(path))
            return None
        except (OSError, ValueError) as error:
            if "bands" not in str(error) and "floats" not in str(error):
                return None     # it is damaged, which is counted when it is read, as of all files
    return int(read_values(path).shape[-1])


def fits_images(preprocessing: Preprocessing, source: DataSource) -> bool:
    """Whether a preprocessing takes the images of a source: their channels, and their type."""
    spec, channels, found = source.pixel_spec, len(preprocessing.mean), source.channels
    if spec is None and source.value_channels is None:      # files, which are decoded to gray or RGB
        return preprocessing.has_values or channels in (1, 3)
    if preprocessing.has_values:
        return found == channels
    is_byte = spec is not None and bool(spec[1] == np.uint8)
    return is_byte and (found == channels or {found, channels} == {1, 3})


def check_fits_images(preprocessing: Preprocessing, source: DataSource) -> None:
    """Checks that a preprocessing takes the images of a source.

    Raises:
        ArgumentError: if they are to be taken by value and it does not, or if it has other channels.
    """
    if not fits_images(preprocessing, source):
        spec, channels, found = source.pixel_spec, len(preprocessing.mean), source.channels
        kind = "" if spec is None else f" and type {np.dtype(spec[1]).name}"
        raise ArgumentError(
            "preprocessing", preprocessing.pixels,
            f"one for images of {found} channels{kind}, as those of {source.name}; it is for {channels} "
            "channels" + ("" if preprocessing.has_values else " of 8 bits"),
            hint=f"give Preprocessing(size, pixels=\"values\", mean=..., std=...) with {found} numbers each, "
                 "or none to measure them")


def measure_normalization(source: DataSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation of each channel.

    They are those of 1000 images, evenly distributed over the source; of a stream, of its first 1000.

    Returns:
        (means, deviations); the deviation of a channel whose values are all equal is 1.

    Raises:
        ValueError: for values that are not finite, or an image that cannot be read; the message names it.
    """
    count, first, total, squares = 0, None, 0.0, 0.0
    for name, image in _iterate_images(source):
        if first is not None and image.shape[-1] != len(first):
            raise ValueError(f"{name}: it has {image.shape[-1]} channels, but the images before it have "
                             f"{len(first)}; expected the same of all")
        pixels = np.asarray(image, "float64").reshape(-1, image.shape[-1])
        if not np.isfinite(pixels).all():
            raise ValueError(f"{name}: it has values that are not finite (NaN or infinity); replace them, "
                             "for example by the mean of their channel")
        first = pixels.mean(0) if first is None else first      # the squares of large values would cancel
        pixels = pixels - first
        count, total, squares = count + len(pixels), total + pixels.sum(0), squares + (pixels ** 2).sum(0)
    if first is None:
        raise ValueError(f"{source.name}: it has no images")
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean ** 2, 0))
    deviation = np.where(deviation > 0, deviation, 1.0)
    return tuple(float(m) for m in first + mean), tuple(float(d) for d in deviation)


def _iterate_images(source: DataSource) -> Iterator[tuple[str, np.ndarray]]:
    """(name, values) of some images of a source."""
    if source.stream is not None:
        for i, (image, *_) in enumerate(source.stream().take(_MEASURED).as_numpy_iterator()):
            yield f"image {i} of {source.name}", _to_values(image)
        return
    step = -(-len(source) // _MEASURED)
    for index in range(0, len(source), step):
        name = source.image_name(index)
        if source.has_files:
            yield name, read_values(name)
        elif isinstance(source.images, np.ndarray):
            yield name, source.images[index]
        else:
            yield name, _to_values(source.images.read(int(source.images.indices[index])))


def _to_values(image: Any) -> np.ndarray:
    return decode_values(image) if isinstance(image, bytes) else np.asarray(image)
