"""TFLite / LiteRT: one flat file for phones and microcontrollers.  Builtin operators and static shapes only."""
from __future__ import annotations

import importlib.metadata
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import saved_model
from .certificate import Run


def write(model: keras.Model, path: pathlib.Path, shape: tuple[int, ...], quantize: str | None,
          calibration: np.ndarray | None) -> None:
    """Writes `model` for batches of `shape`; "int8" takes and gives int8, scaled by what it sees on `calibration`."""
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write(model, pathlib.Path(folder), shape)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            assert calibration is not None
            batches = [calibration[i:i + shape[0]] for i in range(0, len(calibration) - shape[0] + 1, shape[0])]
            converter.representative_dataset = lambda: ([batch] for batch in batches)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        path.write_bytes(converter.convert())


def load(path: pathlib.Path) -> tuple[Run, tuple[int, ...]]:
    """The file's function on a batch of floats (quantized on the way in and out), and the shape that it takes."""
    interpreter = interpreter_class()(model_path=str(path))
    interpreter.allocate_tensors()
    (before,), (after,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(before["index"], quantized(images, before))
        interpreter.invoke()
        return dequantized(interpreter.get_tensor(after["index"]), after)
    return run, tuple(int(n) for n in before["shape"])


def quantized(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if not scale:
        return array.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def dequantized(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    return (array.astype("float32") - zero) * scale if scale else array


def interpreter_class() -> Any:
    """LiteRT's interpreter where ai-edge-litert is installed, else the one inside TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter


def version() -> dict[str, str]:
    name = "ai-edge-litert" if interpreter_class() is not tf.lite.Interpreter else "tensorflow"
    return {name: importlib.metadata.version(name)}
