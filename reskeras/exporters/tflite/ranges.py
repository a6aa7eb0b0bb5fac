"""Where the int8 ranges are chosen: from which value to which value the 256 levels of a tensor reach.

The converter runs the model on the calibration images and keeps the smallest and the largest value that it
sees of each tensor.  `calibration_method` says what is made of them:

* "minmax": these are the range.
* "percentile": the range leaves out equally many values at either end; of the values other than zero,
  99.99 % stay inside.
* "mse": the range is the share of [smallest, largest] whose levels have the least mean squared error.

With "minmax", a few very large values make the steps coarse for all others; the other two methods clip the
few.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..calibration import iterate_batches, pick_evenly
from ..options import ExportOptions
from . import flatbuffer
from .runtime import open_all_tensors

PERCENTILE = 99.99      # this share of a tensor's non-zero values stays within its range
BINS = 2048             # in the histogram of a tensor
SHARES = np.linspace(1, 0.02, 50)       # "mse" tries these parts of [smallest, largest]
MAX_IMAGES = 128        # histograms are made from at most this many
MAX_VALIDATION_IMAGES = 32      # on which values outside the ranges are counted
Range = tuple[float, float]


def choose_percentile_range(counts: np.ndarray, low: float, high: float) -> Range:
    """The range that leaves out equally many values at either end, with PERCENTILE % of all inside.

    Args:
        counts: how many values lie in each of BINS equal parts of [low, high].
        low: the smallest value of the tensor.
        high: the largest.
    """
    outside = (1 - PERCENTILE / 100) / 2 * counts.sum()
    edges = np.linspace(low, high, BINS + 1)
    return (float(edges[np.searchsorted(counts.cumsum(), outside, "right")]),
            float(edges[BINS - np.searchsorted(counts[::-1].cumsum(), outside, "right")]))


def choose_mse_range(counts: np.ndarray, low: float, high: float) -> Range:
    """The range among SHARES of [low, high] whose rounding inside and clipping outside do the least harm.

    That is, with the least mean squared error.

    Args:
        counts: how many values lie in each of BINS equal parts of [low, high].
        low: the smallest value of the tensor.
        high: the largest.
    """
    edges = np.linspace(low, high, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def compute_error(share: float) -> float:
        first, last = share * min(low, 0.0), share * max(high, 0.0)
        step = (last - first) / 255
        clipped = middles - np.clip(middles, first, last)
        return float((counts * np.where(clipped == 0, step ** 2 / 12, clipped ** 2)).sum())
    best = min(SHARES, key=compute_error)
    return best * low, best * high


# Methods that change the converter's ranges; "minmax" leaves them as they are.
_METHODS: dict[str, Callable[[np.ndarray, float, float], Range]] = {
    "percentile": choose_percentile_range, "mse": choose_mse_range}
CALIBRATION_METHODS = ("minmax", *_METHODS)


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
    choose_range = _METHODS[options.calibration_method]
    for i, counts in _count_values(calibrated, options, ranges).items():
        if counts.any():
            low, high = choose_range(counts, *ranges[i])
            tensors[i].quantization.min, tensors[i].quantization.max = [min(low, 0.0)], [max(high, 0.0)]
    return flatbuffer.pack(model)


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
