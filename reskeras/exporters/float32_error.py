"""How far float32 is from a net's own function: no two correct runtimes can be asked to be nearer to each other.

A net of random weights may carry a last bit far: the split attention of an untrained ResNeSt saturates.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Callable

import numpy as np

from ..graph.graph import Graph
from .report import Certificate, max_relative_difference

FACTOR = 10         # what two runtimes may differ by, over the error of one: both have their own, in another order of sums
MOST = 1e-2         # what no file in float32 is allowed: as much as float16
NEAR = 0.1          # of the threshold: from here on, the order of sums of another machine may be beyond it


def rounding(graph: Graph, images: np.ndarray, answers: np.ndarray | None = None) -> float:
    """The largest difference of `answers`, the graph's own in float32, to the graph's in float64, over the largest of those.

    Never those of the model that the graph was read from: what the graph lacks of it is no rounding.
    """
    if answers is None:
        answers = np.asarray(graph.build("float32", scratch=True)(images, training=False))
    exact = graph.build("float64", scratch=True)(images.astype("float64"), training=False)
    return max_relative_difference(answers, np.asarray(exact))


def allowing(certificate: Certificate, measured: Callable[[], float]) -> Certificate:
    """With `measured()`, an error of `rounding`, in the thresholds of float32, where a difference comes near to one."""
    near = [name for name, m in certificate.runtimes.items() if m.kind == "float32"
            and NEAR * (certificate.thresholds[name].difference or np.inf) < m.max_relative_difference < np.inf]
    if not near:
        return certificate
    error = measured()
    own = {name: certificate.thresholds[name] for name in near}
    wider = {name: replace(t, difference=max(t.difference or 0, min(FACTOR * error, MOST))) for name, t in own.items()}
    return replace(certificate, rounding=error, thresholds=certificate.thresholds | wider)
