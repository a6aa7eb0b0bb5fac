"""TFLite / LiteRT: one flat file for phones and microcontrollers.  Builtin operators and static shapes only."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from . import flatbuffer
from ..report import Run

if TYPE_CHECKING:
    import keras

    from ..formats import Shape
    from ..options import Job

RUNTIMES: dict[str, dict[str, str]] = {"LiteRT": {}}
operators = flatbuffer.operators


def write(model: keras.Model, path: pathlib.Path, job: Job) -> None:
    """Writes `model` for batches of the job's shape, which is static; "int8" is scaled by what it sees on the samples."""
    from .. import saved_model
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_plain(model, pathlib.Path(folder), job.shape)
        path.write_bytes(flatbuffer.with_metadata(converted(folder, job, [layer.name for layer in model.layers]), job.metadata))


def converted(folder: str, job: Job, layers: list[str]) -> bytes:
    converter = converter_of(folder, job)
    if job.float_layers or job.calibration_method != "minmax":
        from .quantize import quantize
        return quantize(converter, job, layers)
    return converter.convert()


def converter_of(folder: str, job: Job) -> Any:
    import tensorflow as tf
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    NUMBERS[job.quantize](converter, job)
    return converter


def _in_float16(converter: Any, job: Job) -> None:
    import tensorflow as tf
    _in_dynamic(converter, job)
    converter.target_spec.supported_types = [tf.float16]


def _in_dynamic(converter: Any, job: Job) -> None:
    import tensorflow as tf
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _in_int8(converter: Any, job: Job) -> None:
    import tensorflow as tf
    _in_dynamic(converter, job)
    converter.representative_dataset = lambda: ([batch] for batch in batches(job))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if job.float_layers:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS)
    converter.inference_input_type = converter.inference_output_type = getattr(tf, job.io)


NUMBERS = {None: lambda converter, job: None, "float16": _in_float16, "dynamic": _in_dynamic, "int8": _in_int8}

HELD = {"float16": "FLOAT16", "int8": "INT8"}     # of what was asked for; the converter leaves small weights alone in "dynamic"


def batches(job: Job) -> Iterator[np.ndarray]:
    """The samples in batches of the file's size."""
    assert job.samples is not None and job.shape[0]
    step = job.shape[0]
    starts = range(0, len(job.samples) - step + 1, step)
    if job.progress:
        from tqdm import tqdm
        starts = tqdm(starts, "calibrating", unit="batch")
    for i in starts:
        yield job.samples[i:i + step]


def load(path: pathlib.Path, threads: int = 1) -> tuple[Run, Shape]:
    """The file's function on a batch of floats (quantized on the way in and out), and the shape that it takes."""
    interpreter = interpreter_class()(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (before,), (after,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(before["index"], quantized(images, before))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(after["index"]), after)
    return run, tuple(int(n) for n in before["shape"])


def before_softmax(path: pathlib.Path) -> Run:
    """The file's function without its last softmax: 8 bits of a probability hide what is before them.

    Raises: ValueError where it has none.
    """
    interpreter = interpreter_class()(model_path=str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    last = [node for node in interpreter._get_ops_details() if node["op_name"] == "SOFTMAX"]    # there is no public way
    if not last:
        raise ValueError(f"{path} has no softmax")
    (before,), index = interpreter.get_input_details(), last[-1]["inputs"][0]
    logits = next(t for t in interpreter.get_tensor_details() if t["index"] == index)

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(before["index"], quantized(images, before))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(index), logits)
    return run


def quantized(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if not scale:
        return array.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    return (array.astype("float32") - zero) * scale if scale else array


def faults(path: pathlib.Path, job: Job) -> list[str]:
    found = flatbuffer.faults(path, integers=job.quantize == "int8" and not job.float_layers and job.io != "float32")
    wanted = HELD.get(job.quantize or "")
    return [*found, f"no tensor is of the type {wanted}"] if wanted and not flatbuffer.has_type(path, wanted) else found


def interpreter_class() -> Any:
    """LiteRT's interpreter where ai-edge-litert is installed, else the one inside TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf
        return tf.lite.Interpreter
    return Interpreter


def version() -> dict[str, str]:
    name = "ai-edge-litert" if importlib.util.find_spec("ai_edge_litert") else "tensorflow"
    return {name: importlib.metadata.version(name)}


def left_to_cpu(path: pathlib.Path) -> dict[str, dict[str, int]]:
    from .delegates import left_to_cpu
    return left_to_cpu(path)
