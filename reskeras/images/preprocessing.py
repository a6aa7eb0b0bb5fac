"""What a net expects of an image, as a function on files and pixels, within tf.data, and as Keras layers."""
from __future__ import annotations

import math
import os
import pathlib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import keras
import numpy as np

from ..errors import nearest
from .decode import decode_image
from .resize import INTERPOLATION_KERNELS, CROP_MODES, ResizeAndCrop, ReverseChannels, Size, compute_margins, compute_resized_size

# Keras' names, with mean and deviation: of 0..1, of BGR in 0..255 (caffe); raw stays in 0..255
PIXEL_SCALINGS = {"torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "tf": ((0.5,) * 3, (0.5,) * 3),
          "caffe": ((103.939, 116.779, 123.68), (1.0,) * 3), "raw": ((0.0,) * 3, (1.0,) * 3)}
_LUMA = (19595, 38470, 7471)             # ITU-R 601 in 1/65536, as Pillow has it


@dataclass(frozen=True)
class Preprocessing:
    """A function from images to what the net takes: call it on files, pixels or within tf.data, or ask for `as_layers()`."""
    size: Size                                          # (height, width)
    pixels: str = "torch"
    mean: tuple[float, ...] = ()                        # one number for grey or three; those of `pixels` by default
    std: tuple[float, ...] = ()
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    test_size: Size = (0, 0)                            # published accuracies may be of a larger image
    test_crop_pct: float = 0.0

    def __post_init__(self):
        for field, known in (("pixels", PIXEL_SCALINGS), ("interpolation", INTERPOLATION_KERNELS), ("crop_mode", CROP_MODES)):
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r}: expected one of {', '.join(known)}"
                                 f"{nearest(getattr(self, field), known)}")
        for field, value in (("mean", self.mean or PIXEL_SCALINGS[self.pixels][0]), ("std", self.std or PIXEL_SCALINGS[self.pixels][1]),
                             ("size", self.size), ("test_size", self.test_size if all(self.test_size) else self.size),
                             ("test_crop_pct", self.test_crop_pct or self.crop_pct)):
            object.__setattr__(self, field, tuple(value) if isinstance(value, (list, tuple)) else value)
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            raise ValueError(f"mean={self.mean}, std={self.std}: expected one number each for grey, three for RGB")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct={self.crop_pct!r}: expected a part of the image, in (0, 1]")

    def __call__(self, images: Any, *rest: Any) -> Any:
        """Float32 pixels as the net takes them.

        Arguments:
            images: a uint8 image (height, width) or (height, width, 1 to 4), a batch of them, the bytes or the path of a
                file, or a list of any of these.  Transparency is dropped; a photograph is turned as its EXIF data say.
            *rest: given back as it is, so that `dataset.map(preprocess)` keeps the labels.
        Returns: an array (N, height, width, channels); within tf.data a tensor, without N where the image has none.
        Raises: ValueError for what is no image, TypeError for pixels of another type.
        """
        result = self.tensor(images) if _is_symbolic(images) else self.arrays(images)
        return (result, *rest) if rest else result

    def arrays(self, images: Any) -> np.ndarray:
        if isinstance(images, (list, tuple)):
            if not images:
                raise ValueError("no images: the list is empty")
            return np.concatenate([self.arrays(image) for image in images])
        if isinstance(images, (str, os.PathLike)):
            images = pathlib.Path(images).read_bytes()
        pixels = np.asarray(images)
        if pixels.dtype.kind in "SO" and not pixels.ndim:
            images = pixels.item()      # a string tensor holds bytes too
        pixels = decode_image(images) if isinstance(images, bytes) else pixels
        if pixels.dtype != "uint8":
            raise TypeError(f"pixels of type {pixels.dtype}: expected uint8, 0 to 255; floats of the net's own size that "
                            "need no resizing are for reskeras.preprocess_input")
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.ndim not in (3, 4) or not all(pixels.shape):
            raise ValueError(f"pixels of shape {pixels.shape}: expected images (N, height, width, channels) or one")
        return self.transform(pixels[None] if pixels.ndim == 3 else pixels).numpy()

    def tensor(self, images: Any) -> Any:
        """The same within tf.data: a scalar string or uint8 pixels of known rank."""
        import tensorflow as tf
        if images.dtype == tf.string:
            images = tf.numpy_function(decode_image, [images], tf.uint8)      # Pillow holds no lock while it decodes
            images.set_shape((None, None, 3))
        if images.dtype != tf.uint8 or images.shape.rank not in (3, 4):
            raise TypeError(f"{images}: expected uint8 pixels (height, width, channels), a batch of them, or a file's bytes")
        return self.transform(images) if images.shape.rank == 4 else self.transform(images[None])[0]

    map_fn = __call__

    def transform(self, pixels: Any) -> Any:
        """(N, height, width, 1 to 4) bytes to the net's (N, *size, channels): resize, crop, scale.

        TensorFlow's resize, on every backend: it works on the host, where images are read, and it is the one in tf.data.
        """
        import tensorflow as tf

        def line(x: Any, height: Any, width: Any) -> Any:
            # whole numbers after each direction, as Pillow: within one grey level of it
            x = tf.image.resize(x, (height, width), self.interpolation, antialias=True)
            return tf.clip_by_value(tf.round(x), 0, 255)
        x = _convert_channels(tf.convert_to_tensor(pixels), len(self.mean))
        known = all(x.shape[1:3])
        height, width = x.shape[1:3] if known else tf.unstack(tf.shape(x)[1:3])
        least, most = (min, max) if known else (tf.minimum, tf.maximum)
        h, w = compute_resized_size(height, width, self.resize_target, self.crop_mode, least, most)
        x = line(line(x, height, w), h, w)
        (top, above, below), (left, before, behind) = compute_margins(h, self.size[0], most), compute_margins(w, self.size[1], most)
        fill = tf.constant(self.fill_pixel)
        x = tf.pad(x - fill, [(0, 0), (above, below), (before, behind), (0, 0)]) + fill
        x = x[:, top:top + self.size[0], left:left + self.size[1]]
        return self.normalize(tf.ensure_shape(x, (None, *self.size, len(self.mean))))

    def normalize(self, x: Any) -> Any:
        """Pixels in 0..255 of the net's size, scaled and shifted; of NumPy's or any backend's type."""
        scale, offset = (np.array(values, "float32") for values in self.scale_and_offset)
        return (x[..., ::-1] if self.is_bgr else x) * scale + offset

    def as_layers(self, resize: bool = True) -> list[keras.layers.Layer]:
        """The same as Keras layers on pixels in 0..255, to put before a net: `keras.Sequential([*p.as_layers(), net])`.

        Arguments:
            resize: whether images of other sizes come in; else only scaling is left.
        """
        found: list[keras.layers.Layer] = []
        # half precision has not the digits for 255 grey levels times a factor; the net casts what comes out
        half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
        dtype = "float32" if half else None
        if resize:
            found.append(ResizeAndCrop(self.size, self.resize_target, self.crop_mode, self.interpolation, self.fill_pixel,
                                       name="preprocessing_resize", dtype=dtype))
        if self.is_bgr:
            found.append(ReverseChannels(name="preprocessing_bgr", dtype=dtype))
        if self.pixels != "raw":
            found.append(keras.layers.Rescaling(*self.scale_and_offset, name="preprocessing", dtype=dtype))
        return found

    @property
    def scale_and_offset(self) -> tuple[list[float], list[float]]:
        """Factor and summand of each channel of 0..255."""
        if self.pixels == "raw":
            return [1.0] * len(self.mean), [0.0] * len(self.mean)
        white = 1 if self.pixels == "caffe" else 255
        return [1 / (white * s) for s in self.std], [-m / s for m, s in zip(self.mean, self.std)]

    @property
    def is_bgr(self) -> bool:
        return self.pixels == "caffe" and len(self.mean) == 3

    @property
    def resize_target(self) -> Size:
        height, width = (math.floor(side / self.crop_pct) for side in self.size)
        return height, width

    @property
    def fill_pixel(self) -> tuple[float, ...]:
        """The border: the mean pixel, RGB in 0..255."""
        means = self.mean[::-1] if self.pixels == "caffe" else self.mean
        return tuple(float(round(m if self.pixels in ("caffe", "raw") else 255 * m)) for m in means)

    def without_scaling(self) -> Preprocessing:
        """Without the scaling, for a net that has it inside."""
        return replace(self, pixels="raw", mean=self.fill_pixel, std=(1.0,) * len(self.std))

    def with_test_size(self) -> Preprocessing:
        """With the size and crop of the published accuracy."""
        return replace(self, size=self.test_size, crop_pct=self.test_crop_pct)

    def for_input_shape(self, shape: tuple[int | None, ...], test: bool = False) -> Preprocessing:
        """For a net whose images are `shape`, (height, width, channels): its own size, where it has one.

        Raises: ValueError where a test at another size is asked for, or where the channels are neither grey nor RGB.
        """
        height, width, number = shape
        found = self.with_test_size() if test else self
        if height and width and (height, width) != found.size:
            own = (height, width)
            if test:
                raise ValueError(f"test=True: the published accuracy is of {found.size} pixels, the net takes {own}; build "
                                 f"it with input_shape={(*found.size, number)} or (None, None, {number})")
            tested = self.with_test_size()
            found = tested if own == tested.size else replace(found, size=own)
        if number == len(found.mean):
            return found
        if number not in (1, 3):
            raise ValueError(f"the net takes {number} channels, and its weights' preprocessing is defined for 1 and 3")
        mean, std = ((sum(v) / 3,) if number == 1 else (v[0],) * 3 for v in (found.mean, found.std))
        return replace(found, mean=mean, std=std)

    def get_config(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Preprocessing:
        """The inverse of `get_config`; fields that a later version may have added are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in config.items() if k in known})


def _convert_channels(x: Any, number: int) -> Any:
    """(N, height, width, 1 to 4) with `number` channels, 1 or 3; two and four have an alpha channel, which is dropped."""
    import tensorflow as tf
    have = x.shape[-1]
    if have not in (1, 2, 3, 4):
        raise ValueError(f"images of {have} channels: expected grey (1), RGB (3), or either with transparency (2, 4)")
    x = x[..., :-1] if have in (2, 4) else x
    if x.shape[-1] == 1 and number == 3:
        x = tf.repeat(x, 3, -1)
    elif x.shape[-1] == 3 and number == 1:
        x = (tf.reduce_sum(tf.cast(x, tf.int32) * _LUMA, -1, keepdims=True) + 2 ** 15) // 2 ** 16
    return tf.cast(x, tf.float32)


def _is_symbolic(images: Any) -> bool:
    import tensorflow as tf
    return tf.is_symbolic_tensor(images) if isinstance(images, tf.Tensor) else False
