"""OpenVINO: an .xml graph with its .bin of weights, for Intel's and ARM's processors.

OpenVINO's own reader of SavedModels makes it; NNCF makes it int8.
"""
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import pathlib
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..quantization.half_precision import find_beyond_half
from .integer_weights import round_openvino_weights
from .measurements import ArrayFunction
from .options import ExportOptions, Shape, WrittenRanges

if TYPE_CHECKING:
    import keras

# One file, two precisions of its arithmetic; a processor without bfloat16 computes the second in float32.
RUNTIMES = {"OpenVINO f32": {"precision": "f32"}, "OpenVINO bf16": {"precision": "bf16"}}
PRECISIONS = {"OpenVINO bf16": "bfloat16"}

# `quantize` -> the type that some constant must have then, as OpenVINO calls it
_REQUIRED_TYPES = {"float16": "f16", "int8": "i8", "dynamic": "i8"}
_IGNORED = ("Parameter", "Result", "Constant")      # operations that compute nothing


def import_openvino() -> Any:
    """Imports OpenVINO without its telemetry, which would report each import and conversion to a server.

    OpenVINO then uses a stub of its own, as if the package openvino-telemetry were not installed.

    Returns:
        The module.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)      # type: ignore[arg-type]
    import openvino
    return openvino


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> WrittenRanges | None:
    """Writes `model`, with its metadata among the file's runtime information.

    Returns:
        What is known of the tensors' ranges, of an int8 file.
    """
    openvino = import_openvino()

    from . import saved_model
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_for_converter(model, pathlib.Path(folder), options.shape)
        return write_converted(openvino.convert_model(folder), path, options, model)


def write_converted(converted: Any, path: pathlib.Path, options: ExportOptions, model: keras.Model
                    ) -> WrittenRanges | None:
    """Writes a converted model, quantized as the options say, with its metadata.

    Args:
        converted: OpenVINO's model, in float32.
        path: path of the .xml file.
        options: options of the file.
        model: what it was made of.

    Returns:
        What is known of the tensors' ranges, of an int8 file.
    """
    written = None
    if options.quantize == "int8":
        from .openvino_quantization import quantize_int8
        converted, ranges, outside = quantize_int8(converted, options, model)
        written = WrittenRanges(outside, find_beyond_half(ranges))
    elif options.quantize == "dynamic":
        converted = round_openvino_weights(converted)
    converted.set_rt_info(json.dumps(options.metadata, ensure_ascii=False), ["reskeras", "metadata"])
    import_openvino().save_model(converted, str(path), compress_to_fp16=options.quantize == "float16")
    return written


def load(path: pathlib.Path, threads: int = 1, precision: str = "f32") -> tuple[ArrayFunction, Shape]:
    """Opens a file on the CPU: a function of float images, and the shape that it takes."""
    compiled = compile_file(path, threads, precision)
    shape = tuple(side.get_length() if side.is_static else None for side in compiled.input(0).partial_shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled(images)[compiled.output(0)])
    return run, shape


def compile_file(path: pathlib.Path, threads: int = 1, precision: str = "f32") -> Any:
    """Opens a file on the CPU, ready to run.

    Args:
        path: path of the .xml file.
        threads: number of threads.
        precision: "f32" or "bf16", of its arithmetic.
    """
    return import_openvino().Core().compile_model(str(path), "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY"})


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Finds that `quantize` had no effect; OpenVINO's reader refuses what its runtime does not have."""
    required = _REQUIRED_TYPES.get(options.quantize or "")
    nodes = import_openvino().Core().read_model(str(path)).get_ops() if required else []
    types = {node.get_element_type().get_type_name() for node in nodes if node.get_type_name() == "Constant"}
    return [f"no constant is of the type {options.quantize}"] if required and required not in types else []


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts each operation of the graph, the most frequent first."""
    openvino = import_openvino()
    nodes: list[Any] = openvino.Core().read_model(str(path)).get_ops()
    names = [node.get_type_name() for node in nodes]
    return dict(Counter(name for name in names if name not in _IGNORED).most_common())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: OpenVINO's own plugins have no delegates."""
    return {}


def get_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that write and run the file."""
    packages = ("openvino", "nncf")
    return {name: importlib.metadata.version(name) for name in packages
            if importlib.util.find_spec(name) is not None}
