"""The bytes of an image file to pixels that stand upright."""
from __future__ import annotations

import struct
from typing import Callable

import numpy as np

Turn = Callable[[np.ndarray], np.ndarray]
ORIENTATION, SHORT = 0x0112, 3      # a tag of Exif 2.32 and its type
UPRIGHT: dict[int, Turn] = {
    2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90}


def decode(data: bytes) -> np.ndarray:
    """RGB bytes (height, width, 3) of a JPEG, PNG, GIF (its first frame), BMP or WebP file, turned as a JPEG's EXIF says.

    Transparency is dropped, grey repeated, CMYK converted, 16 bits become 8.  Keras decodes files with its backend or
    Pillow; TensorFlow's decoder gives libjpeg's exact pixels, and is imported here alone since arrays need none.

    Raises: ValueError for what is no such file, or a truncated one.
    """
    import tensorflow as tf
    try:
        if data[:2] == b"\xff\xd8":
            # the slow, accurate transform: what libjpeg and so Pillow, torchvision and timm use
            image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        elif data[:2] == b"BM":
            image = tf.io.decode_bmp(data)      # of 1, 3 or 4 channels, and none can be asked for
        else:
            image = tf.io.decode_image(data, channels=3, expand_animations=False)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        raise ValueError("no readable JPEG, PNG, GIF, BMP or WebP image") from error
    pixels = image.numpy()
    pixels = pixels.repeat(3, -1) if pixels.shape[-1] == 1 else pixels[..., :3]
    return np.ascontiguousarray(UPRIGHT.get(orientation(data), np.asarray)(pixels))


def orientation(data: bytes) -> int:
    """How a JPEG's EXIF data turn and mirror it, 1 (not at all) to 8; 1 where there are none."""
    place = 2 if data[:2] == b"\xff\xd8" else len(data)
    try:
        while data[place] == 0xFF and data[place + 1] != 0xDA:      # segments, up to the start of the scan
            (length,) = struct.unpack_from(">H", data, place + 2)
            if data[place + 1] == 0xE1 and data[place + 4:place + 10] == b"Exif\0\0":
                return tag(data[place + 10:place + 2 + length])
            place += 2 + length
    except (IndexError, struct.error):      # EXIF of no use is no reason to refuse a picture
        pass
    return 1


def tag(tiff: bytes) -> int:
    """The orientation in the first directory of a TIFF structure, or 1."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "<")
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, first)
    for place in range(first + 2, first + 2 + 12 * entries, 12):
        key, kind, _, value = struct.unpack_from(order + "HHIH", tiff, place)
        if (key, kind) == (ORIENTATION, SHORT):
            return value
    return 1
