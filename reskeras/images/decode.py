"""The bytes of an image file to pixels that stand upright."""
from __future__ import annotations

import io

import numpy as np

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


def decode_image(data: bytes) -> np.ndarray:
    """RGB bytes (height, width, 3) of a JPEG, PNG, GIF (its first frame), BMP or WebP file, turned as its EXIF data say.

    Transparency is dropped, grey repeated, CMYK converted, 16 bits become 8.  Pillow decodes, as in timm and torchvision.

    Raises: ValueError for what is no such file, a truncated one, or one of more pixels than Pillow takes for honest.
    """
    from PIL import Image, ImageOps
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # a decoder meets broken bytes with whatever it was doing: OSError, SyntaxError, struct.error ...
        raise ValueError(f"no readable {', '.join(_FORMATS[:-1])} or WebP image") from error
    if upright.mode.startswith("I"):    # 16 bits of grey, which Pillow's own conversion would clip
        return np.repeat((np.asarray(upright) >> 8).astype("uint8")[..., None], 3, axis=-1)
    return np.array(upright.convert("RGB"))
