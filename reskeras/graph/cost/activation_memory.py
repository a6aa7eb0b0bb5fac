"""The memory of a net's activations."""
from __future__ import annotations

import math

from .execution_plan import ExecutionPlan

DEFAULT_BYTES = 4       # bytes of a number in float32, int32 and any dtype that is not listed
BYTES_PER_NUMBER = {"float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int8": 1, "uint8": 1, "bool": 1}
# Layers that return their input at inference, perhaps in a different shape: they need no further memory
ALIASES = {"Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
           "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization", "Flatten", "Reshape",
           "StochasticDepth", "DropBlock2D"}


def measure_activation_memory(plan: ExecutionPlan) -> tuple[int, int]:
    """Adds up the bytes of one image's activations.

    A tensor lives from the step that makes it to the last one that reads it; the model's outputs live to the
    end.

    Args:
        plan: the steps of a model.

    Returns:
        The most bytes that live at once, and the bytes of all tensors.
    """
    storage = list(range(len(plan.shapes)))     # tensor -> the tensor whose memory it uses
    size = [0] * len(storage)                   # tensor -> its bytes; 0 if it shares memory
    last_use = [0] * len(storage)               # tensor -> the last step that reads it
    for i, step in enumerate(plan.steps):
        is_alias = type(step.layer).__name__ in ALIASES
        number_bytes = BYTES_PER_NUMBER.get(getattr(step.layer, "compute_dtype", ""), DEFAULT_BYTES)
        for tensor in step.outputs:
            storage[tensor] = storage[step.inputs[0]] if is_alias else tensor
            size[tensor] = 0 if is_alias else math.prod(plan.shapes[tensor]) * number_bytes
            last_use[storage[tensor]] = i
        for tensor in step.inputs:
            last_use[storage[tensor]] = i
    for tensor in plan.outputs:
        last_use[storage[tensor]] = len(plan.steps)

    freed: dict[int, int] = {}                  # step -> bytes that are free after it
    for tensor, end in enumerate(last_use):
        freed[end] = freed.get(end, 0) + size[tensor]

    live = peak = 0
    for i, step in enumerate(plan.steps):
        live += sum(size[tensor] for tensor in step.outputs)
        peak = max(peak, live)
        live -= freed.get(i, 0)
    return peak, sum(size)
