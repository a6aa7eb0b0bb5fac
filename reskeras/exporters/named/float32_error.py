"""How far float32 is from the exact outputs of a model of any inputs, and the limits that follow."""
from __future__ import annotations

from dataclasses import replace
from typing import Mapping

import numpy as np

from ...graph.graph import Graph
from ..comparison import RuntimeResult, compute_relative_difference
from ..float32_error import FACTOR, MAX_DIFFERENCE, NEAR
from .interface import Arrays, Interface


def measure_named_error(graph: Graph, interface: Interface, inputs: Arrays) -> dict[str, float]:
    """The largest relative difference of each output in float32 from that in float64.

    Args:
        graph: the graph of the model.
        interface: its names.
        inputs: samples by name.
    """
    outputs = []
    for dtype in ("float32", "float64"):
        nested = interface.nest_inputs({name: array.astype(dtype) if array.dtype.kind == "f" else array
                                        for name, array in inputs.items()})
        model = graph.build(dtype, temporary=True)
        outputs.append(interface.name_outputs(model(nested, training=False)))
    return {name: compute_relative_difference(np.asarray(output), np.asarray(outputs[1][name]))
            for name, output in outputs[0].items()}


def is_near_limit(result: RuntimeResult) -> bool:
    """Whether an output of a float32 runtime comes near its limit."""
    return result.precision == "float32" and any(
        NEAR * (output.allowed_difference or np.inf) < output.max_relative_difference < np.inf
        for output in (result.outputs or {}).values())


def allow_float32_error(result: RuntimeResult, errors: Mapping[str, float]) -> RuntimeResult:
    """Widens the limits of the outputs by the error of float32 itself.

    Args:
        result: of a runtime that computes in float32.
        errors: by output, the difference of Keras in float32 from float64.
    """
    outputs = {name: replace(output, allowed_difference=max(
        output.allowed_difference or 0, min(FACTOR * errors[name], MAX_DIFFERENCE)))
        for name, output in (result.outputs or {}).items()}
    return replace(result, outputs=outputs)
