"""Decodes image files: from bytes to upright pixels."""
from __future__ import annotations

import contextlib
import importlib
import io
import struct
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Callable, Iterator, NamedTuple

import numpy as np

from .depth import choose_bits, convert_to_bytes
from .limits import count_in_flight, get_image_limits
from .tiff import TIFF_PREFIXES, reduce_tiff

if TYPE_CHECKING:
    from PIL.Image import Image

# The first bytes of a file -> Pillow's module and class.  `PIL.Image.open` is not used, because its limit of
# pixels holds for the whole process; `limits.py` has ours.
_CLASSES = {b"\xff\xd8\xff": ("PIL.JpegImagePlugin", "JpegImageFile"),
            b"\x89PNG\r\n\x1a\n": ("PIL.PngImagePlugin", "PngImageFile"),
            **dict.fromkeys((b"GIF87a", b"GIF89a"), ("PIL.GifImagePlugin", "GifImageFile")),
            b"BM": ("PIL.BmpImagePlugin", "BmpImageFile"), b"RIFF": ("PIL.WebPImagePlugin", "WebPImageFile"),
            **dict.fromkeys(TIFF_PREFIXES, ("PIL.TiffImagePlugin", "TiffImageFile"))}
_HEIF = ("pillow_heif", "HeifImageFile")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_EXPECTED = "not a readable JPEG, PNG, GIF, BMP, WebP, TIFF or HEIC image"

# Orientation in EXIF data -> a function that turns an upright image to the orientation of the file
_ORIENTATION = 0x0112
_LYING_VIEWS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
    6: np.rot90, 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: lambda x: np.rot90(x, -1)}
# EXIF data of a JPEG have at most so many bytes.  In a larger block 65,535 tags could share the same bytes,
# and Pillow, which copies the value of each tag, would fill the memory.
_MAX_EXIF = 2 ** 16
# One thread reads EXIF data at a time, because 64 kB with 5,000 such tags still take 350 MB
_exif_lock = threading.Lock()
# damaged EXIF data are ignored; Pillow would warn of each of their tags
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
warnings.filterwarnings("ignore", "Image size .* could be decompression bomb")      # we have our own limit
_TILE = 2 ** 22                     # pixels that are converted at once
# Pillow keeps only the high byte of colors of 16 bits.  If it reads the file in the other byte order,
# it keeps the low byte.
_LOW_BYTES = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}


def decode_image(data: bytes, bits: int = 0) -> np.ndarray:
    """The pixels of an image file, as timm and torchvision read it: Pillow decodes.

    The image is rotated as its EXIF data require.  Transparency is removed, gray and CMYK become RGB, 16 bits
    become 8.

    Args:
        data: the bytes of a JPEG, PNG, GIF, BMP, WebP or TIFF file, or of a HEIC file if `pillow-heif` is
            installed; the first picture of the file is used.
        bits: how many of 16 bits are used, 9 to 16; 0 for as many of 8, 10, 12, 14 and 16 as the image's
            largest value has.

    Returns:
        uint8 RGB pixels (height, width, 3).

    Raises:
        ValueError: for other data, a truncated file, more pixels than `reskeras.set_image_limits` allows, or
            more than there is memory for.
    """
    with open_image(data, bits=bits) as pixels:
        return pixels


@contextlib.contextmanager
def open_image(data: bytes, channels: int = 3, bits: int = 0) -> Iterator[np.ndarray]:
    """Decodes an image file as `decode_image` does; see `count_in_flight` for the block.

    Args:
        data: the bytes of the file.
        channels: 3 for RGB, 1 for gray (luma).
        bits: as in `decode_image`.

    Returns:
        uint8 pixels (height, width, channels).

    Raises:
        ValueError: as `decode_image`.
    """
    image = read_header(data)
    with count_in_flight(image.width * image.height):
        with _explain_errors():
            pixels = _decode(image, _open_low_bytes(image, data), channels, bits)
            image.close()
        yield pixels


