"""A SavedModel for servers with GPUs: compiled by XLA for a few batch sizes, with what servers read too.

XLA compiles a program for each batch size, when a batch of that size comes first.  So the folder has a
request of each size, which TensorFlow Serving replays before it is ready, and the parameters with which it
fills up batches to these sizes.
"""
from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from ..files import write_text
from .options import ExportOptions

if TYPE_CHECKING:
    import keras

LAYOUTS = ("tf-serving", "triton")
PIXELS, SCORES = "pixels", "scores"         # the names of the input and the output
BATCHING_FILE, TRITON_FILE = "batching_parameters.txt", "config.pbtxt"
_FOLDERS = {None: "", "tf-serving": "1", "triton": "1/model.savedmodel"}     # of version 1 of the net
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_GRAY = 128     # of the images of a request: nobody's photo gets into the file


def make_gpu_function(model: keras.Model, options: ExportOptions) -> Any:
    """A function that XLA compiles: from pixels of the model's size to scores in float32.

    Args:
        model: takes pixels, as floats.
        options: options of the file.
    """
    import tensorflow as tf

    def answer(pixels: Any) -> dict[str, Any]:
        images = tf.cast(pixels, model.inputs[0].dtype)
        return {SCORES: tf.cast(model(images, training=False), tf.float32)}
    return tf.function(answer, [tf.TensorSpec(options.shape, tf.uint8, PIXELS)], autograph=False,
                       jit_compile=True)


def choose_folder(path: pathlib.Path, layout: str | None) -> pathlib.Path:
    """The folder of the SavedModel inside of what is written.

    Args:
        path: what is written.
        layout: of LAYOUTS, or None.
    """
    return path / _FOLDERS[layout]


def find_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder of the SavedModel inside of a written one, or the folder itself if it has none."""
    folders = (path / folder for folder in _FOLDERS.values())
    return next((folder for folder in folders if (folder / "saved_model.pb").exists()), path)


def write_server_files(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes what servers read beside a SavedModel.

    Args:
        model: the model that was saved.
        path: of the folder that is written, which has the SavedModel inside.
        options: options of the file.
    """
    import tensorflow as tf
    if options.layout == "triton":
        write_text(path / TRITON_FILE, _format_triton_config(options, tuple(model.output_shape[1:])))
    else:
        write_text(path / BATCHING_FILE, _format_batching_parameters(options.batch_sizes))
    file = choose_folder(path, options.layout) / _WARMUP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for batch_size in options.batch_sizes:
            writer.write(_make_request((batch_size, *options.shape[1:])))


def find_warmup_faults(folder: pathlib.Path, batch_sizes: tuple[int, ...]) -> list[str]:
    """Replays the requests of a SavedModel as TensorFlow Serving does, and says what is wrong with them.

    Args:
        folder: of the SavedModel.
        batch_sizes: those that a request is expected for.
    """
    import tensorflow as tf
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(str(folder / _WARMUP_FILE)).as_numpy_iterator():
        pixels = _read_request(record)
        sizes.append(len(pixels))
        if not np.isfinite(signature(**{PIXELS: tf.constant(pixels)})[SCORES]).all():
            return [f"the answer to a batch of {len(pixels)} gray images is not finite"]
    return [] if sizes == [*batch_sizes] else [f"{_WARMUP_FILE} has batches of {sizes} images"]


def _make_request(shape: tuple[int | None, ...]) -> bytes:
    """A PredictionLog of tensorflow_serving/apis: one request with gray pixels.

    It is written by its field numbers, as the package that has the message needs a TensorFlow of its own.
    """
    import tensorflow as tf
    # one value stands for all: the request of a batch has a few bytes
    tensor = tf.make_tensor_proto(_GRAY, tf.uint8, shape)
    model_spec = _field(3, b"serving_default")          # ModelSpec.signature_name
    inputs = _field(1, PIXELS.encode()) + _field(2, tensor.SerializeToString())     # an entry of a map
    request = _field(1, model_spec) + _field(2, inputs)         # PredictRequest.model_spec, inputs
    return _field(6, _field(1, request))        # PredictionLog.predict_log, PredictLog.request


def _read_request(record: bytes) -> np.ndarray:
    """The pixels of a request that `write_server_files` wrote."""
    import tensorflow as tf
    value = record
    for number in (6, 1, 2, 2):
        value = dict(_iterate_fields(value))[number]
    return np.asarray(tf.make_ndarray(type(tf.make_tensor_proto(0)).FromString(value)))


def _field(number: int, value: bytes) -> bytes:
    """A field of a protocol buffer whose value is a text or a message: tag, length, value."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """A number of a protocol buffer: seven bits in a byte, the lowest first."""
    head, rest = number & 127, number >> 7
    return bytes([head | 128]) + _varint(rest) if rest else bytes([head])


def _iterate_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and values of fields that `_field` wrote."""
    position = 0
    while position < len(data):
        number, length, shift = data[position] >> 3, 0, 0
        while True:
            position += 1
            length |= (data[position] & 127) << shift
            shift += 7
            if data[position] < 128:
                break
        position += 1
        yield number, data[position:position + length]
        position += length


def _format_batching_parameters(batch_sizes: tuple[int, ...]) -> str:
    """The text for `--batching_parameters_file` of TensorFlow Serving, which fills up batches."""
    lines = [f"max_batch_size {{ value: {batch_sizes[-1]} }}", "batch_timeout_micros { value: 1000 }",
             "num_batch_threads { value: 2 }", "max_enqueued_batches { value: 100 }"]
    return "\n".join(lines + [f"allowed_batch_sizes: {size}" for size in batch_sizes]) + "\n"


def _format_triton_config(options: ExportOptions, output_shape: tuple[int | None, ...]) -> str:
    """The text of a `config.pbtxt`; the name of the net is that of its folder."""
    def format_sides(sides: tuple[int | None, ...]) -> str:
        return "[ " + ", ".join(str(side or -1) for side in sides) + " ]"
    image = format_sides(options.shape[1:])
    warmups = [f"""model_warmup {{
  name: "batch of {size}"
  batch_size: {size}
  inputs {{
    key: "{PIXELS}"
    value {{ data_type: TYPE_UINT8 dims: {image} zero_data: true }}
  }}
}}
""" for size in options.batch_sizes]
    return f"""platform: "tensorflow_savedmodel"
max_batch_size: {options.batch_sizes[-1]}
input {{ name: "{PIXELS}" data_type: TYPE_UINT8 dims: {image} }}
output {{ name: "{SCORES}" data_type: TYPE_FP32 dims: {format_sides(output_shape)} }}
dynamic_batching {{
  preferred_batch_size: {list(options.batch_sizes)}
  max_queue_delay_microseconds: 1000
}}
{"".join(warmups)}"""
