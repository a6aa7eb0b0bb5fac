"""The int8 ranges that are known without calibration: of the input, and of tensors made from single pixels.

A pixel is 0 to 255 in any image, and the preprocessing turns 0 and 255 into known numbers.  If the
calibration images were dim, or had no strong red, their range would be too narrow for the input, and the file
would clip all brighter images.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..options import ExportOptions
from . import flatbuffer
from .runtime import open_all_tensors

# Operators that only move values, or scale and shift each channel, so that the output is largest or smallest
# where the input is.  One input is not constant; only a concatenation may have several such inputs.
_BY_CHANNEL = {"ADD", "CONCATENATION", "MIRROR_PAD", "MUL", "PAD", "PADV2", "RESHAPE", "SLICE",
               "STRIDED_SLICE", "SUB", "TRANSPOSE"}
MAX_PIXEL = 255.0


def set_known_ranges(calibrated: bytes, options: ExportOptions) -> bytes:
    """Replaces the measured ranges of a calibrated file by the known ones, if the preprocessing is known.

    Args:
        calibrated: a .tflite file in floats with ranges inside.
        options: the options of the file, with its preprocessing.

    Returns:
        The file with the known ranges; each of them contains zero.
    """
    if options.preprocessing is None:
        return calibrated
    interpreter = open_all_tensors(model_content=calibrated)
    (input_,) = interpreter.get_input_details()
    model = flatbuffer.unpack(calibrated)
    tensors = _find_pixel_tensors(model, input_["index"])

    values: dict[int, list[np.ndarray]] = {tensor: [np.zeros(1)] for tensor in tensors}
    for pixel in (0.0, MAX_PIXEL):
        pixels = np.full(input_["shape"], pixel, "float32")
        interpreter.set_tensor(input_["index"], options.preprocessing.normalize(pixels))
        interpreter.invoke()
        for tensor in tensors:
            values[tensor].append(interpreter.get_tensor(tensor))
    for tensor in tensors:
        quantization = model.subgraphs[0].tensors[tensor].quantization
        quantization.min = [min(float(array.min()) for array in values[tensor])]
        quantization.max = [max(float(array.max()) for array in values[tensor])]
    return flatbuffer.pack(model)


def _find_pixel_tensors(model: Any, input_index: int) -> list[int]:
    """The input, and the tensors that are computed from it only by operators of _BY_CHANNEL."""
    graph, names = model.subgraphs[0], flatbuffer.list_operator_names(model)
    found = [input_index]
    for operator, name in zip(graph.operators, names):
        sources = [tensor for tensor in operator.inputs if tensor >= 0 and not _is_constant(model, tensor)]
        is_scaling = name in ("CONV_2D", "DEPTHWISE_CONV_2D") and _keeps_channels_apart(model, operator, name)
        has_one_source = len(sources) == 1 or name == "CONCATENATION"
        if (is_scaling or name in _BY_CHANNEL) and has_one_source and set(sources) <= set(found):
            found += [int(operator.outputs[0])]
    return [tensor for tensor in found if graph.tensors[tensor].quantization is not None]


def _is_constant(model: Any, tensor: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[tensor].buffer].data
    return data is not None and len(data) > 0


def _keeps_channels_apart(model: Any, operator: Any, name: str) -> bool:
    """Whether each output of a convolution depends on one pixel's one channel."""
    kernel = flatbuffer.read_floats(model, operator.inputs[1])      # (outputs or 1, height, width, channels)
    if kernel is None or kernel.shape[1:3] != (1, 1):
        return False
    return name == "DEPTHWISE_CONV_2D" or int(np.count_nonzero(kernel, axis=-1).max()) <= 1
