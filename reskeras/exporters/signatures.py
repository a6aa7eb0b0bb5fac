"""The signatures of a SavedModel: for float images, for pixels of any size, for the bytes of image files."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..images.headers import (convert_tensor_to_bytes, cut_gif, has_16_bits, has_at_most, is_gif,
                              read_orientation, read_sides, turn_upright)
from ..images.limits import get_image_limits
from ..model_metadata import get_metadata
from .options import ExportOptions

if TYPE_CHECKING:
    import keras

TOP = 5     # classes in an answer
SIGNATURES = ("serving_default", "serving_uint8", "serving_bytes")


def make_signatures(model: keras.Model, options: ExportOptions, call: Any) -> dict[str, Any]:
    """The functions that a server offers, by their names.

    `serving_default` takes float images.  If the model's preprocessing is known, it is inside
    `serving_uint8` (pixels of any size) and `serving_bytes` (JPEG or PNG files, the first frame of a GIF,
    BMP); JPEG photos are turned upright as their EXIF data say.

    Args:
        model: to serve.
        options: options of the file: its shape, and the labels and the preprocessing of the model.
        call: the model for inference, as a function of TensorFlow.
    Returns:
        Those that the options name, or all.  Each answers "scores" and, if the classes have names, the
        likeliest: "top_labels" and "top_scores"; a single one answers "scores" alone, because it is for
        converters, which know no strings.

    Raises:
        ArgumentError: the options name a signature that needs the preprocessing, and it is not known.
    """
    import tensorflow as tf
    batch_size, channels = options.shape[0], options.shape[3]
    # a file of a half precision takes and returns what that of float32 does
    dtype = "float32" if options.dtype else model.inputs[0].dtype
    preprocessing = options.preprocessing
    # of two classes with one output, and of numbers, none is the likeliest
    labels = options.labels if get_metadata(model).task in ("", "multilabel") else ()

    def answer(images: Any) -> dict[str, Any]:
        scores = call(tf.cast(images, model.inputs[0].dtype))
        scores = tf.cast(scores, dtype) if options.dtype else scores
        if not labels or len(options.signatures) == 1:
            return {"scores": scores}
        top_scores, indices = tf.math.top_k(tf.cast(scores, "float32"), min(TOP, len(labels)))
        # a constant of the graph, not a resource: nothing to initialize
        top_labels = tf.gather(tf.constant(labels), indices)
        return {"scores": scores, "top_scores": top_scores, "top_labels": top_labels}

    def trace(function: Any, shape: Any, dtype: Any, name: str) -> Any:
        return tf.function(function, [tf.TensorSpec(shape, dtype, name)], autograph=False)

    signatures = {"serving_default": trace(answer, options.shape, dtype, "images")}
    if options.signatures == SIGNATURES[:1]:
        return signatures
    if not takes_pixels(options):
        if options.signatures and preprocessing is None:
            raise ArgumentError("preprocessing", None, "how the model's images are prepared, because "
                                f"{options.signatures[-1]} prepares them")
        if options.signatures:
            raise ArgumentError("signatures", options.signatures, f"{SIGNATURES[0]} alone, because the "
                                "others are for gray and RGB images of 8 bits")
        return signatures
    assert preprocessing is not None

    def answer_pixels(pixels: Any) -> dict[str, Any]:
        return answer(tf.cast(preprocessing.transform(pixels), dtype))

    def answer_files(image_bytes: Any) -> dict[str, Any]:
        spec = tf.TensorSpec((*preprocessing.size, channels), tf.float32)

        def prepare(parallel_iterations: int) -> Any:
            def prepare_file(data: Any) -> Any:
                return preprocessing.transform(_decode_image(data, preprocessing.bits)[None])[0]
            return tf.map_fn(prepare_file, image_bytes, fn_output_signature=spec,
                             parallel_iterations=parallel_iterations)
        pixels = tf.map_fn(lambda data: tf.reduce_prod(read_sides(data)), image_bytes,
                           fn_output_signature=tf.int64)
        # one after the other if they are large
        are_small = tf.reduce_sum(pixels) <= get_image_limits().max_pixels_in_flight
        images = tf.cond(are_small, lambda: prepare(10), lambda: prepare(1))
        return answer(tf.cast(images, dtype))

    signatures["serving_uint8"] = trace(answer_pixels, (batch_size, None, None, channels), tf.uint8, "pixels")
    # REST clients of TensorFlow Serving send {"b64": ...}, by custom to names that end in _bytes
    signatures["serving_bytes"] = trace(answer_files, (batch_size,), tf.string, "image_bytes")
    return {name: signatures[name] for name in options.signatures or SIGNATURES}


def takes_pixels(options: ExportOptions) -> bool:
    """Whether it is known how gray or RGB images of 8 bits become what the model takes."""
    preprocessing = options.preprocessing
    return preprocessing is not None and not preprocessing.has_values and options.shape[3] in (1, 3)


def _decode_image(data: Any, bits: int = 0) -> Any:
    """Decodes a file's bytes to RGB pixels, as `reskeras.images.decode` does.

    EXIF data of JPEG files turn the image; those of PNG files do not.  The limit of an image's pixels is that
    of the process that writes the file.
    """
    import tensorflow as tf
    limit = get_image_limits().max_pixels
    data, sides = tf.cond(is_gif(data), lambda: cut_gif(data), lambda: (data, read_sides(data)))
    is_allowed = tf.debugging.Assert(has_at_most(sides, limit), [
        f"expected a JPEG, PNG, GIF or BMP file of at most {limit:,} pixels; (height, width):", sides])
    with tf.control_dependencies([is_allowed]):
        pixels = tf.case([
            (tf.io.is_jpeg(data),
             lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")),
            (has_16_bits(data),
             lambda: convert_tensor_to_bytes(tf.io.decode_png(data, channels=3, dtype=tf.uint16), bits))],
            default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False))
        return tf.ensure_shape(turn_upright(pixels, read_orientation(data)), (None, None, 3))
