"""ONNX: a graph for ONNX Runtime and many others, written by tf2onnx."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pathlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .measurements import ArrayFunction
from .options import ExportOptions, Shape

if TYPE_CHECKING:
    import keras

RUNTIMES: dict[str, dict[str, str]] = {"ONNX Runtime": {}}
PRECISIONS: dict[str, str] = {}
OPSET = 17          # the newest that tf2onnx writes without a warning, and every runtime since 2022 reads


def _disable_telemetry() -> None:
    """Switches ONNX Runtime's reports to a server off.  Call it before ONNX Runtime is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes `model` with its metadata among the file's own properties."""
    _disable_telemetry()
    import onnx
    import tensorflow as tf
    import tf2onnx
    images = tf.TensorSpec(options.shape, model.inputs[0].dtype, name="images")
    function = tf.function(lambda images: {"scores": model(images, training=False)}, [images],
                           autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, [images], opset=OPSET)
    _rename_output(proto.graph)
    metadata = json.dumps(options.metadata, ensure_ascii=False)
    onnx.helper.set_model_props(proto, {"reskeras": str(options.metadata["reskeras"]), "metadata": metadata})
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


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
    _disable_telemetry()
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # its fallback to other providers would print to stdout
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"],
                                           enable_fallback=False)
    (input_,) = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in input_.shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {input_.name: images})[0])
    return run, shape


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Operators outside of the standard, which only some runtimes have."""
    nodes = [node for node in _read_nodes(path) if node.domain not in ("", "ai.onnx")]
    names = {f"{node.domain}.{node.op_type}" for node in nodes}
    return [f"{', '.join(sorted(names))}: not of the ONNX standard"] if names else []


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts each operator of the graph, the most frequent first."""
    return dict(Counter(node.op_type for node in _read_nodes(path)).most_common())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: the file says nothing of the providers that will run it."""
    return {}


def _read_nodes(path: pathlib.Path) -> Any:
    import onnx
    return onnx.load(str(path), load_external_data=False).graph.node


def get_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that write and run the file."""
    packages = ("onnx", "onnxruntime", "tf2onnx")
    installed = [name for name in packages if importlib.util.find_spec(name) is not None]
    return {name: importlib.metadata.version(name) for name in installed}
