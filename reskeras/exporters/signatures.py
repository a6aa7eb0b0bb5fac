"""What a SavedModel can be asked: float images, pixels of any size, the bytes of image files."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from .options import Job

TOP = 5


def signatures(model: keras.Model, job: Job) -> dict[str, Any]:
    """`serving_default` on float images; where the net's preprocessing is known, it is inside `serving_uint8` and
    `serving_bytes`, whose pixels and files may have any size.

    Each answers "scores" and, where the classes have names, the likeliest: "top_labels" and "top_scores".

    Files are JPEG or PNG (GIF's first frame, BMP too).  EXIF turns are not made: no TensorFlow operation reads them.
    """
    import tensorflow as tf
    batch, channels = job.shape[0], job.shape[3]

    def answer(images: Any) -> dict[str, Any]:
        scores = model(images, training=False)
        if not job.labels:
            return {"scores": scores}
        best, which = tf.math.top_k(tf.cast(scores, "float32"), min(TOP, len(job.labels)))
        # a constant of the graph, not a resource: nothing to initialize
        return {"scores": scores, "top_scores": best, "top_labels": tf.gather(tf.constant(job.labels), which)}

    def function(body: Any, shape: Any, dtype: Any, name: str) -> Any:
        return tf.function(body, [tf.TensorSpec(shape, dtype, name)], autograph=False)

    found = {"serving_default": function(answer, job.shape, model.inputs[0].dtype, "images")}
    prepare = job.preprocessing
    if prepare is None:
        return found

    def of_pixels(pixels: Any) -> dict[str, Any]:
        return answer(tf.cast(prepare.transformed(pixels), model.inputs[0].dtype))

    def of_file(data: Any) -> Any:
        return prepare.transformed(_decoded(data)[None])[0]

    def of_bytes(image_bytes: Any) -> dict[str, Any]:
        given = tf.TensorSpec((*prepare.size, channels), tf.float32)
        images = tf.map_fn(of_file, image_bytes, fn_output_signature=given)
        return answer(tf.cast(images, model.inputs[0].dtype))

    # REST clients of TensorFlow Serving send {"b64": ...}, by custom to names that end in _bytes
    return {**found, "serving_uint8": function(of_pixels, (batch, None, None, channels), tf.uint8, "pixels"),
            "serving_bytes": function(of_bytes, (batch,), tf.string, "image_bytes")}


def _decoded(data: Any) -> Any:
    """RGB pixels of a file's bytes, the same as `reskeras.images.decode` but for EXIF."""
    import tensorflow as tf
    pixels = tf.cond(tf.io.is_jpeg(data),
                     lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
                     lambda: tf.io.decode_image(data, channels=3, expand_animations=False))
    return tf.ensure_shape(pixels, (None, None, 3))
