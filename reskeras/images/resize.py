"""Resizing with antialias and cropping: the geometry, and as a Keras layer two matrices, which every runtime has."""
from __future__ import annotations

from typing import Any, Callable

import keras
from keras import layers, ops

_register = keras.saving.register_keras_serializable("reskeras")
CROP_MODES = ("center", "squash", "border")
Size = tuple[int, int]


def _cubic(t: Any) -> Any:
    """Keys 1981 with a = -1/2, as Pillow has it."""
    near, far = (1.5 * t - 2.5) * t * t + 1, ((2.5 - 0.5 * t) * t - 4) * t + 2
    return ops.where(t < 1, near, ops.where(t < 2, far, 0.0))


INTERPOLATION_KERNELS: dict[str, Callable[[Any], Any]] = {"bilinear": lambda t: ops.maximum(1 - t, 0.0), "bicubic": _cubic}


def compute_resized_size(height: Any, width: Any, target: Size, mode: str, least: Any = min, most: Any = max) -> tuple[Any, Any]:
    """(height, width) of the whole image before the crop; `target` is the crop over crop_pct.

    "squash" has no regard for proportions, "center" fills the target and "border" stays inside it.  `least` and `most` are
    those of tensors where a size is known only with the image.
    """
    th, tw = target
    if mode == "squash":
        return th, tw
    if mode == "border":
        return least(th, _divide_and_round(height * tw, width)), least(tw, _divide_and_round(width * th, height))
    if th == tw:    # torchvision's Resize cuts the fraction off, timm's for other shapes rounds
        return most(th, height * th // width), most(tw, width * tw // height)
    return most(th, _divide_and_round(height * tw, width)), most(tw, _divide_and_round(width * th, height))


def _divide_and_round(a: Any, b: Any) -> Any:
    """a / b, rounded; of integers or integer tensors."""
    return (2 * a + b) // (2 * b)


def compute_margins(size: Any, crop: int, most: Any = max) -> tuple[Any, Any, Any]:
    """(cells to cut before, to pad before, to pad behind) that leave `crop` of `size` cells."""
    cut, lack = most(size - crop, 0), most(crop - size, 0)
    half = cut // 2
    return half + cut % 2 * (half % 2), lack // 2, lack - lack // 2     # halves round to even, as Python's round does


@_register
class ResizeAndCrop(layers.Layer):
    """Pixels of any size to `size`, resized as a weights row says, antialiased.

    Not rounded to whole numbers, other than Pillow's: a tie would fall to either side in another runtime, and no export
    could be proved equal.

    Arguments:
        size: (height, width) of the result.
        target: (height, width) that the image is resized to before the crop, by `mode`: "center", "squash" or "border".
        interpolation: "bilinear" or "bicubic".
        fill: the border's pixel.
    """

    def __init__(self, size: Size, target: Size, mode: str = "center", interpolation: str = "bicubic",
                 fill: tuple[float, ...] = (0.0,), **kwargs: Any):
        super().__init__(**kwargs)
        self.size: Size = (size[0], size[1])
        self.target: Size = (target[0], target[1])
        self.fill = tuple(fill)
        self.mode, self.interpolation = mode, interpolation

    def call(self, inputs):
        # half types hold no 255 levels with the fractions between
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        _, height, width, channels = ops.shape(x)
        h, w = compute_resized_size(height, width, self.target, self.mode, *(
            (min, max) if isinstance(height, int) and isinstance(width, int) else (ops.minimum, ops.maximum)))
        fill = ops.cast(ops.convert_to_tensor(self.fill), x.dtype)
        across, down = (self.matrix(*sizes, x.dtype) for sizes in ((width, w, self.size[1]), (height, h, self.size[0])))
        # along the rows first and clipped between, as Pillow
        x = _clipped(ops.matmul(across, x - fill) + fill)
        x = ops.reshape(x - fill, (-1, height, self.size[1] * channels))
        x = _clipped(ops.reshape(ops.matmul(down, x), (-1, *self.size, channels)) + fill)
        return ops.cast(x, self.compute_dtype)

    def matrix(self, cells: Any, whole: Any, crop: int, dtype: str) -> Any:
        """(crop, cells): the weight of each cell of a line in each cell of the cropped one; zeros for the border."""
        static = isinstance(whole, int)
        cut, before, _ = compute_margins(whole, crop, max if static else ops.maximum)
        place = ops.arange(crop) + (cut - before)
        inside = ops.logical_and(place >= 0, place < whole)
        scale = ops.cast(cells, dtype) / ops.cast(whole, dtype)
        centre = (ops.cast(ops.clip(place, 0, whole - 1), dtype) + 0.5) * scale
        distance = ops.abs(ops.cast(ops.arange(cells), dtype)[None, :] + 0.5 - centre[:, None])
        weight = INTERPOLATION_KERNELS[self.interpolation](distance / ops.maximum(scale, 1.0))
        weight = weight / ops.sum(weight, axis=1, keepdims=True)
        return weight * ops.cast(inside, dtype)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.size, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "size": self.size, "target": self.target, "mode": self.mode,
                "interpolation": self.interpolation, "fill": self.fill}


def _clipped(x: Any) -> Any:
    return ops.clip(x, 0, 255)


@_register
class ReverseChannels(layers.Layer):
    """RGB to BGR, by slices: edge runtimes' reversal is an operation of its own."""

    def call(self, inputs):
        return ops.concatenate([inputs[..., c:c + 1] for c in reversed(range(inputs.shape[-1]))], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape
