"""The memory of a net's activations."""
from __future__ import annotations

import math

from .execution_plan import Plan

BYTES = {"float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int8": 1, "uint8": 1, "bool": 1}      # others: 4
# What gives its input back in inference, or the same numbers in another shape: no memory of its own
ALIASES = {"Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout",
           "AlphaDropout", "GaussianNoise", "ActivityRegularization", "Flatten", "Reshape", "StochasticDepth", "DropBlock2D"}


def memory(made: Plan) -> tuple[int, int]:
    """Bytes of one image's activations: the most that live at once, and all of them."""
    home = list(range(len(made.shapes)))        # the tensor whose memory each one is in
    size = [0] * len(home)
    last = [0] * len(home)
    for i, step in enumerate(made.steps):
        alias = type(step.layer).__name__ in ALIASES
        for tensor in step.makes:
            home[tensor] = home[step.reads[0]] if alias else tensor
            size[tensor] = 0 if alias else math.prod(made.shapes[tensor]) * BYTES.get(getattr(step.layer, "compute_dtype", ""), 4)
            last[home[tensor]] = i
        for tensor in step.reads:
            last[home[tensor]] = i
    for tensor in made.outputs:
        last[home[tensor]] = len(made.steps)
    freed: dict[int, int] = {}
    for tensor, end in enumerate(last):
        freed[end] = freed.get(end, 0) + size[tensor]
    live = peak = 0
    for i, step in enumerate(made.steps):
        live += sum(size[tensor] for tensor in step.makes)
        peak = max(peak, live)
        live -= freed.get(i, 0)
    return peak, sum(size)
