"""Resizes and crops pixels with TensorFlow: only what the crop keeps, and in uint8 as long as possible."""
from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .sizes import Size, check_channels, compute_margins, compute_resized_size

_OPERATION_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}    # TensorFlow's names
_KERNEL_RADIUS = 2              # of the bicubic kernel, in pixels of the smaller image
_LUMA = (19595, 38470, 7471)    # weights of red, green, blue for gray (ITU-R 601), unit 1/65536

# If a side after the resize would be more than this many times longer than the crop, first the needed part is
# cut out, then it is resized.  The result is then rounded slightly differently: one pixel in 3,000 may differ
# by 1.  So usual images are not cut first.
_MAX_BEYOND_CROP = 16
# From twice this length on only every k-th pixel of a side is read, so that fewer than 2 * MAX_SIDE are left
MAX_SIDE = 2 ** 14
# A resize reads strips of about this many pixels, because the operation makes floats of all pixels it reads
_STRIP = 2 ** 22
_NO_MEMORY = "not enough memory to resize it"


def resize_and_crop(pixels: Any, size: Size, target: Size, mode: str, interpolation: str,
                    fill: tuple[float, ...], has_values: bool = False) -> Any:
    """Resizes to `target` by `mode`, crops or pads to `size`.

    As Pillow does, it resizes the width, rounds, resizes the height, and rounds.  The result differs from
    Pillow's by at most 1.

    Args:
        pixels: uint8 (N, height, width, channels), an array or a tensor.
        size: (height, width) of the result.
        target: as in `compute_resized_size`.
        mode: as in `compute_resized_size`.
        interpolation: "bilinear" or "bicubic".
        fill: the color of the border, one number for each channel, 0 to 255.
        has_values: whether the pixels are any numbers, whose results are not rounded or limited to 0..255.

    Returns:
        A float32 tensor (N, *size, channels), whole numbers of 0 to 255, with as many channels as `fill`.
    """
    import tensorflow as tf
    pixels = tf.cast(pixels, tf.float32) if has_values else pixels
    x = _convert_channels(tf.convert_to_tensor(pixels), len(fill), has_values)
    is_known = all(x.shape[1:3])
    # in 64 bits, because a product of two sides does not always fit into 32
    height, width = x.shape[1:3] if is_known else tf.unstack(tf.shape(x, tf.int64)[1:3])

    def minimum(a: Any, b: Any) -> Any:
        return min(a, b) if is_known else tf.minimum(tf.cast(a, tf.int64), tf.cast(b, tf.int64))

    def maximum(a: Any, b: Any) -> Any:
        return max(a, b) if is_known else tf.maximum(tf.cast(a, tf.int64), tf.cast(b, tf.int64))

    resized = compute_resized_size(height, width, target, mode, minimum, maximum)

    sides = []
    for axis, old, new, crop in zip((1, 2), (height, width), resized, size):
        begin, end, step, *side = _plan_side(old, new, crop, minimum, maximum)
        x = x[:, begin:end:step] if axis == 1 else x[:, :, begin:end:step]
        sides.append(side)

    # first the width, in strips; then the height
    (rows, scale_down, shift_down, top), (columns, scale_across, shift_across, left) = sides
    def resize(x: Any, size: tuple[Any, Any], scale: tuple[Any, Any], shift: tuple[Any, Any]) -> Any:
        x = _resize(x, size, scale, shift, interpolation)
        return x if has_values else tf.clip_by_value(tf.round(x), 0, 255)
    x = _map_strips(lambda strip: resize(strip, (tf.shape(strip)[1], columns), (1.0, scale_across),
                                         (0.0, shift_across)), x)[:, :, left:]
    x = resize(x, (rows, tf.shape(x)[2]), (scale_down, 1.0), (shift_down, 0.0))[:, top:]

    x = tf.repeat(x, 3, -1) if x.shape[-1] == 1 and len(fill) == 3 else x
    margins = [compute_margins(new, crop, maximum) for new, crop in zip(resized, size)]
    border = tf.constant(fill)
    x = tf.pad(x - border, [(0, 0), *(margin[1:] for margin in margins), (0, 0)]) + border
    return tf.ensure_shape(x, (None, *size, len(fill)))


def resize_and_crop_on_host(pixels: np.ndarray, *geometry: Any) -> np.ndarray:
    """`resize_and_crop` from array to array; with Pillow on a machine without TensorFlow.

    Raises:
        ValueError: also if there is not enough memory.
    """
    try:
        import tensorflow as tf
    except ImportError:
        from .pillow_transform import resize_and_crop_array
        try:
            return resize_and_crop_array(pixels, *geometry)
        except MemoryError as error:
            raise ValueError(_NO_MEMORY) from error
    try:
        result: np.ndarray = resize_and_crop(pixels, *geometry).numpy()
        return result
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise ValueError(_NO_MEMORY) from error


