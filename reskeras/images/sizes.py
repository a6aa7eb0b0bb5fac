"""The sizes of a resize and a crop: how large an image becomes, and what is cut off or added."""
from __future__ import annotations

from typing import Any

CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("bilinear", "bicubic")
Size = tuple[int, int]


def compute_resized_size(height: Any, width: Any, target: Size, mode: str, minimum: Any = min,
                         maximum: Any = max) -> tuple[Any, Any]:
    """The size of the whole image after the resize, before the crop.

    Args:
        height: height of the image, an integer or an integer tensor.
        width: width of the image.
        target: (height, width), the size of the crop divided by crop_pct.
        mode: "squash" resizes to `target` without regard for proportions, "center" to the smallest size that
            fills it, "border" to the largest size inside it.
        minimum: function for the minimum of two numbers, or of two tensors if the size is a tensor.
        maximum: function for the maximum, likewise.

    Returns:
        (height, width).
    """
    target_height, target_width = target
    if mode == "squash":
        return target_height, target_width
    if mode == "border":
        return (minimum(target_height, maximum(_divide_and_round(height * target_width, width), 1)),
                minimum(target_width, maximum(_divide_and_round(width * target_height, height), 1)))
    if target_height == target_width:   # a square: drops the fraction, as torchvision; below: rounds, as timm
        return (maximum(target_height, height * target_height // width),
                maximum(target_width, width * target_width // height))
    return (maximum(target_height, _divide_and_round(height * target_width, width)),
            maximum(target_width, _divide_and_round(width * target_height, height)))


def _divide_and_round(a: Any, b: Any) -> Any:
    """Rounds a / b, for integers or integer tensors."""
    return (2 * a + b) // (2 * b)


def compute_margins(size: Any, crop: int, maximum: Any = max) -> tuple[Any, Any, Any]:
    """Computes what to cut and to pad along one axis, so that `crop` pixels are left.

    Args:
        size: number of pixels before, an integer or an integer tensor.
        crop: number of pixels after.
        maximum: function for the maximum of two numbers, or of two tensors if `size` is a tensor.

    Returns:
        How many pixels to cut at the beginning, to pad at the beginning, and to pad at the end.
    """
    cut, padding = maximum(size - crop, 0), maximum(crop - size, 0)
    half = cut // 2
    # halves are rounded to even, as Python's round does
    return half + cut % 2 * (half % 2), padding // 2, padding - padding // 2


def check_channels(channels: int, expected: int, has_values: bool = False) -> None:
    """Checks the number of channels of pixels in memory.

    A file says whether one of its bands is transparency; an array of four bands may be infrared as well.

    Args:
        channels: of the images.
        expected: those that the net takes; gray (1) and RGB (3) are converted into each other.
        has_values: whether the images are taken by value, and nothing is converted.

    Raises:
        ValueError: for another number of channels.
    """
    if has_values and channels != expected or expected not in (1, 3, channels):
        raise ValueError(f"images of {channels} channels: expected {expected}, of which the net's "
                         "preprocessing has a mean each")
    if channels not in (1, 3) and channels != expected:
        hint = (f"; if the last one is transparency, leave it out: x[..., :{channels - 1}]"
                if channels in (2, 4) else "")
        raise ValueError(f"images of {channels} channels: expected gray (1) or RGB (3){hint}")
