"""TFLite / LiteRT: one flat file for phones and microcontrollers, of builtin operators and static shapes."""
from __future__ import annotations

import pathlib
import tempfile
from typing import TYPE_CHECKING

from ...quantization.half_precision import find_beyond_half
from ..options import INTEGERS, ExportOptions, WrittenRanges
from . import flatbuffer
from .flatbuffer import count_operators
from .quantize import ONE_SCALE_TARGETS
from .ranges import measure_values_outside, read_integer_ranges, read_ranges
from .runtime import get_versions, load
from .standard_metadata import append_labels, build_metadata

if TYPE_CHECKING:
    import keras

__all__ = ["PRECISIONS", "RUNTIMES", "count_cpu_operators", "count_operators", "find_faults", "get_versions",
           "load", "write"]

RUNTIMES: dict[str, dict[str, str]] = {"LiteRT": {}}
PRECISIONS: dict[str, str] = {}

# `quantize` -> the type that some tensor must have then; in "dynamic" the converter leaves small weights
# alone.
_REQUIRED_TYPES = {"float16": "FLOAT16", "int8": "INT8", "int16x8": "INT16"}


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> WrittenRanges | None:
    """Writes `model` for batches of the shape of the options, with their metadata inside.

    Returns:
        What is known of the tensors' ranges, of a file that was calibrated.
    """
    from .. import saved_model
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_for_converter(model, pathlib.Path(folder), options.shape)
        return write_converted(folder, path, options, model, build_metadata(options))


def write_converted(folder: str, path: pathlib.Path, options: ExportOptions, model: keras.Model,
                    standard_metadata: bytes = b"") -> WrittenRanges | None:
    """Converts a SavedModel and writes the file, with metadata inside.

    Args:
        folder: of the SavedModel.
        path: path of the file.
        options: options of the file.
        model: what the SavedModel was made of.
        standard_metadata: what `build_metadata` gave; none if empty.

    Returns:
        What is known of the tensors' ranges, of a file that was calibrated.
    """
    from .quantize import calibrate, convert, quantize
    from .trained_ranges import convert_with_trained_ranges
    written = None
    if options.has_trained_ranges:
        data = convert_with_trained_ranges(folder, options)
    elif options.quantize == "int8":
        calibrated = calibrate(folder, options)
        data = quantize(calibrated, options, [layer.name for layer in model.layers])
        share = None
        if options.validation_images is not None:
            share = measure_values_outside(calibrated, options.validation_images, options.shape[0] or 1)
        written = WrittenRanges(share, find_beyond_half(read_ranges(calibrated)))
    else:
        data = convert(folder, options)
        if options.quantize == "int16x8":
            written = WrittenRanges(None, find_beyond_half(read_integer_ranges(data)))
    data = flatbuffer.add_metadata(data, options.metadata, standard_metadata)
    path.write_bytes(append_labels(data, options.labels))
    return written


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Says why phones or microcontrollers would not run the file, or that `quantize` had no effect on it."""
    is_integer = options.quantize == "int8" and not options.has_float_layers and options.io != "float32"
    faults = flatbuffer.find_faults(path, is_integer, options.max_rank)
    if options.quantize in INTEGERS and options.target in ONE_SCALE_TARGETS:
        faults += flatbuffer.find_dense_scales(path, options.target)
    required = _REQUIRED_TYPES.get(options.quantize or "")
    if required and not flatbuffer.has_tensor_type(path, required):
        faults.append(f"no tensor is of the type {required}")
    return faults


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts for each delegate the operators that it leaves to the CPU."""
    from .delegates import count_cpu_operators
    return count_cpu_operators(path)
