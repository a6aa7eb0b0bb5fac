"""Ranges of tensors that are zero on every calibration image, such as the outputs of units that are dead.

Such a range has no scale that a kernel can divide by.  Zero itself is exact in any range, so another one
costs no accuracy on the calibration images, and is there if the unit is not zero on others.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..._keras_private import get_tflite_schema
from . import flatbuffer

# XNNPACK's limit: the scale of a layer's output is more than 1 / 256 of the product of the scales of its
# input and of its weights, which have 127 levels on each side
_LEAST_WIDTH = 1 / (127 * 256)
_ZERO = 1e-12           # of what it is computed from
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def widen_empty_ranges(calibrated: bytes) -> bytes:
    """Gives what is zero, or in a layer too small for a kernel, the range of what it may be.

    Args:
        calibrated: a .tflite file in floats with ranges inside.

    Returns:
        The same file with other ranges of such tensors.
    """
    model = flatbuffer.unpack(calibrated)
    names, is_changed = flatbuffer.list_operator_names(model), False
    for operator, name in zip(model.subgraphs[0].operators, names):
        least, reach = _find_limits(model, operator, name)
        for output in (model.subgraphs[0].tensors[i] for i in operator.outputs):
            if _has_range(output) and _find_width(output) <= least:
                is_changed = True
                output.quantization.min = [0.0 if _is_relu(operator, name) else -reach]
                output.quantization.max = [reach]
    return flatbuffer.pack(model) if is_changed else calibrated


def _find_limits(model: Any, operator: Any, name: str) -> tuple[float, float]:
    """The width that an operator's output must have more than, and the magnitude that it may have.

    A layer's output may be as large as its largest input times the length of an output's weights.
    """
    inputs = [model.subgraphs[0].tensors[i] for i in operator.inputs if i >= 0]
    widest = max([_find_width(tensor) for tensor in inputs if _has_range(tensor)], default=0.0)
    kernel = flatbuffer.read_floats(model, operator.inputs[1]) if name in _LAYERS else None
    if not widest:
        return -1.0, 0.0
    if kernel is None:
        return widest * _ZERO, widest
    axes = tuple(range(kernel.ndim - 1)) if name == "DEPTHWISE_CONV_2D" else tuple(range(1, kernel.ndim))
    length = float(np.sqrt(np.square(kernel).sum(axes)).max())
    return widest * max(float(np.abs(kernel).max()) * _LEAST_WIDTH, _ZERO), widest * (length or 1.0)


def _is_relu(operator: Any, name: str) -> bool:
    activations = get_tflite_schema().ActivationFunctionType
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", activations.NONE)
    return name.startswith("RELU") or fused in (activations.RELU, activations.RELU6)


def _has_range(tensor: Any) -> bool:
    quantization = tensor.quantization
    return quantization is not None and quantization.min is not None and len(quantization.min) == 1


def _find_width(tensor: Any) -> float:
    """The width of a tensor's range with zero."""
    return max(float(tensor.quantization.max[0]), 0.0) - min(float(tensor.quantization.min[0]), 0.0)