def reverse_channels(x: Any) -> Any:
    """RGB to BGR and back, of an array or a tensor of any backend.

    In TensorFlow a slice with a step of -1 takes six times as long as a reversal.
    """
    if "tensorflow" in sys.modules:
        import tensorflow as tf
        if tf.is_tensor(x):
            return tf.reverse(x, [-1])
    return x[..., ::-1]


def is_symbolic(images: Any) -> bool:
    """Whether `images` is a tensor of a graph, as in tf.data."""
    if "tensorflow" not in sys.modules:     # then there are no tensors
        return False
    import tensorflow as tf
    return isinstance(images, tf.Tensor) and bool(tf.is_symbolic_tensor(images))


def _plan_side(old: Any, new: Any, crop: int, minimum: Any, maximum: Any) -> tuple[Any, ...]:
    """Plans how one side is resized and cropped.

    Args:
        old: length of the side before, in pixels.
        new: length of the side after the resize, without a crop.
        crop: length of the side after the crop.
        minimum: function for the minimum of two numbers or tensors.
        maximum: function for the maximum.

    Returns:
        (begin, end, step, size, scale, translation, cut): read `pixels[begin:end:step]`, resize them to
        `size` pixels with this scale and translation of TensorFlow's operation, then drop the first `cut`.
    """
    cut = compute_margins(new, crop, maximum)[0]
    kept = minimum(new, crop)
    is_long = new > _MAX_BEYOND_CROP * crop
    if isinstance(new, int):
        def choose(if_long: Any, otherwise: Any) -> Any:
            return if_long if is_long else otherwise
    else:
        import tensorflow as tf

        def choose(if_long: Any, otherwise: Any) -> Any:
            return tf.where(is_long, tf.cast(if_long, tf.int64), tf.cast(otherwise, tf.int64))

    support = _KERNEL_RADIUS * maximum(old // new, 1) + 2
    begin = choose(maximum(cut * old // new - support, 0), 0)
    end = choose(minimum((cut + kept) * old // new + support, old), old)
    step = maximum((end - begin) // MAX_SIDE, 1)
    rest = choose(0, cut)       # pixels to drop after the resize
    return begin, end, step, kept + rest, step * new / old, (begin * new - (cut - rest) * old) / old, rest


def _resize(x: Any, size: tuple[Any, Any], scale: tuple[Any, Any], translation: tuple[Any, Any],
            interpolation: str) -> Any:
    """Resizes with antialiasing.

    `tf.image.resize` cannot shift an image, so its raw operation is called.
    """
    import tensorflow as tf
    return tf.raw_ops.ScaleAndTranslate(images=x, size=[tf.cast(side, tf.int32) for side in size],
                                        scale=[tf.cast(factor, tf.float32) for factor in scale],
                                        translation=[tf.cast(shift, tf.float32) for shift in translation],
                                        kernel_type=_OPERATION_KERNELS[interpolation], antialias=True)


def _map_strips(function: Any, x: Any) -> Any:
    """Applies a function to strips of rows, one strip after the other; it must treat each row separately."""
    import tensorflow as tf
    batch, height, width = x.shape[:3]
    if None not in (batch, height, width):
        step = max(_STRIP // (batch * width), 1)
        strips = [function(x[:, top:top + step]) for top in range(0, height, step)]
        return tf.concat(strips, 1) if len(strips) > 1 else strips[0]

    shape = tf.shape(x, tf.int64)
    step = tf.cast(tf.maximum(_STRIP // (shape[0] * shape[2]), 1), tf.int32)
    height = tf.shape(x)[1]
    # rows are the first axis of the stored strips, because `TensorArray.concat` joins only along that axis
    array = tf.TensorArray(tf.float32, (height + step - 1) // step, infer_shape=False,
                           element_shape=(None, batch, None, x.shape[3]))

    def process(i: Any, array: Any) -> Any:
        strip = function(x[:, i * step:(i + 1) * step])
        return i + 1, array.write(i, tf.transpose(strip, (1, 0, 2, 3)))
    _, array = tf.while_loop(lambda i, _: i * step < height, process, (0, array), parallel_iterations=1)
    return tf.transpose(array.concat(), (1, 0, 2, 3))


def _convert_channels(x: Any, channels: int, has_values: bool) -> Any:
    """Makes the colors of bytes (N, height, width, 1 or 3) gray for one channel."""
    import tensorflow as tf
    check_channels(x.shape[-1], channels, has_values)
    if has_values:
        return x
    if x.shape[-1] == 3 and channels == 1:
        luma = sum(tf.cast(x[..., i], tf.int32) * weight for i, weight in enumerate(_LUMA))
        return tf.cast((luma + 2 ** 15) // 2 ** 16, tf.uint8)[..., None]
    return x
