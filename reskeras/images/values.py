"""Reads images by value: all channels that a file has, of 8 or 16 bits or floats, as they are stored."""
from __future__ import annotations

import io
import math
import os

import numpy as np

from ..file_reading import read_bytes
from .decode import check_pixel_count, decode_unconverted
from .limits import count_in_flight
from .tiff import TIFF_PREFIXES

_NUMPY = b"\x93NUMPY"
_MAX_CHANNELS = 2 ** 10
_MAX_TILE_SIDE = 2 ** 12    # of a TIFF image that is smaller
_NUMBERS = "uif"            # NumPy's letters: whole numbers, without and with a sign, and floats


def decode_values(data: bytes, channels: int | None = None) -> np.ndarray:
    """The values of an image file.

    Args:
        data: the bytes of a .npy file, of a TIFF file (with tifffile, the first picture), or of any other
            file that `decode_image` reads.
        channels: how many are expected; None for any number.

    Returns:
        A float32 array (height, width, channels).

    Raises:
        ValueError: for other data, another number of channels, more pixels than
            `reskeras.set_image_limits` allows, and for a TIFF file without tifffile.
    """
    if data.startswith(_NUMPY):
        values = _decode_numpy(data)
    elif data.startswith(TIFF_PREFIXES):
        values = _decode_tiff(data)
    else:
        values = decode_unconverted(data)
    values = values[..., None] if values.ndim == 2 else values
    if channels is not None and values.shape[2] != channels:
        raise ValueError(f"it has the shape {values.shape}; expected (height, width, {channels})")
    return values.astype("float32")


def read_values(path: str | os.PathLike[str]) -> np.ndarray:
    """The values of an image file, see `decode_values`.  Raises: OSError; ValueError with the file's name."""
    try:
        return decode_values(read_bytes(path))
    except ValueError as error:
        name = os.fspath(path)
        raise ValueError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error


def _decode_numpy(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):      # a header of a later version may have 4 GB
            raise ValueError("a header of another version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:
        raise ValueError("not a readable .npy file of one array") from error
    _check_shape(shape, dtype)
    if stream.tell() + dtype.itemsize * math.prod(shape) != len(data):
        raise ValueError("a .npy file that is cut off, or has other data behind the array")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _decode_tiff(data: bytes) -> np.ndarray:
    try:
        import imagecodecs as imagecodecs       # tifffile uses it; it never unpacks more than the pixels need
        import tifffile
    except ImportError as error:
        raise ValueError("a TIFF image is read by value with tifffile: pip install \"reskeras[bands]\""
                         ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            axes, shape = page.axes, page.shape
            is_separate = axes == "SYX"
            if is_separate:
                shape = (*shape[1:], shape[0])
            elif axes not in ("YX", "YXS"):
                raise ValueError(f"its axes are {axes}; expected height, width and bands")
            _check_shape(shape, page.dtype)
            if max(page.tilewidth, page.tilelength) > max(*shape[:2], _MAX_TILE_SIDE):
                raise ValueError("its tiles are larger than the image")
            with count_in_flight(math.prod(shape)):
                values: np.ndarray = page.asarray()
            return values.transpose(1, 2, 0) if is_separate else values
    except Exception as error:      # for broken bytes it raises struct.error, KeyError, TiffFileError ...
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise ValueError(f"not a readable TIFF image of bands{reason}") from error


def _check_shape(shape: tuple[int, ...], dtype: np.dtype | None) -> None:
    """Raises: ValueError for what is not an image of numbers, and for one that is too large."""
    if dtype is None or dtype.kind not in _NUMBERS or len(shape) not in (2, 3) or not all(shape):
        raise ValueError(f"an array of shape {shape} and type {dtype}; expected numbers (height, width) or "
                         "(height, width, channels)")
    if shape[2:] and shape[2] > _MAX_CHANNELS:
        raise ValueError(f"an array of shape {shape} has {shape[2]} channels, and at most {_MAX_CHANNELS} "
                         "are read; are they in another order than (height, width, channels)?")
    check_pixel_count(shape[0], shape[1])
