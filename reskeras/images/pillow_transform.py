"""Resizes and crops pixels with Pillow only, for machines without TensorFlow."""
from __future__ import annotations

import numpy as np

from .sizes import Size, check_channels, compute_margins, compute_resized_size


def resize_and_crop_array(pixels: np.ndarray, size: Size, target: Size, mode: str, interpolation: str,
                          fill: tuple[float, ...], has_values: bool = False) -> np.ndarray:
    """Does what `transform.resize_and_crop` does, from which it differs by a level at most nearly everywhere.

    The arguments are the same, and the result is an array instead of a tensor.

    Raises:
        ValueError: for a number of channels that is not that of `fill`, nor 1 or 3.
    """
    channels = pixels.shape[-1]
    check_channels(channels, len(fill), has_values)
    pixels = pixels.astype("float32") if has_values else pixels
    result = np.empty((len(pixels), *size, len(fill)), "float32")
    result[:] = fill
    for image, canvas in zip(pixels, result):
        if has_values or channels not in (1, 3):
            for i in range(channels):
                _paint(image[..., i:i + 1], canvas[..., i:i + 1], target, mode, interpolation)
        else:
            _paint(image, canvas, target, mode, interpolation)
    return result


def _paint(pixels: np.ndarray, canvas: np.ndarray, target: Size, mode: str, interpolation: str) -> None:
    """Resizes one image (height, width, 1 or 3) into the middle of `canvas`, which has its border already."""
    from PIL import Image
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    image = image.convert("L") if canvas.shape[-1] == 1 and image.mode != "F" else image

    old = (image.height, image.width)
    new = compute_resized_size(*old, target, mode)
    # only the part that the crop keeps: for each side the pixels to cut, to pad, and to keep
    cuts, paddings, kept = zip(*((*compute_margins(n, crop)[:2], min(n, crop))
                                 for n, crop in zip(new, canvas.shape)))
    top, left, bottom, right = (edge * o / n for edges in (cuts, map(sum, zip(cuts, kept)))
                                for edge, o, n in zip(edges, old, new))
    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    resized = np.asarray(image.resize(kept[::-1], kernel, box=(left, top, right, bottom)))
    canvas[paddings[0]:paddings[0] + kept[0], paddings[1]:paddings[1] + kept[1]] = (
        resized[..., None] if resized.ndim == 2 else resized)
