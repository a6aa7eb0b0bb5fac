"""Decodes image files: from bytes to upright pixels."""
from __future__ import annotations

import contextlib
import importlib
import io
import struct
import threading
import warnings
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

from .limits import count_in_flight, get_image_limits

if TYPE_CHECKING:
    from PIL.Image import Image

# The first bytes of a file -> Pillow's module and class.  `PIL.Image.open` has a limit of its own, for the
# whole process; we have ours.
_CLASSES = {b"\xff\xd8\xff": ("Jpeg", "JpegImageFile"), b"\x89PNG\r\n\x1a\n": ("Png", "PngImageFile"),
            b"GIF87a": ("Gif", "GifImageFile"), b"GIF89a": ("Gif", "GifImageFile"),
            b"BM": ("Bmp", "BmpImageFile"), b"RIFF": ("WebP", "WebPImageFile")}
_EXPECTED = "not a readable JPEG, PNG, GIF, BMP or WebP image"

# Orientation in EXIF data -> from an upright image to the view of it that lies as the file does
_ORIENTATION = 0x0112
_LYING_VIEWS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
    6: np.rot90, 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: lambda x: np.rot90(x, -1)}
# EXIF data of a JPEG have at most so many bytes.  Pillow copies the value of each tag; 65,535 tags that share
# the bytes of a larger block would take all memory.
_MAX_EXIF = 2 ** 16
_exif_lock = threading.Lock()       # 64 kB with 5,000 such tags still take 350 MB
# damaged EXIF data count as none; Pillow would warn of each of their tags
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
_TILE = 2 ** 22                     # pixels that are converted at once


def decode_image(data: bytes) -> np.ndarray:
    """The pixels of an image file, as timm and torchvision read it: Pillow decodes.

    The image is rotated as its EXIF data require.  Transparency is removed, gray and CMYK become RGB, 16 bits
    become 8.

    Args:
        data: the bytes of a JPEG, PNG, GIF (its first frame is used), BMP or WebP file.

    Returns:
        uint8 RGB pixels (height, width, 3).

    Raises:
        ValueError: for other data, a truncated file, more pixels than `reskeras.set_image_limits` allows, or
            more than there is memory for.
    """
    with open_image(data) as pixels:
        return pixels


@contextlib.contextmanager
def open_image(data: bytes, channels: int = 3) -> Iterator[np.ndarray]:
    """Decodes an image file as `decode_image` does; inside the block its pixels count as in flight.

    Args:
        data: the bytes of the file.
        channels: 3 for RGB, 1 for gray (luma).

    Returns:
        uint8 pixels (height, width, channels).

    Raises:
        ValueError: as `decode_image`.
    """
    image = read_header(data)
    with count_in_flight(image.width * image.height):
        with _explain_errors():
            pixels = _decode(image, channels)
            image.close()
        yield pixels


def read_header(data: bytes) -> Image:
    """Opens an image file without decoding it; a JPEG that is too large is set to be decoded smaller.

    Raises:
        ValueError: for other data, or more pixels than `reskeras.set_image_limits` allows.
    """
    names = [names for prefix, names in _CLASSES.items() if data.startswith(prefix)]
    if not names:
        raise ValueError(_EXPECTED)
    (module, plugin), = names
    image: Image
    limit = get_image_limits().max_pixels
    with _explain_errors():
        file = io.BytesIO(data)
        image = getattr(importlib.import_module(f"PIL.{module}ImagePlugin"), plugin)(file)
        if image.format == "JPEG" and image.width * image.height > limit and _has_one_scan(image, data, file):
            image.draft(None, _shrink(image.size, limit))
    _check_pixel_count(image.height, image.width)
    return image


@contextlib.contextmanager
def _explain_errors() -> Iterator[None]:
    from PIL.Image import DecompressionBombError
    try:
        yield
    except DecompressionBombError as error:     # of a WebP file: for those, Pillow's own limit holds as well
        raise ValueError(str(error)) from error
    except MemoryError as error:
        raise ValueError("not enough memory to decode it") from error
    except Exception as error:  # for broken bytes decoders raise OSError, SyntaxError, struct.error ...
        raise ValueError(_EXPECTED) from error


def _check_pixel_count(height: int, width: int) -> None:
    """Raises: ValueError for an image of more pixels than `reskeras.set_image_limits` allows."""
    limit = get_image_limits().max_pixels
    if height * width > limit:
        raise ValueError(f"it has {width} x {height} pixels, more than the limit of {limit:,}, which "
                         "reskeras.set_image_limits(max_pixels=...) or the environment variable "
                         "RESKERAS_MAX_PIXELS changes")


def _has_one_scan(image: Any, data: bytes, file: io.BytesIO) -> bool:
    """Whether a JPEG comes from top to bottom; of any other the decoder keeps all of it at its full size."""
    # Pillow stops behind the head of the first scan, which lists the colors that the scan has
    head = b"\xff\xda" + struct.pack(">HB", 6 + 2 * image.layers, image.layers)
    begin = file.tell() - 8 - 2 * image.layers
    return "progressive" not in image.info and data[begin:begin + len(head)] == head


def _shrink(size: tuple[int, int], limit: int) -> tuple[int, int]:
    """The least reduced size that has at most `limit` pixels; an 8th of the sides is the smallest."""
    width, height = size
    factor = next((f for f in (2, 4, 8) if -(-width // f) * -(-height // f) <= limit), 8)
    return max(width // factor, 1), max(height // factor, 1)


def _decode(image: Image, channels: int) -> np.ndarray:
    """The upright pixels of an open file; only a tile of them is held twice."""
    image.load()
    lying_view = _LYING_VIEWS.get(_read_orientation(image), np.asarray)
    is_lying = lying_view(np.empty((1, 2))).shape[0] == 2
    sides = image.size if is_lying else image.size[::-1]
    upright = np.empty((*sides, channels), "uint8")

    lying, rows = lying_view(upright), max(_TILE // image.width, 1)
    for left in range(0, image.width, _TILE):
        right = min(left + _TILE, image.width)
        for top in range(0, image.height, rows):
            bottom = min(top + rows, image.height)
            lying[top:bottom, left:right] = _convert_tile(image.crop((left, top, right, bottom)), channels)
    return upright


def _read_orientation(image: Image) -> Any:
    exif = image.info.get("exif")
    if exif is not None:
        image.info["exif"] = exif[:_MAX_EXIF]
    if len(image.info.get("Raw profile type exif", "")) > 3 * _MAX_EXIF:    # as text, two digits a byte
        del image.info["Raw profile type exif"]
    with _exif_lock:
        return image.getexif().get(_ORIENTATION)


def _convert_tile(tile: Image, channels: int) -> np.ndarray:
    """uint8 pixels (height, width, channels or 1)."""
    if tile.mode.startswith("I"):       # 16 bits of gray, which Pillow's own conversion would clip
        return (np.asarray(tile) >> 8).astype("uint8")[..., None]
    rgb = tile if tile.mode == "RGB" else tile.convert("RGB")
    return np.asarray(rgb) if channels == 3 else np.asarray(rgb.convert("L"))[..., None]
