"""How far float32 is from the exact outputs of a model: two correct runtimes need not be nearer than that.

A model with random weights may amplify the rounding of the last bit: the split attention of an untrained
ResNeSt saturates.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Callable

import numpy as np

from ..graph.graph import Graph
from .comparison import compute_relative_difference
from .report import ExportReport

FACTOR = 10         # two runtimes may differ by this times the error of one: both round, in a different order
MAX_DIFFERENCE = 1e-2   # no file in float32 may differ by more, which is what float16 may
NEAR = 0.1          # of the threshold: from here on, another machine's order of sums may lie beyond it


def measure_float32_error(graph: Graph, images: np.ndarray, outputs: np.ndarray | None = None) -> float:
    """The largest relative difference between a graph's outputs in float32 and in float64.

    Args:
        graph: the graph of the model.
        images: float32, as the model takes them.
        outputs: the graph's own outputs in float32, if they are known already.  They must not be those of
            the model that the graph was read from: what the graph lacks of it is not rounding.
    """
    if outputs is None:
        outputs = np.asarray(graph.build("float32", temporary=True)(images, training=False))
    exact = graph.build("float64", temporary=True)(images.astype("float64"), training=False)
    return compute_relative_difference(outputs, np.asarray(exact))


def relax_float32_thresholds(report: ExportReport, measure_error: Callable[[], float]) -> ExportReport:
    """Widens the thresholds of float32 runtimes by the error of float32 itself, if differences come near.

    Args:
        report: the report of the export.
        measure_error: `measure_float32_error` of the model; called only if it is needed.
    Returns:
        The report, with `float32_error` if it was measured.
    """
    near = [name for name, result in report.runtimes.items() if result.precision == "float32"
            and (NEAR * (report.thresholds[name].difference or np.inf)
                 < result.max_relative_difference < np.inf)]
    if not near:
        return report

    error = measure_error()
    allowed = min(FACTOR * error, MAX_DIFFERENCE)
    thresholds = dict(report.thresholds)
    for name in near:
        difference = max(thresholds[name].difference or 0, allowed)
        thresholds[name] = replace(thresholds[name], difference=difference)
    return replace(report, float32_error=error, thresholds=thresholds)
