"""OpenVINO: an .xml graph with its .bin of weights, for Intel's and ARM's processors, by OpenVINO's own reader of SavedModels."""
from __future__ import annotations

import importlib.metadata
import json
import pathlib
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .report import Run

if TYPE_CHECKING:
    import keras

    from .formats import Shape
    from .options import Job

# One file, two precisions of its arithmetic; a processor without bfloat16 computes the second in float32.
RUNTIMES = {"OpenVINO f32": {"precision": "f32"}, "OpenVINO bf16": {"precision": "bf16"}}
KINDS = {"OpenVINO bf16": "bfloat16"}
DULL = ("Parameter", "Result", "Constant")


def write(model: keras.Model, path: pathlib.Path, job: Job) -> None:
    """Writes `model` in float32, with its metadata among the file's runtime information."""
    import openvino

    from . import saved_model
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_plain(model, pathlib.Path(folder), job.shape)
        net = openvino.convert_model(folder)
        net.set_rt_info(json.dumps(job.metadata, ensure_ascii=False), ["reskeras", "metadata"])
        openvino.save_model(net, str(path), compress_to_fp16=False)


def load(path: pathlib.Path, threads: int = 1, precision: str = "f32") -> tuple[Run, Shape]:
    """The net on a batch of images on the CPU, and the shape that it takes."""
    import openvino
    core = openvino.Core()
    net = core.compile_model(str(path), "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    shape = tuple(side.get_length() if side.is_static else None for side in net.input(0).partial_shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(net(images)[net.output(0)])
    return run, shape


def faults(path: pathlib.Path, job: Job) -> list[str]:
    return []


def operators(path: pathlib.Path) -> dict[str, int]:
    nodes: list[Any] = _opened(path).get_ops()
    return dict(Counter(name for node in nodes if (name := node.get_type_name()) not in DULL).most_common())


def _opened(path: pathlib.Path) -> Any:
    import openvino
    return openvino.Core().read_model(str(path))


def version() -> dict[str, str]:
    return {"openvino": importlib.metadata.version("openvino")}
