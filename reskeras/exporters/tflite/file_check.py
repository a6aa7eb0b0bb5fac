"""Checks a .tflite file before an interpreter opens it.

The interpreter itself checks that offsets, shapes and types fit.  But it runs operations of TensorFlow
without asking, and aborts the whole process if it cannot compute with the quantization scales of an operator.
"""
from __future__ import annotations

import pathlib
from typing import Any

from ..._keras_private import get_tflite_schema
from .flatbuffer import count_operators, read_model, read_scales

# The largest quantization scale of an operator's inputs and outputs, divided by the smallest.  From 2 ** 19
# on kernels abort the process; in a useful file it is less than 2 ** 8 (XNNPACK's own limit).
_MAX_RATIO = 2 ** 18
_MIN_SCALE = 1e-30      # the products of two such scales are still float32


def check_file(path: pathlib.Path) -> None:
    """Checks a file before it is run.

    Args:
        path: the file.

    Raises:
        ValueError: if it has operations of TensorFlow, or scales that abort the process; if it is not a
            .tflite file.
        Exception: of any other class, for a damaged file.
    """
    _check_operators(path)
    _check_scales(read_model(path))


def _check_operators(path: pathlib.Path) -> None:
    """Raises: ValueError for TensorFlow's operations; some interpreters run even those that write files."""
    names = [name for name in count_operators(path) if name.startswith("CUSTOM Flex")]
    if names:
        raise ValueError(f"it has {', '.join(names)}: operations of TensorFlow can read and write files, so "
                         "a file with them is a program")


def _check_scales(model: Any) -> None:
    """Raises: ValueError for an operator on integers whose scales are missing or far apart."""
    types = get_tflite_schema().TensorType
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            numbers = [*map(operator.Inputs, range(operator.InputsLength())),
                       *map(operator.Outputs, range(operator.OutputsLength()))]
            tensors = [graph.Tensors(number) for number in numbers if number >= 0]
            values = [tensor for tensor in tensors if tensor.Type() in (types.INT8, types.UINT8, types.INT16)
                      and not model.Buffers(tensor.Buffer()).DataLength()]
            scales = [float(read_scales(tensor)[0]) if len(read_scales(tensor)) else 0.0 for tensor in values]
            is_quantized = any(scales) or any(tensor.Type() != types.UINT8 for tensor in values)
            if is_quantized and not _MIN_SCALE < max(scales) <= _MAX_RATIO * min(scales) < 1 / _MIN_SCALE:
                name = (values[-1].Name() or b"").decode(errors="replace")
                listing = ", ".join(f"{scale:.3g}" for scale in scales)
                raise ValueError(f"the quantization scales of {name} and of the inputs of its operator are "
                                 f"missing or too different: {listing}")
