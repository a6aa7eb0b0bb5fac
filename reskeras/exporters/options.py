"""What an exporter is asked for."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .formats import Shape


@dataclass(frozen=True)
class Job:
    """Everything but the net and the path."""
    shape: Shape                                # (batch, height, width, channels); None stays open
    quantize: str | None = None
    samples: np.ndarray | None = None           # (N, height, width, channels), as the net takes them, to calibrate on
    io: str = "int8"                            # type of the input and output of an int8 file
    float_layers: tuple[str, ...] = ()          # that stay in floating point in an int8 file
    calibration_method: str = "minmax"          # how an int8 file's ranges come from the samples
    progress: bool = False                      # whether calibrating shows a bar
    labels: tuple[str, ...] = ()                # names of the classes
    metadata: dict[str, Any] = field(default_factory=dict)      # about the net, for inside the file
    preprocessing: Any = None                   # pixels to what the net takes, where that is known
