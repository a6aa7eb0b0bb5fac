"""ONNX: a graph for ONNX Runtime, TensorRT and others, written by tf2onnx; in float32, float16 or int8."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..quantization.half_precision import find_beyond_half
from .integer_weights import round_onnx_weights
from .measurements import ArrayFunction
from .options import ExportOptions, Shape, WrittenRanges

if TYPE_CHECKING:
    import keras

RUNTIMES: dict[str, dict[str, str]] = {"ONNX Runtime": {}}
PRECISIONS: dict[str, str] = {}
# `quantize` -> the type that some constant must have then, by its number in the ONNX standard
_REQUIRED_TYPES = {"float16": 10, "int8": 3, "dynamic": 3}
OPSET = 17          # the newest that tf2onnx writes without a warning, and every runtime since 2022 reads


def disable_telemetry() -> None:
    """Switches ONNX Runtime's reports to a server off.  Call it before ONNX Runtime is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> WrittenRanges | None:
    """Writes `model` with its metadata among the file's own properties.

    Returns:
        What is known of the tensors' ranges, of an int8 file.
    """
    disable_telemetry()
    import tensorflow as tf
    import tf2onnx
    images = tf.TensorSpec(options.shape, model.inputs[0].dtype, name="images")
    function = tf.function(lambda images: {"scores": model(images, training=False)}, [images],
                           autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, [images], opset=OPSET)
    _rename_output(proto.graph)
    return write_converted(proto, path, options, model)


def write_converted(proto: Any, path: pathlib.Path, options: ExportOptions, model: keras.Model
                    ) -> WrittenRanges | None:
    """Writes a converted model, quantized as the options say, with its metadata.

    Args:
        proto: the ONNX model, in float32.
        path: path of the file.
        options: options of the file.
        model: what it was made of.

    Returns:
        What is known of the tensors' ranges, of an int8 file.
    """
    import onnx
    written = None
    if options.quantize == "int8":
        from .onnx_quantization import quantize_int8
        proto, ranges, outside = quantize_int8(proto, options, [layer.name for layer in model.layers])
        written = WrittenRanges(outside, find_beyond_half(ranges))
    elif options.quantize == "dynamic":
        proto = round_onnx_weights(proto)
    elif options.quantize == "float16":
        proto = _to_half_precision(proto)
    if options.quantize is not None:
        from onnxruntime.quantization.onnx_model import ONNXModel
        ONNXModel(proto).topological_sort()     # each node behind those that it reads
    metadata = json.dumps(options.metadata, ensure_ascii=False)
    onnx.helper.set_model_props(proto, {"reskeras": str(options.metadata["reskeras"]), "metadata": metadata})
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
    return written


def _to_half_precision(proto: Any) -> Any:
    """The model with weights and arithmetic in float16; it takes and returns float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    with warnings.catch_warnings():     # of weights below the smallest number: they become zero
        warnings.simplefilter("ignore", UserWarning)
        return convert_float_to_float16(proto, keep_io_types=True)


def _rename_output(graph: Any) -> None:
    """Calls the output "scores", whatever TensorFlow called it, and an open batch dimension "batch"."""
    old = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = "scores"
    graph.output[0].name = "scores"
    for value in (graph.input[0], graph.output[0]):
        first = value.type.tensor_type.shape.dim[0]
        if not first.dim_value:
            first.dim_param = "batch"


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """Opens a file in ONNX Runtime: a function of float images, and the shape that it takes."""
    session = open_session(path, threads)
    (input_,) = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in input_.shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {input_.name: images})[0])
    return run, shape


def open_session(path: pathlib.Path, threads: int = 1) -> Any:
    """Opens a file in ONNX Runtime, on the CPU.

    Args:
        path: path of the file.
        threads: number of threads.
    """
    disable_telemetry()
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # its fallback to other providers would print to stdout
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"],
                                        enable_fallback=False)


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Operators outside of the standard, broken rules of TensorRT, or that `quantize` had no effect."""
    proto = _read_model(path)
    nodes = [node for node in proto.graph.node if node.domain not in ("", "ai.onnx")]
    names = {f"{node.domain}.{node.op_type}" for node in nodes}
    faults = [f"{', '.join(sorted(names))}: not of the ONNX standard"] if names else []
    types = {tensor.data_type for tensor in proto.graph.initializer}
    required = _REQUIRED_TYPES.get(options.quantize or "")
    if required and required not in types:
        faults.append(f"no constant is of the type {options.quantize}")
    if options.target == "tensorrt":
        from .tensorrt_rules import find_tensorrt_faults
        faults += find_tensorrt_faults(proto)
    return faults


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts each operator of the graph, the most frequent first."""
    return dict(Counter(node.op_type for node in _read_model(path).graph.node).most_common())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: the file says nothing of the providers that will run it."""
    return {}


def _read_model(path: pathlib.Path) -> Any:
    import onnx
    return onnx.load(str(path), load_external_data=False)


def get_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that write and run the file."""
    packages = ("onnx", "onnxruntime", "tf2onnx")
    installed = [name for name in packages if importlib.util.find_spec(name) is not None]
    return {name: importlib.metadata.version(name) for name in installed}
