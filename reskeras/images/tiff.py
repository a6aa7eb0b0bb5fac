"""Reduces a TIFF file to what is needed to decode its first picture, and checks that this may be done."""
from __future__ import annotations

import struct
from typing import NamedTuple

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
TIFF_PREFIXES = tuple(_ORDERS)
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_SHORT, _LONG = 3, 4

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, _SAMPLES = 256, 257, 258, 259, 262, 277
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT = 322, 323, 338, 339
# also: fill order, strips, orientation, planes, fax options, predictor, palette, tiles, JPEG tables, YCbCr
_KEPT = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, 266, 273, 274, _SAMPLES, 278, 279, 284, 292, 293, 317,
         320, _TILE_WIDTH, _TILE_HEIGHT, 324, 325, _EXTRA, _FORMAT, 347, 529, 530, 531, 532}
# none, fax, LZW, JPEG, deflate, PackBits
_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
_MAX_VALUE_BYTES = 2 ** 22      # of all tags; Pillow makes Python numbers of them
_MAX_TILE_SIDE = 2 ** 12        # of a picture that is smaller
_RGB, _ALPHAS = 2, (1, 2)
_UNREADABLE = "not a readable TIFF image"


class _Tag(NamedTuple):
    number: int
    type: int
    values: int
    entry: bytes        # the 12 bytes of it in the directory


def reduce_tiff(data: bytes) -> bytes:
    """The same file with one picture, the first, and only the tags that say how its pixels are stored.

    Pillow copies the value of each tag, and many tags may share the bytes of a large file.

    Args:
        data: the bytes of a TIFF file.

    Raises:
        ValueError: for a damaged file, and for pixels that are no colors of 8 or 16 bits: floats, or bands
            besides red, green, blue and transparency.
    """
    order = _ORDERS[data[:4]]
    try:
        begin, = struct.unpack_from(f"{order}I", data, 4)
        tags = _read_tags(data, order, begin)
        _check_pixels({number: _read_numbers(data, order, tag) for number, tag in tags.items()
                       if number in (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, _SAMPLES, _TILE_WIDTH,
                                     _TILE_HEIGHT, _EXTRA, _FORMAT)})
    except struct.error as error:
        raise ValueError(_UNREADABLE) from error
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(tag.entry for tag in tags.values()) + bytes(4)
    return data[:begin] + directory + data[begin + len(directory):]


def _read_tags(data: bytes, order: str, begin: int) -> dict[int, _Tag]:
    """The tags of the directory at `begin` that are kept, each once."""
    tags: dict[int, _Tag] = {}
    size = 0
    for place in range(begin + 2, begin + 2 + 12 * struct.unpack_from(f"{order}H", data, begin)[0], 12):
        number, kind, count = struct.unpack_from(f"{order}HHI", data, place)
        if number in _KEPT and number not in tags:
            tags[number] = _Tag(number, kind, count, data[place:place + 12])
            size += count * _TYPE_BYTES.get(kind, _MAX_VALUE_BYTES)
            if size > _MAX_VALUE_BYTES:
                raise ValueError(_UNREADABLE)
    return tags


def _read_numbers(data: bytes, order: str, tag: _Tag) -> tuple[int, ...]:
    """The whole numbers of a tag; they are in its entry if they fit there."""
    letter = {_SHORT: "H", _LONG: "I"}.get(tag.type)
    if letter is None or not tag.values:
        raise ValueError(_UNREADABLE)
    form = f"{order}{tag.values}{letter}"
    if struct.calcsize(form) <= 4:
        return struct.unpack_from(form, tag.entry, 8)
    return struct.unpack_from(form, data, struct.unpack_from(f"{order}I", tag.entry, 8)[0])


def _check_pixels(values: dict[int, tuple[int, ...]]) -> None:
    """Raises: ValueError for pixels that would not be read as they are meant."""
    def get(number: int, default: int) -> int:
        return values.get(number, (default,))[0]
    for tile, side in ((_TILE_WIDTH, _WIDTH), (_TILE_HEIGHT, _HEIGHT)):
        if get(tile, 0) > max(get(side, 0), _MAX_TILE_SIDE):
            raise ValueError(_UNREADABLE)
    if get(_COMPRESSION, 1) not in _COMPRESSIONS:
        raise ValueError(f"its TIFF compression, {get(_COMPRESSION, 1)}, is not one that is read")

    if max(values.get(_BITS, (1,))) > 16 or set(values.get(_FORMAT, (1,))) - {1, 4}:
        raise ValueError("its pixels are floats, negative, or of more than 16 bits; expected a TIFF image of "
                         "8 or 16 bits")
    if get(_COLORS, 1) == 0 and max(values.get(_BITS, (1,))) > 8:     # Pillow would show the negative
        raise ValueError("its pixels have more than 8 bits, and 0 is white; expected 0 to be black")
    bands, extra = get(_SAMPLES, 1), values.get(_EXTRA, ())
    colors = {_RGB: 3, 5: 4, 6: 3, 8: 3}.get(get(_COLORS, 1), 1)     # RGB, CMYK, YCbCr, Lab; else gray
    if bands > colors and not (bands == colors + 1 and extra[:1] and extra[0] in _ALPHAS):
        raise ValueError(f"it has {bands} bands, and what is behind the first {colors} is not said to be "
                         "transparency; expected gray or RGB")
