"""Resizes and crops with a Keras layer: two matrix products, operations that every runtime has.

An image is resized and then cropped (or padded) to the size that a net takes.  sizes.py computes the numbers;
transform.py resizes with TensorFlow, pillow_transform.py with Pillow.  All filter against aliasing, as Pillow
does.
"""
from __future__ import annotations

from typing import Any, Callable

import keras
from keras import layers, ops

from .sizes import Size, compute_margins, compute_resized_size

_register = keras.saving.register_keras_serializable("reskeras")


def _cubic(t: Any) -> Any:
    """The cubic kernel of Keys 1981 with a = -1/2, as in Pillow."""
    near, far = (1.5 * t - 2.5) * t * t + 1, ((2.5 - 0.5 * t) * t - 4) * t + 2
    return ops.where(t < 1, near, ops.where(t < 2, far, 0.0))


# the weight of a pixel at a distance of t pixels, t >= 0
_KERNELS: dict[str, Callable[[Any], Any]] = {"bilinear": lambda t: ops.maximum(1 - t, 0.0),
                                             "bicubic": _cubic}


@_register
class ResizeAndCrop(layers.Layer):
    """Resizes and crops pixels of any size, as `Preprocessing` does, with operations that every runtime has.

    The result is not rounded to whole numbers, unlike Pillow's: a value between two numbers would be rounded
    up in one runtime and down in another, and no export could be shown to be equal.

    Args:
        size: (height, width) of the result.
        target: (height, width) that the image is resized to before the crop, by `mode`.
        mode: "center", "squash" or "border", as in `compute_resized_size`.
        interpolation: "bilinear" or "bicubic".
        fill: the color of the border, one number for each channel, 0 to 255.
        has_values: whether the pixels are any numbers, whose results are not limited to 0..255.

    Input: pixels (N, height, width, channels), 0 to 255.
    Output: (N, *size, channels), 0 to 255.
    """

    def __init__(self, size: Size, target: Size, mode: str = "center", interpolation: str = "bicubic",
                 fill: tuple[float, ...] = (0.0,), has_values: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.size: Size = (size[0], size[1])
        self.target: Size = (target[0], target[1])
        self.fill = tuple(fill)
        self.mode, self.interpolation, self.has_values = mode, interpolation, has_values

    def call(self, inputs: Any) -> Any:
        # 16-bit types cannot hold 255 levels and the fractions between them
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        _, height, width, channels = ops.shape(x)
        is_known = isinstance(height, int) and isinstance(width, int)
        minimum, maximum = (min, max) if is_known else (ops.minimum, ops.maximum)
        new_height, new_width = compute_resized_size(height, width, self.target, self.mode, minimum, maximum)
        fill = ops.cast(ops.convert_to_tensor(self.fill), x.dtype)
        across = self._make_matrix(width, new_width, self.size[1], x.dtype)
        down = self._make_matrix(height, new_height, self.size[0], x.dtype)

        # first the width, then the height; clipped after each, as in Pillow
        x = self._clip(ops.matmul(across, x - fill) + fill)
        x = ops.reshape(x - fill, (-1, height, self.size[1] * channels))
        x = self._clip(ops.reshape(ops.matmul(down, x), (-1, *self.size, channels)) + fill)
        return ops.cast(x, self.compute_dtype)

    def _make_matrix(self, size: Any, resized: Any, crop: int, dtype: str) -> Any:
        """Resizes and crops along one axis: row i has the weight of each old pixel in new pixel i.

        Args:
            size: number of pixels before.
            resized: number of pixels after the resize.
            crop: number of pixels after the crop.

        Returns:
            A matrix (crop, size), with zeros in the rows of the border.
        """
        cut, padding, _ = compute_margins(resized, crop, max if isinstance(resized, int) else ops.maximum)
        position = ops.arange(crop) + (cut - padding)
        is_inside = ops.logical_and(position >= 0, position < resized)
        scale = ops.cast(size, dtype) / ops.cast(resized, dtype)
        center = (ops.cast(ops.clip(position, 0, resized - 1), dtype) + 0.5) * scale
        distance = ops.abs(ops.cast(ops.arange(size), dtype)[None, :] + 0.5 - center[:, None])
        weight = _KERNELS[self.interpolation](distance / ops.maximum(scale, 1.0))
        weight = weight / ops.sum(weight, axis=1, keepdims=True)
        return weight * ops.cast(is_inside, dtype)[:, None]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "size": self.size, "target": self.target, "mode": self.mode,
                  "interpolation": self.interpolation, "fill": self.fill}
        return {**config, "has_values": True} if self.has_values else config

    def _clip(self, x: Any) -> Any:
        return x if self.has_values else ops.clip(x, 0, 255)


@_register
class ReverseChannels(layers.Layer):
    """RGB to BGR, by slices: in edge runtimes a reversal would be an operation of its own.

    Input and output: (N, height, width, channels).
    """

    def call(self, inputs: Any) -> Any:
        return ops.concatenate([inputs[..., c:c + 1] for c in reversed(range(inputs.shape[-1]))], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
