"""Measures the tensors of a graph on calibration images, and chooses the range of each."""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Iterator, Sequence

import keras
import numpy as np

from ..graph.graph import Graph
from ..graph.keras_config import TensorRef
from .range_choice import BINS, METHODS, Range

_MAX_NUMBERS = 2 ** 25      # of all measured tensors of a batch, in memory at the same time
_MAX_BATCH = 32


def measure_ranges(graph: Graph, sites: Sequence[TensorRef], images: np.ndarray,
                   calibration_method: str) -> dict[TensorRef, Range]:
    """The range of each tensor; zero is within each of them.

    Args:
        graph: a graph of one input.
        sites: the tensors.
        images: (N, height, width, channels) as the model takes them.
        calibration_method: one of `range_choice.CALIBRATION_METHODS`.
    """
    model = replace(graph, outputs=list(sites), model_class=keras.Model, model_config={}
                    ).build("float32", temporary=True)
    lows, highs = np.full(len(sites), np.inf), np.full(len(sites), -np.inf)
    for values in _iterate_values(model, images):
        lows = np.minimum(lows, [tensor.min() for tensor in values])
        highs = np.maximum(highs, [tensor.max() for tensor in values])
    ends = [(float(low), float(high)) for low, high in zip(lows, highs)]

    if calibration_method in METHODS:
        counts = np.zeros((len(sites), BINS), int)
        for values in _iterate_values(model, images):
            for i, tensor in enumerate(values):
                if ends[i][0] < ends[i][1]:
                    counts[i] += np.histogram(tensor[tensor != 0], BINS, ends[i])[0]
        choose = METHODS[calibration_method]
        ends = [choose(counts[i], *ends[i]) if counts[i].any() else ends[i] for i in range(len(sites))]
    # a tensor that is always zero has no range; any will do
    return {site: (min(low, 0.0), max(high, 0.0)) if low or high else (0.0, 1.0)
            for site, (low, high) in zip(sites, ends)}


def _iterate_values(model: keras.Model, images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The outputs of a model for batches of images."""
    height, width = images.shape[1:3]
    numbers = sum(math.prod(side or height * width for side in tensor.shape[1:]) for tensor in model.outputs)
    batch_size = max(1, min(_MAX_BATCH, _MAX_NUMBERS // max(numbers, 1)))
    for start in range(0, len(images), batch_size):
        outputs = model.predict_on_batch(images[start:start + batch_size])
        yield [np.asarray(output) for output in (outputs if isinstance(outputs, list) else [outputs])]