def decode_unconverted(data: bytes) -> np.ndarray:
    """The upright pixels of an image file as they are stored: 16 bits stay 16, transparency is a channel.

    Raises:
        ValueError: as `decode_image`.
    """
    image: Any = read_header(data)
    with count_in_flight(image.width * image.height), _explain_errors():
        low_bytes = _open_low_bytes(image, data)
        image.load()
        if image.mode.startswith("I") or low_bytes is not None:
            lying = _read_deep_tile(image, low_bytes, (0, 0, *image.size))
        else:
            lying = np.asarray(image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB"))
        lying = lying[..., None] if lying.ndim == 2 else lying
        lying_view = _LYING_VIEWS.get(_read_orientation(image), np.asarray)
        is_lying = lying_view(np.empty((1, 2))).shape[0] == 2
        sides = lying.shape[1::-1] if is_lying else lying.shape[:2]
        upright = np.empty((*sides, lying.shape[-1]), lying.dtype)
        lying_view(upright)[:] = lying
        return upright


def read_header(data: bytes) -> Image:
    """Opens an image file without decoding it; a JPEG that is too large will be decoded at a smaller size.

    Raises:
        ValueError: for other data, or more pixels than `reskeras.set_image_limits` allows.
    """
    data = reduce_tiff(data) if data.startswith(TIFF_PREFIXES) else data
    image: Image
    limit = get_image_limits().max_pixels
    plugin = _find_plugin(data)
    with _explain_errors():
        file = io.BytesIO(data)
        image = plugin(file)
        if image.format == "JPEG" and image.width * image.height > limit and _has_one_scan(image, data, file):
            image.draft(None, _shrink(image.size, limit))
    check_pixel_count(image.height, image.width)
    return image


def _find_plugin(data: bytes) -> Any:
    """Pillow's class for a file.  Raises: ValueError for an unknown format, or a missing package."""
    names = [names for prefix, names in _CLASSES.items() if data.startswith(prefix)]
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        names = [_HEIF]
    if not names:
        raise ValueError(_EXPECTED)
    (module, plugin), = names
    try:
        return getattr(importlib.import_module(module), plugin)
    except ImportError as error:
        raise ValueError("it is a HEIC image, which is read by pillow-heif: pip install pillow-heif"
                         if names == [_HEIF] else f"{module} is not installed") from error


class _LowBytes(NamedTuple):
    """A file of 16 bits, opened so that Pillow reads the low bytes; `channels` says which are R, G and B."""

    image: Any
    channels: list[int]


def _open_low_bytes(image: Any, data: bytes) -> _LowBytes | None:
    """Opens a file once more, for the low bytes of its colors; None if its colors do not have 16 bits."""
    forms = {args if isinstance(args, str) else args[0] for *_, args in image.tile}
    form = str(forms.pop()) if len(forms) == 1 and image.format in ("PNG", "TIFF") else ""
    if form == "LA;16B":        # as RGBA: high and low byte of gray, high and low byte of transparency
        low, channels = "RGBA", [1, 1, 1]
    elif form.startswith("RGB") and form[-4:] in _LOW_BYTES:
        low, channels = form[:-4] + _LOW_BYTES[form[-4:]], [0, 1, 2]
    else:
        return None
    other: Any = read_header(data)
    for i, tile in enumerate(other.tile):
        parts = [*tile[:3], low if isinstance(tile[3], str) else (low, *tile[3][1:])]
        other.tile[i] = tuple(parts) if type(tile) is tuple else type(tile)(*parts)     # a tuple: Pillow 10
    return _LowBytes(other, channels)


@contextlib.contextmanager
def _explain_errors() -> Iterator[None]:
    from PIL.Image import DecompressionBombError
    try:
        yield
    except DecompressionBombError as error:     # for WebP and TIFF Pillow has its own limit, too
        raise ValueError(str(error)) from error
    except MemoryError as error:
        raise ValueError("not enough memory to decode it") from error
    except Exception as error:  # for broken bytes decoders raise OSError, SyntaxError, struct.error ...
        raise ValueError(_EXPECTED) from error


def check_pixel_count(height: int, width: int) -> None:
    """Raises: ValueError for an image of more pixels than `reskeras.set_image_limits` allows."""
    limit = get_image_limits().max_pixels
    if height * width > limit:
        raise ValueError(f"it has {width} x {height} pixels, more than the limit of {limit:,}, which "
                         "reskeras.set_image_limits(max_pixels=...) or the environment variable "
                         "RESKERAS_MAX_PIXELS changes")


def _has_one_scan(image: Any, data: bytes, file: io.BytesIO) -> bool:
    """Whether a JPEG is stored from top to bottom.

    If it is not, the decoder keeps the whole image in its full size, also if it decodes it smaller.
    """
    # Pillow stops after the header of the first scan, which lists the colors that the scan has
    head = b"\xff\xda" + struct.pack(">HB", 6 + 2 * image.layers, image.layers)
    begin = file.tell() - 8 - 2 * image.layers
    return "progressive" not in image.info and data[begin:begin + len(head)] == head


def _shrink(size: tuple[int, int], limit: int) -> tuple[int, int]:
    """A half, a quarter or an eighth of the sides: the first with at most `limit` pixels, else the eighth."""
    width, height = size
    factor = next((f for f in (2, 4, 8) if -(-width // f) * -(-height // f) <= limit), 8)
    return max(width // factor, 1), max(height // factor, 1)


def _decode(image: Image, low_bytes: _LowBytes | None, channels: int, bits: int) -> np.ndarray:
    """The upright pixels of an open file; needs memory for the image and for one more tile."""
    image.load()
    lying_view = _LYING_VIEWS.get(_read_orientation(image), np.asarray)
    is_lying = lying_view(np.empty((1, 2))).shape[0] == 2
    sides = image.size if is_lying else image.size[::-1]
    upright = np.empty((*sides, channels), "uint8")

    rows = max(_TILE // image.width, 1)
    boxes = [(left, top, min(left + _TILE, image.width), min(top + rows, image.height))
             for left in range(0, image.width, _TILE) for top in range(0, image.height, rows)]
    if is_deep := image.mode.startswith("I") or low_bytes is not None:
        bits = bits or choose_bits(max(int(_read_deep_tile(image, low_bytes, box).max()) for box in boxes))

    lying = lying_view(upright)
    for box in boxes:
        left, top, right, bottom = box
        tile = image.crop(box) if not is_deep else _from_array(
            convert_to_bytes(_read_deep_tile(image, low_bytes, box), bits))
        lying[top:bottom, left:right] = _convert_tile(tile, channels)
    return upright


def _read_deep_tile(image: Image, low_bytes: _LowBytes | None, box: tuple[int, int, int, int]) -> np.ndarray:
    """A part of an image of 16 bits: integers (height, width) or (height, width, 3)."""
    if low_bytes is None:       # gray
        return np.asarray(image.crop(box))
    low = np.asarray(low_bytes.image.crop(box), "uint16")[..., low_bytes.channels]
    pixels: np.ndarray = np.asarray(image.crop(box), "uint16")[..., :3] << 8 | low
    return pixels


def _from_array(pixels: np.ndarray) -> Image:
    from PIL.Image import fromarray
    return fromarray(pixels)


def _read_orientation(image: Image) -> Any:
    exif = image.info.get("exif")
    if exif is not None:
        image.info["exif"] = exif[:_MAX_EXIF]
    if len(image.info.get("Raw profile type exif", "")) > 3 * _MAX_EXIF:    # text, two digits for a byte
        del image.info["Raw profile type exif"]
    with _exif_lock:
        return image.getexif().get(_ORIENTATION)


def _convert_tile(tile: Image, channels: int) -> np.ndarray:
    """uint8 pixels (height, width, channels or 1)."""
    rgb = tile if tile.mode == "RGB" else tile.convert("RGB")
    return np.asarray(rgb) if channels == 3 else np.asarray(rgb.convert("L"))[..., None]
