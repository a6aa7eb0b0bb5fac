"""ONNX: a graph for ONNX Runtime and many others, by tf2onnx."""
from __future__ import annotations

import importlib.metadata
import pathlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .report import Run

if TYPE_CHECKING:
    import keras

    from .formats import Shape
    from .options import Job

RUNTIMES: dict[str, dict[str, str]] = {"ONNX Runtime": {}}
OPSET = 17          # the newest that tf2onnx writes without a warning, and every runtime since 2022 reads


def write(model: keras.Model, path: pathlib.Path, job: Job) -> None:
    """Writes `model` with its metadata among the file's own properties."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    given = tf.TensorSpec(job.shape, model.inputs[0].dtype, name="images")
    function = tf.function(lambda images: {"scores": model(images, training=False)}, [given], autograph=False)
    net, _ = tf2onnx.convert.from_function(function, [given], opset=OPSET)
    _name_ends(net.graph)
    onnx.helper.set_model_props(net, {"reskeras": str(job.metadata["reskeras"]), "metadata": _dumped(job.metadata)})
    onnx.checker.check_model(net)
    onnx.save(net, str(path))


def _name_ends(graph: Any) -> None:
    """The output becomes "scores", whatever TensorFlow called it, and an open batch "batch"."""
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


def _dumped(about: dict[str, Any]) -> str:
    import json
    return json.dumps(about, ensure_ascii=False)


def load(path: pathlib.Path, threads: int = 1) -> tuple[Run, Shape]:
    """The net on a batch of images in ONNX Runtime, and the shape that it takes."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in given.shape)

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {given.name: images})[0])
    return run, shape


def faults(path: pathlib.Path, job: Job) -> list[str]:
    """Operators outside of the standard, which only some runtimes have."""
    bad = sorted({f"{node.domain}.{node.op_type}" for node in opened(path).graph.node if node.domain not in ("", "ai.onnx")})
    return [f"{', '.join(bad)}: not of the ONNX standard"] if bad else []


def operators(path: pathlib.Path) -> dict[str, int]:
    return dict(Counter(node.op_type for node in opened(path).graph.node).most_common())


def opened(path: pathlib.Path) -> Any:
    import onnx
    return onnx.load(str(path), load_external_data=False)


def version() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime", "tf2onnx") if has(name)}


def has(name: str) -> bool:
    import importlib.util
    return importlib.util.find_spec(name) is not None
