"""How images are prepared for a net: `Preprocessing`, a function on files and pixels, or Keras layers.

decode.py reads files; sizes.py computes sizes; transform.py resizes and crops, resize.py has a layer for it.
This file combines them: decode, resize, crop, scale.  Arrays and files need neither Keras nor TensorFlow.
"""
from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, check_choice
from ..file_reading import read_bytes
from ..json_reader import to_dataclass
from .decode import open_image
from .limits import get_image_limits
from .preprocessing_checks import (PIXEL_SCALINGS, check_bits, check_fractions, check_pixels, check_scaling,
                                   check_sizes)
from .python_calls import call_python
from .sizes import CROP_MODES, INTERPOLATIONS, Size
from .transform import is_symbolic, resize_and_crop, resize_and_crop_on_host, reverse_channels
from .values import decode_values

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Preprocessing:
    """A function from images to what a net takes.

    Call it on files, bytes or pixels, give it to `tf.data.Dataset.map`, or call `as_layers()`.

    Args:
        size: (height, width) of the result, in pixels.
        pixels: how pixels are scaled: "torch" is (x / 255 - mean) / std, "tf" the same with mean = std = 0.5,
            "caffe" is BGR and x - mean, "raw" leaves 0..255.  "values" is (x - mean) / std of whatever the
            images have, 16 bits and floats too: nothing is rounded, or limited to 0..255.
        mean: a number for each channel, such as one for gray and three for RGB, in 0..1 ("caffe": BGR in
            0..255; "values": as in the images); by default the values of `pixels` in PIXEL_SCALINGS.
        std: the standard deviation, in the same form as `mean`.
        interpolation: "bilinear" or "bicubic".
        crop_pct: the part of the resized image that the crop keeps, in (0, 1].
        crop_mode: "center", "squash" or "border", see `compute_resized_size`.
        test_size: (height, width) for the published accuracy; may be larger than `size`, the default.
        test_crop_pct: `crop_pct` for the published accuracy; `crop_pct` by default.
        bits: how many of the 16 bits of such files are used, 9 to 16 (12 for many scanners); 0 for as many
            of 8, 10, 12, 14 and 16 as each image's largest value has.

    Raises:
        ArgumentError: for an unknown word, or if `mean` and `std` do not have equally many numbers.

    Example:
        >>> preprocessing = reskeras.get_preprocessing("resnet50v1_5.a1_in1k")
        >>> preprocessing(["cat.jpg", "dog.png"]).shape
        (2, 224, 224, 3)
    """

    size: Size
    pixels: str = "torch"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    test_size: Size = (0, 0)
    test_crop_pct: float = 0.0
    bits: int = 0

    def __post_init__(self) -> None:
        check_choice("pixels", self.pixels, PIXEL_SCALINGS)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        check_choice("crop_mode", self.crop_mode, CROP_MODES)

        mean, std = PIXEL_SCALINGS[self.pixels]
        values = {"size": self.size, "mean": self.mean or mean, "std": self.std or std,
                  "test_size": self.test_size if all(self.test_size) else self.size,
                  "test_crop_pct": self.test_crop_pct or self.crop_pct}
        for name, value in values.items():
            object.__setattr__(self, name, tuple(value) if isinstance(value, (list, tuple)) else value)

        check_sizes(size=self.size, test_size=self.test_size)
        check_scaling(self.mean, self.std)
        check_bits(self.bits)
        check_fractions(crop_pct=self.crop_pct, test_crop_pct=self.test_crop_pct)

    def __call__(self, images: Any, *rest: Any) -> Any:
        """Images as the net takes them.

        Args:
            images: a uint8 image (height, width) or (height, width, channels), a batch of them, the bytes or
                the path of a file, or a list of any of these.  The transparency of a file is removed; a photo
                is rotated as its EXIF data require.  With pixels="values" any number type.
            *rest: further values, returned unchanged, so that `dataset.map(preprocessing)` keeps the labels.

        Returns:
            A float32 array (N, height, width, channels); in tf.data a tensor, without axis N for a single
            image.

        Raises:
            ValueError: for anything that is not an image.
            TypeError: for pixels that are not uint8, if `pixels` is not "values".
        """
        result = self._prepare_in_graph(images) if is_symbolic(images) else self._prepare(images)
        return (result, *rest) if rest else result

    def _prepare(self, images: Any) -> np.ndarray:
        """Converts any images (see `__call__`) to an array (N, *size, channels)."""
        if isinstance(images, (list, tuple)):
            if not images:
                raise ValueError("no images: the list is empty")
            return np.concatenate([self._prepare(image) for image in images])

        if isinstance(images, (str, os.PathLike)):
            images = read_bytes(images)
        if not isinstance(images, bytes):
            pixels = np.asarray(images)
            if pixels.dtype.kind in "SO" and not pixels.ndim:
                images = pixels.item()      # a string tensor holds bytes too
        if isinstance(images, bytes):
            if self.has_values:
                return self._prepare_pixels(decode_values(images, len(self.mean))[None])
            with open_image(images, len(self.mean), self.bits) as pixels:
                return self._prepare_pixels(pixels[None])

        pixels = check_pixels(pixels[..., None] if pixels.ndim == 2 else pixels, self.has_values)
        return self._prepare_pixels(pixels[None] if pixels.ndim == 3 else pixels)

    def _prepare_in_graph(self, images: Any) -> Any:
        """Converts images in tf.data: a scalar string, or uint8 pixels with a known number of axes."""
        import tensorflow as tf
        shape = (None, None, len(self.mean))
        if images.dtype == tf.string and self.has_values:
            images = call_python(lambda data: decode_values(data, len(self.mean)), [images], tf.float32,
                                 "decode_values", {"channels": len(self.mean)}, shape)
        if images.dtype == tf.string:       # Pillow decodes without the GIL
            pixels, prepared = call_python(self.decode_or_prepare, [images], (tf.uint8, tf.float32),
                                           "decode_or_prepare", asdict(self), shape)
            image = tf.cond(tf.size(prepared) > 0, lambda: prepared, lambda: self.transform(pixels[None])[0])
            return tf.ensure_shape(image, (*self.size, len(self.mean)))
        if images.dtype != tf.uint8 and not self.has_values or images.shape.rank not in (3, 4):
            raise TypeError(f"{images}: expected uint8 pixels (height, width, channels), a batch of them, "
                            "or a file's bytes")
        return self.transform(images) if images.shape.rank == 4 else self.transform(images[None])[0]

    def decode_or_prepare(self, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """(The pixels of a file, nothing); or (nothing, the prepared image) of one that is so large that no
        others should be in memory before it is resized.
        """
        nothing = np.zeros((0, 0, len(self.mean)))
        with open_image(data, len(self.mean), self.bits) as pixels:
            if pixels.shape[0] * pixels.shape[1] <= get_image_limits().max_small_pixels:
                return pixels, nothing.astype("float32")
            return nothing.astype("uint8"), self._prepare_pixels(pixels[None])[0]

    def _prepare_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Converts pixels (N, height, width, channels).  Raises: ValueError if there is no memory for it."""
        array: np.ndarray = self.normalize(resize_and_crop_on_host(pixels, *self._geometry))
        return array

    def transform(self, pixels: Any) -> Any:
        """Resizes, crops and scales pixels with TensorFlow.

        TensorFlow's resize is used with every backend: images are read on the host, and tf.data can only use
        this one.

        Args:
            pixels: uint8 (N, height, width, channels), an array or a tensor; with "values" any numbers.

        Returns:
            A float32 tensor (N, *size, channels).
        """
        return self.normalize(resize_and_crop(pixels, *self._geometry))

    def normalize(self, x: Any) -> Any:
        """Scales pixels in 0..255 that already have the net's size.

        Args:
            x: float pixels (..., channels), an array of NumPy or a tensor of any backend; so is the result.
                With "values" the pixels' own values.
        """
        scale, offset = (np.array(values, "float32") for values in self.scale_and_offset)
        return (reverse_channels(x) if self.is_bgr else x) * scale + offset

    def as_layers(self, resize: bool = True) -> list[keras.layers.Layer]:
        """The same as Keras layers on pixels in 0..255, to put before a net.

        Args:
            resize: whether the layers also resize; if False, they only scale.

        Returns:
            Layers that take (N, height, width, channels), where channels is the net's number.

        Example:
            >>> keras.Sequential([*preprocessing.as_layers(), model])
        """
        import keras

        from .resize import ResizeAndCrop, ReverseChannels
        # Half precision is too coarse for 255 gray levels times a factor; the net casts the result.
        is_half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
        dtype = "float32" if is_half else None

        layers: list[keras.layers.Layer] = []
        if resize:
            layers.append(ResizeAndCrop(*self._geometry, name="preprocessing_resize", dtype=dtype))
        if self.is_bgr:
            layers.append(ReverseChannels(name="preprocessing_bgr", dtype=dtype))
        if self.pixels != "raw":
            layers.append(keras.layers.Rescaling(*self.scale_and_offset, name="preprocessing", dtype=dtype))
        return layers

    @property
    def scale_and_offset(self) -> tuple[list[float], list[float]]:
        """For each channel in 0..255 the factor, and the number that is then added."""
        if self.pixels == "raw":
            return [1.0] * len(self.mean), [0.0] * len(self.mean)
        max_pixel = 1 if self.pixels in ("caffe", "values") else 255
        return [1 / (max_pixel * s) for s in self.std], [-m / s for m, s in zip(self.mean, self.std)]

    @property
    def has_values(self) -> bool:
        """Whether images are taken by value, and not as pixels in 0..255."""
        return self.pixels == "values"

    @property
    def is_bgr(self) -> bool:
        """Whether the net takes blue before green and red."""
        return self.pixels == "caffe" and len(self.mean) == 3

    @property
    def _geometry(self) -> tuple[Size, Size, str, str, tuple[float, ...], bool]:
        """What the functions of a resize take: size, target, mode, interpolation, fill, has_values."""
        return (self.size, self.resize_target, self.crop_mode, self.interpolation, self.fill_pixel,
                self.has_values)

    @property
    def resize_target(self) -> Size:
        """(height, width) that an image is resized to, by `crop_mode`, before the crop."""
        height, width = (math.floor(side / self.crop_pct) for side in self.size)
        return height, width

    @property
    def fill_pixel(self) -> tuple[float, ...]:
        """The color of the border: the mean pixel, RGB in 0..255, or by value."""
        if self.has_values:
            return tuple(map(float, self.mean))
        means = self.mean[::-1] if self.pixels == "caffe" else self.mean
        return tuple(float(round(m if self.pixels in ("caffe", "raw") else 255 * m)) for m in means)

    def without_scaling(self) -> Preprocessing:
        """Makes a copy for a net that scales its pixels itself."""
        pixels, mean = ("values", (0.0,) * len(self.mean)) if self.has_values else ("raw", self.fill_pixel)
        return replace(self, pixels=pixels, mean=mean, std=(1.0,) * len(self.std))

    def with_test_size(self) -> Preprocessing:
        """Makes a copy with the size and crop of the published test."""
        return replace(self, size=self.test_size, crop_pct=self.test_crop_pct)

    def for_input_shape(self, shape: tuple[int | None, ...], test: bool = False) -> Preprocessing:
        """Makes a copy for a net of another image size, or of gray images instead of RGB, or the reverse.

        Args:
            shape: (height, width, channels) of the net; None for any height or width.
            test: whether to resize and crop as in the published test.

        Raises:
            ArgumentError: if `test` is True and the net's size is not the size of the published test.
            ValueError: if the net's number of channels is another one, and they are not gray and RGB.
        """
        height, width, channels = shape
        result = self.with_test_size() if test else self
        if height and width and (height, width) != result.size:
            if test:
                expected = f"a net for images of {result.size} pixels, the size of the published test"
                shapes = f"input_shape={(*result.size, channels)} or (None, None, {channels})"
                raise ArgumentError("test", test, expected, hint=(
                    f"this one takes {height, width} pixels; build it with {shapes}"))
            at_test = self.with_test_size()
            result = at_test if (height, width) == at_test.size else replace(result, size=(height, width))

        if channels == len(result.mean):
            return result
        if channels not in (1, 3) or len(result.mean) not in (1, 3) or self.has_values:
            known = len(result.mean) if self.has_values or len(result.mean) not in (1, 3) else "1 and 3"
            raise ValueError(f"the net takes {channels} channels; its preprocessing is defined for {known}")
        mean, std = ((sum(v) / 3,) if channels == 1 else (v[0],) * 3 for v in (result.mean, result.std))
        return replace(result, mean=mean, std=std)

    def get_config(self) -> dict[str, Any]:
        """The fields as files have them; `bits` only if it is given."""
        return {name: value for name, value in asdict(self).items() if name != "bits" or value}

    @classmethod
    def from_config(cls, config: Any) -> Preprocessing:
        """The inverse of `get_config`; fields of later versions are ignored.  Raises: ValueError."""
        return to_dataclass(cls, config, "preprocessing")
