"""Loads and runs a .tflite file in LiteRT, or in the interpreter inside TensorFlow."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import pathlib
import warnings
from typing import Any

import numpy as np

from ..._keras_private import get_interpreter_operations
from ..measurements import ArrayFunction
from ..options import Shape, check_input_shape
from .file_check import check_file


def get_interpreter_class() -> Any:
    """LiteRT's interpreter if ai-edge-litert is installed, otherwise the one inside TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf
        return tf.lite.Interpreter
    return Interpreter


def get_reference_resolver() -> dict[str, Any]:
    """The argument of an interpreter that runs the reference kernels, which are slow and exact."""
    try:
        from ai_edge_litert.interpreter import OpResolverType
    except ImportError:
        import tensorflow as tf
        OpResolverType = tf.lite.experimental.OpResolverType
    return {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF}


def open_all_tensors(**file: Any) -> Any:
    """An interpreter that keeps what every operator computes, ready to run.

    Args:
        **file: `model_path` or `model_content`.
    """
    with warnings.catch_warnings():     # that it needs more memory
        warnings.simplefilter("ignore", UserWarning)
        interpreter = get_interpreter_class()(**file, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def get_versions() -> dict[str, str]:
    """Returns the version of the package that runs the file."""
    name = "ai-edge-litert" if importlib.util.find_spec("ai_edge_litert") else "tensorflow"
    return {name: importlib.metadata.version(name)}


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """Opens a file.

    Returns:
        A function of a batch of float images, which are quantized on the way in as its outputs are on the way
        out, and the shape that it takes.

    Raises:
        ValueError: the file has operations of TensorFlow, or scales that end the process.
    """
    check_file(path)
    interpreter = get_interpreter_class()(model_path=str(path), num_threads=threads)
    (input_,) = interpreter.get_input_details()
    shape = tuple(int(side) for side in input_["shape"])
    check_input_shape(shape)        # before memory is allocated for it
    interpreter.allocate_tensors()
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(input_["index"], quantize_array(images, input_))
        interpreter.invoke()
        return dequantize_array(interpreter.get_tensor(output["index"]), output)
    return run, shape


def load_logits_function(path: pathlib.Path) -> ArrayFunction:
    """Opens a file without its last softmax: the 8 bits of a probability hide how the logits differ.

    Raises:
        ValueError: the file has no softmax.
    """
    interpreter = open_all_tensors(model_path=str(path))
    softmaxes = [node for node in get_interpreter_operations(interpreter) if node["op_name"] == "SOFTMAX"]
    if not softmaxes:
        raise ValueError(f"{path} has no softmax")
    (input_,), index = interpreter.get_input_details(), softmaxes[-1]["inputs"][0]
    logits = next(tensor for tensor in interpreter.get_tensor_details() if tensor["index"] == index)

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(input_["index"], quantize_array(images, input_))
        interpreter.invoke()
        return dequantize_array(interpreter.get_tensor(index), logits)
    return run


def quantize_array(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Floats in the type of a tensor of the file.

    Args:
        array: floats.
        tensor: the interpreter's details of the tensor.
    """
    scale, zero_point = tensor["quantization"]
    if not scale:
        return array.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(array / scale) + zero_point, limits.min, limits.max).astype(tensor["dtype"])


def dequantize_array(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """The values of a tensor of the file as floats.

    Args:
        array: as the interpreter gives it.
        tensor: the interpreter's details of the tensor.
    """
    scale, zero_point = tensor["quantization"]
    return (array.astype("float32") - zero_point) * scale if scale else array
