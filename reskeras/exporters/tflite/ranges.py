"""Gives the tensors of a calibrated file the ranges that `calibration_method` chooses.

The converter runs the model on the calibration images and keeps the smallest and the largest value that it
sees of each tensor; `quantization.range_choice` says what else the range may be.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..._keras_private import get_tflite_schema
from ...quantization.calibration import iterate_batches, pick_evenly
from ...quantization.range_choice import BINS, METHODS, Range
from ..options import ExportOptions
from . import flatbuffer
from .runtime import open_all_tensors
from .tensor_names import shorten_name

MAX_IMAGES = 128        # histograms are made from at most this many
MAX_VALIDATION_IMAGES = 32      # on which values outside the ranges are counted


def narrow_ranges(calibrated: bytes, options: ExportOptions) -> bytes:
    """Replaces the range of each tensor by the one that the `calibration_method` chooses.

    Args:
        calibrated: a .tflite file in floats with the converter's ranges inside.
        options: the method and the calibration images.
    Returns:
        The same file with other ranges; zero is within each of them.
    """
    model = flatbuffer.unpack(calibrated)
    tensors, ranges = model.subgraphs[0].tensors, _find_ranges(model)
    choose_range = METHODS[options.calibration_method]
    for i, counts in _count_values(calibrated, options, ranges).items():
        if counts.any():
            low, high = choose_range(counts, *ranges[i])
            tensors[i].quantization.min, tensors[i].quantization.max = [min(low, 0.0)], [max(high, 0.0)]
    return flatbuffer.pack(model)


def read_ranges(calibrated: bytes) -> dict[str, Range]:
    """The ranges of a calibrated file's tensors, by the names that the file will have.

    Args:
        calibrated: a .tflite file in floats with ranges inside.
    """
    model = flatbuffer.unpack(calibrated)
    return {shorten_name(model.subgraphs[0].tensors[i].name).decode(): ends
            for i, ends in _find_ranges(model).items()}


def read_integer_ranges(data: bytes) -> dict[str, Range]:
    """The ranges of the tensors of 16 bits, by the names that the file will have.

    Args:
        data: a .tflite file of integers.
    """
    int16 = get_tflite_schema().TensorType.INT16
    tensors = [t for t in flatbuffer.unpack(data).subgraphs[0].tensors if t.type == int16]
    largest = {shorten_name(t.name).decode(): float(t.quantization.scale[0]) * 2 ** 15 for t in tensors
               if t.quantization is not None and t.quantization.scale is not None}
    return {name: (-value, value) for name, value in largest.items()}


def _find_ranges(model: Any) -> dict[int, Range]:
    """The range of each tensor that has one."""
    return {i: (float(q.min[0]), float(q.max[0])) for i, tensor in enumerate(model.subgraphs[0].tensors)
            if (q := tensor.quantization) is not None and q.min is not None
            and len(q.min) == 1 and q.min[0] < q.max[0]}


def measure_values_outside(calibrated: bytes, images: np.ndarray, batch_size: int) -> float:
    """The share of all values that the int8 file would clip, from 0 to 1, on some images.

    Args:
        calibrated: a .tflite file in floats with ranges inside.
        images: images as the model takes them.
        batch_size: images per call of the file.
    """
    interpreter = open_all_tensors(model_content=calibrated)
    (input_,) = interpreter.get_input_details()
    ranges = _find_ranges(flatbuffer.unpack(calibrated))
    images = np.array(pick_evenly(list(images), MAX_VALIDATION_IMAGES))
    outside = total = 0
    for start in range(0, len(images), batch_size):
        interpreter.set_tensor(input_["index"], np.resize(images[start:start + batch_size], input_["shape"]))
        interpreter.invoke()
        for i, (low, high) in ranges.items():
            values, half_a_step = interpreter.get_tensor(i), (high - low) / 510     # which is only rounded
            outside += int(((values < low - half_a_step) | (values > high + half_a_step)).sum())
            total += values.size
    return outside / max(total, 1)


def _count_values(calibrated: bytes, options: ExportOptions,
                  ranges: dict[int, Range]) -> dict[int, np.ndarray]:
    """Computes histograms: how many values of each tensor lie in each of BINS parts of its range, on some
    images.

    Zeros are not counted, which are most of what a ReLU gives: zero is a level of any range, and has no
    error.
    """
    interpreter = open_all_tensors(model_content=calibrated)
    (input_,) = interpreter.get_input_details()
    histograms = {i: np.zeros(BINS, int) for i in ranges}

    assert options.calibration_images is not None and options.shape[0]
    images, batch_size = options.calibration_images, options.shape[0]
    indices = pick_evenly(list(range(len(images))), max(MAX_IMAGES, batch_size))
    for batch in iterate_batches(images[indices], batch_size):
        interpreter.set_tensor(input_["index"], batch)
        interpreter.invoke()
        for i, histogram in histograms.items():
            values = interpreter.get_tensor(i)
            histogram += np.histogram(values[values != 0], BINS, ranges[i])[0]
    return histograms
