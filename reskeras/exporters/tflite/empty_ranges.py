"""Ranges of tensors that are zero on every calibration image, such as the outputs of units that are dead.

Such a range has no scale that a kernel can divide by.  Zero itself is exact in any range, so another one
costs no accuracy on the calibration images, and is there if the unit is not zero on others.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..._keras_private import get_tflite_schema
from . import flatbuffer

# XNNPACK's limit: the scale of a layer's output is more than 1 / 256 of the scales of its input and weights,
# which have 127 levels
_LEAST_WIDTH = 1 / (127 * 256)


def widen_empty_ranges(calibrated: bytes) -> bytes:
    """Gives what is zero, or next to it, the range of what it is computed from.

    Args:
        calibrated: a .tflite file in floats with ranges inside.
    """
    model = flatbuffer.unpack(calibrated)
    tensors, is_changed = model.subgraphs[0].tensors, False
    names = flatbuffer.list_operator_names(model)
    for operator, name in zip(model.subgraphs[0].operators, names):
        inputs = [tensors[i] for i in operator.inputs if i >= 0]
        widths = [_find_largest(tensor) for tensor in inputs]
        if not any(widths):
            continue
        weights = [np.abs(array).max(initial=0) for tensor in inputs
                   if (array := _read_constant(model, tensor)) is not None]
        reach = max(widths) * float(max([1.0, *weights]))
        for output in (tensors[i] for i in operator.outputs):
            if _has_range(output) and _find_largest(output) < reach * _LEAST_WIDTH:
                is_changed = True
                output.quantization.min = [0.0 if _is_relu(operator, name) else -reach]
                output.quantization.max = [reach]
    return flatbuffer.pack(model) if is_changed else calibrated


def _is_relu(operator: Any, name: str) -> bool:
    activations = get_tflite_schema().ActivationFunctionType
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", activations.NONE)
    return name.startswith("RELU") or fused in (activations.RELU, activations.RELU6)


def _has_range(tensor: Any) -> bool:
    quantization = tensor.quantization
    return quantization is not None and quantization.min is not None and len(quantization.min) == 1


def _find_largest(tensor: Any) -> float:
    """The largest magnitude within a tensor's range; 0 if it has none."""
    if not _has_range(tensor):
        return 0.0
    return max(abs(float(tensor.quantization.min[0])), abs(float(tensor.quantization.max[0])))


def _read_constant(model: Any, tensor: Any) -> np.ndarray | None:
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type != get_tflite_schema().TensorType.FLOAT32:
        return None
    return np.asarray(data, "uint8").view("float32")
