"""OpenVINO: an .xml graph with its .bin of weights, for Intel's and ARM's processors.

OpenVINO's own reader of SavedModels makes it.
"""
from __future__ import annotations

import importlib.metadata
import json
import pathlib
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .measurements import ArrayFunction
from .options import ExportOptions, Shape

if TYPE_CHECKING:
    import keras

# One file, two precisions of its arithmetic; a processor without bfloat16 computes the second in float32.
RUNTIMES = {"OpenVINO f32": {"precision": "f32"}, "OpenVINO bf16": {"precision": "bf16"}}
PRECISIONS = {"OpenVINO bf16": "bfloat16"}

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


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes `model` in float32, with its metadata among the file's runtime information."""
    openvino = import_openvino()

    from . import saved_model
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_for_converter(model, pathlib.Path(folder), options.shape)
        converted = openvino.convert_model(folder)
        converted.set_rt_info(json.dumps(options.metadata, ensure_ascii=False), ["reskeras", "metadata"])
        openvino.save_model(converted, str(path), compress_to_fp16=False)


def load(path: pathlib.Path, threads: int = 1, precision: str = "f32") -> tuple[ArrayFunction, Shape]:
    """Opens a file on the CPU: a function of float images, and the shape that it takes."""
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(str(path), "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY"})
    shape = tuple(side.get_length() if side.is_static else None for side in compiled.input(0).partial_shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled(images)[compiled.output(0)])
    return run, shape


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Finds nothing: OpenVINO's reader refuses what its runtime does not have."""
    return []


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
    """Returns the version of the package that writes and runs the file."""
    return {"openvino": importlib.metadata.version("openvino")}
