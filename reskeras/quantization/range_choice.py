"""Which range int8 gives to a tensor, from a histogram of its values: from where to where 256 levels reach.

`calibration_method` names the choice:

* "minmax": from the smallest value to the largest.
* "percentile": the range leaves out equally many values at either end; of the values other than zero,
  99.99 % stay inside.
* "mse": the range is the share of [smallest, largest] whose levels have the least mean squared error.

With "minmax", a few very large values make the steps coarse for all others; the other two methods clip the
few.
"""
from __future__ import annotations

from typing import Callable

import numpy as np

PERCENTILE = 99.99      # this share of a tensor's non-zero values stays within its range
BINS = 2048             # in the histogram of a tensor
SHARES = np.linspace(1, 0.02, 50)       # "mse" tries these parts of [smallest, largest]
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


# Methods that narrow a range; "minmax" leaves it as it is.
METHODS: dict[str, Callable[[np.ndarray, float, float], Range]] = {
    "percentile": choose_percentile_range, "mse": choose_mse_range}
CALIBRATION_METHODS = ("minmax", *METHODS)
