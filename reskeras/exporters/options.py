"""What the modules of the formats are told about a file, beside the model and the path."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..images.preprocessing import Preprocessing

Shape = tuple[int | None, ...]      # (batch, height, width, channels); None is open
INTEGERS = ("int8", "int16x8")      # values of `quantize` that need ranges
ROUNDED = ("dynamic", *INTEGERS)    # those that no runtime computes more exactly than another
# The targets for Arm's Ethos-U, as its compiler names them: generation, and multiply-accumulates at once
ETHOS_U = tuple(f"ethos-u{generation}-{macs}" for generation, sizes in {
    55: (32, 64, 128, 256), 65: (256, 512), 85: (128, 256, 512, 1024, 2048)}.items() for macs in sizes)
GPU = "gpu"                         # the target of a SavedModel for servers with GPUs
BATCH_SIZES = (1, 8, 32)            # that it is compiled for, if none are given
_MAX_IMAGE, _MAX_BATCH = 2 ** 27, 2 ** 28       # numbers of an input, far above any net for images


@dataclass(frozen=True)
class ExportOptions:
    """The options of one file."""

    shape: Shape                                # of its input
    quantize: str | None = None                 # as `reskeras.export` takes it
    target: str | None = None                   # what runs it: of its format's `targets`
    calibration_images: np.ndarray | None = None    # (N, height, width, channels) as the model takes them
    calibration_inputs: dict[str, np.ndarray] | None = None     # the same of several inputs, by name
    validation_images: np.ndarray | None = None     # those that the file will be compared on
    calibration_method: str = "minmax"          # of the int8 ranges: see `quantization.range_choice`
    io: str = "int8"                            # type of the input and the output of an int8 file
    float_layers: tuple[str, ...] = ()          # layers that stay in floating point in an int8 file
    normalizations: tuple[str, ...] = ()        # layers that stay there anyway: of an image's own statistics
    has_trained_ranges: bool = False            # whether the model has fake quantization, with its ranges
    verbose: bool | TextIO = False              # whether the calibration shows a bar, or where
    labels: tuple[str, ...] = ()                # names of the classes
    metadata: dict[str, Any] = field(default_factory=dict)      # about the model, to be kept inside the file
    signatures: tuple[str, ...] = ()            # of a SavedModel: those to write, () for all
    batch_sizes: tuple[int, ...] = ()           # of a SavedModel for GPU servers: those it is compiled for
    dtype: str | None = None                    # of a SavedModel: its half precision
    layout: str | None = None                   # of a SavedModel for GPU servers: whose folders it has
    preprocessing: Preprocessing | None = None  # from pixels to what the model takes, if that is known
    max_rank: int = 4                           # axes of a tensor in a .tflite: delegates take no more


    @property
    def has_float_layers(self) -> bool:
        """Whether a part of an int8 file computes in floating point."""
        return bool(self.float_layers or self.normalizations)


@dataclass(frozen=True)
class WrittenRanges:
    """What is known of the ranges of a file's tensors, after it was calibrated."""

    outside: float | None       # share of the values on the validation images that are outside of them
    beyond_half: tuple[str, ...] = ()       # tensors that overflow or vanish in float16


def check_batch_size(shape: Shape) -> None:
    """Checks that the images of one call are not more than any runtime takes.

    Raises: ArgumentError.
    """
    batch_size, image = shape[0], math.prod(side or 1 for side in shape[1:])
    if batch_size is not None and batch_size * image > _MAX_BATCH:
        raise ArgumentError("batch_size", batch_size,
                            f"at most {max(1, _MAX_BATCH // image):,} images of {image:,} numbers")


def check_input_shape(shape: Shape) -> None:
    """Checks that an input of a file is of a size that images have: a damaged file may ask for any memory.

    Raises: ValueError.
    """
    if any(math.prod(side or 1 for side in sides) > limit
           for sides, limit in ((shape[1:], _MAX_IMAGE), (shape, _MAX_BATCH))):
        raise ValueError(f"its input has the shape {shape}; expected at most {_MAX_IMAGE:,} numbers for an "
                         f"image, and {_MAX_BATCH:,} for a batch")
