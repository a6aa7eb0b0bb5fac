"""The ranges of a file's tensors on calibration images, for runtimes that return every tensor of a graph.

`quantization.range_choice` says how a range is chosen from the values.
"""
from __future__ import annotations

from typing import Callable, Mapping

import numpy as np

from ..images.preprocessing import Preprocessing
from ..quantization.calibration import iterate_batches, pick_evenly
from ..quantization.range_choice import BINS, METHODS, Range
from .options import ExportOptions

MAX_IMAGES = 128                # histograms are made from at most this many
MAX_VALIDATION_IMAGES = 32      # on which values outside the ranges are counted
_MAX_PIXEL = 255.0

AllTensors = Callable[[np.ndarray], Mapping[str, np.ndarray]]      # a batch of images -> tensors by name


def measure_ranges(run: AllTensors, options: ExportOptions) -> dict[str, Range]:
    """The range of each tensor; zero is within each of them.

    Args:
        run: a function that returns all tensors whose ranges are needed.
        options: the calibration images, the batch size, and the method.
    """
    assert options.calibration_images is not None
    images, batch_size = options.calibration_images, options.shape[0] or 1
    ends: dict[str, Range] = {}
    for batch in iterate_batches(images, batch_size, options.verbose):
        for name, values in run(batch).items():
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    if options.calibration_method not in METHODS:
        return ends

    counts = {name: np.zeros(BINS, int) for name, (low, high) in ends.items() if low < high}
    indices = pick_evenly(list(range(len(images))), max(MAX_IMAGES, batch_size))
    for batch in iterate_batches(images[indices], batch_size):
        tensors = run(batch)
        for name, histogram in counts.items():
            values = tensors[name]
            histogram += np.histogram(values[values != 0], BINS, ends[name])[0]
    choose = METHODS[options.calibration_method]
    for name, histogram in counts.items():
        if histogram.any():
            low, high = choose(histogram, *ends[name])
            ends[name] = min(low, 0.0), max(high, 0.0)
    return ends


def find_input_range(preprocessing: Preprocessing | None, channels: int) -> Range | None:
    """The range of the input: what the preprocessing makes of 0 and 255; None if it is not known.

    Args:
        preprocessing: the model's.
        channels: of an image.
    """
    if preprocessing is None:
        return None
    ends = [preprocessing.normalize(np.full((1, 1, 1, channels), pixel, "float32"))
            for pixel in (0.0, _MAX_PIXEL)]
    return min(0.0, *(float(np.min(end)) for end in ends)), max(0.0, *(float(np.max(end)) for end in ends))


def measure_values_outside(run: AllTensors, ranges: Mapping[str, Range], options: ExportOptions
                           ) -> float | None:
    """The share of all values that an int8 file would clip, from 0 to 1, on the validation images.

    Args:
        run: a function that returns all tensors that have a range.
        ranges: by tensor.
        options: the images and the batch size.

    Returns:
        None if there are no images.
    """
    if options.validation_images is None:
        return None
    batch_size = options.shape[0] or 1
    images = np.array(pick_evenly(list(options.validation_images), MAX_VALIDATION_IMAGES))
    outside = total = 0
    for start in range(0, len(images), batch_size):
        batch = images[start:start + batch_size]
        tensors = run(np.resize(batch, (batch_size, *batch.shape[1:])))
        for name, (low, high) in ranges.items():
            values, half_a_step = tensors[name], (high - low) / 510     # which is only rounded
            outside += int(((values < low - half_a_step) | (values > high + half_a_step)).sum())
            total += values.size
    return outside / max(total, 1)
