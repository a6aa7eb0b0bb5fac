"""Decodes image files: from bytes to upright pixels."""
from __future__ import annotations

import io

import numpy as np

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


def decode_image(data: bytes) -> np.ndarray:
    """The pixels of an image file, as timm and torchvision read it: Pillow decodes.

    The image is rotated as its EXIF data require.  Transparency is removed, gray and CMYK become RGB, 16 bits
    become 8.

    Args:
        data: the bytes of a JPEG, PNG, GIF (its first frame is used), BMP or WebP file.

    Returns:
        uint8 RGB pixels (height, width, 3).

    Raises:
        ValueError: for other data, a truncated file, or more pixels than Pillow accepts.
    """
    from PIL import Image, ImageOps
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # for broken bytes decoders raise OSError, SyntaxError, struct.error ...
        raise ValueError(f"not a readable {', '.join(_FORMATS[:-1])} or WebP image") from error

    if upright.mode.startswith("I"):    # 16 bits of gray, which Pillow's own conversion would clip
        gray = (np.asarray(upright) >> 8).astype("uint8")
        return np.repeat(gray[..., None], 3, axis=-1)
    return np.array(upright.convert("RGB"))
