"""How exactly an int8 file computes what a model with fake quantization computes in Keras.

The scores before a last softmax are compared in steps, that is in units of their quantization scale: in
LiteRT's reference kernels, which round as TFLite's specification says, and in its default kernels (XNNPACK).
"""
from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np

from ...file_reading import read_bytes
from ..comparison import EXACT, SimulationResult, measure_steps
from ..formats import BatchRunner
from . import flatbuffer
from .runtime import get_interpreter_class, get_reference_resolver, quantize_array

MAX_IMAGES = 128
_MAX_SECONDS = 10.0     # that reference kernels may run: they are slow
_MIN_IMAGES = 4


def compare_with_simulation(path: pathlib.Path, simulation: BatchRunner,
                            exact_simulation: BatchRunner | None,
                            images: np.ndarray) -> dict[str, SimulationResult]:
    """Compares a file with the model that it was made of.

    Args:
        path: the .tflite file.
        simulation: the scores of the model in Keras, without a last softmax, for images as the file takes
            them.
        exact_simulation: those of the model with the roundings of the reference kernels; None for a model
            that computes partly in floats.
        images: such images.

    Returns:
        The result in the reference kernels, EXACT: their result beside `exact_simulation`, and that in
        LiteRT's default kernels.
    """
    data, images = _remove_softmax(read_bytes(path)), images[:MAX_IMAGES]
    reference, scale = _run(data, images, get_reference_resolver())
    default, _ = _run(data, images, {})
    expected = simulation(images)
    results = {"reference": measure_steps(reference, expected, scale),
               "default": measure_steps(default, expected, scale)}
    if exact_simulation is not None:
        exact = exact_simulation(images[:len(reference)])
        results[EXACT] = measure_steps(reference, exact, scale)
    return results


def _remove_softmax(data: bytes) -> bytes:
    """The file with the input of its last softmax as its output; unchanged if it does not end in one."""
    model = flatbuffer.unpack(data)
    graph, names = model.subgraphs[0], flatbuffer.list_operator_names(model)
    makers = {int(operator.outputs[0]): i for i, operator in enumerate(graph.operators)}
    last = makers[int(graph.outputs[0])]
    while names[last] in ("QUANTIZE", "DEQUANTIZE") and int(graph.operators[last].inputs[0]) in makers:
        last = makers[int(graph.operators[last].inputs[0])]
    if names[last] != "SOFTMAX":
        return data
    graph.outputs = [graph.operators[last].inputs[0]]
    graph.operators = graph.operators[:last]
    model.signatureDefs = None
    return flatbuffer.pack(model)


def _run(data: bytes, images: np.ndarray, options: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The scores of the images, of fewer if it takes long, and the size of their steps."""
    interpreter = get_interpreter_class()(model_content=data, **options)
    interpreter.allocate_tensors()
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    batch_size = int(input_["shape"][0])
    scale, zero_point = output["quantization"]

    scores: list[np.ndarray] = []
    start = time.perf_counter()
    for first in range(0, len(images), batch_size):
        batch = np.resize(images[first:first + batch_size], input_["shape"])
        interpreter.set_tensor(input_["index"], quantize_array(batch, input_))
        interpreter.invoke()
        values = interpreter.get_tensor(output["index"])[:len(images) - first]
        scores.append((values.astype("float32") - zero_point) * scale if scale else values)
        if first + batch_size >= _MIN_IMAGES and time.perf_counter() - start > _MAX_SECONDS:
            break
    return np.concatenate(scores), float(scale) or 1.0
