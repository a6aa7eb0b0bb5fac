"""Are two graphs the same function?  Both are built in float64, where rounding cannot hide an error of algebra."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from .graph import Graph

LIMIT = 1e-9


@dataclass(frozen=True)
class Proof:
    """The largest difference over the largest value, of both graphs in float64 and in the model's own dtype."""
    max_relative_difference: float
    float32_difference: float

    @property
    def holds(self) -> bool:
        return self.max_relative_difference <= LIMIT


def prove(before: Graph, after: Graph, sizes: tuple[int, ...] = (64, 67)) -> Proof:
    """Runs both graphs on random images, of two sizes (even and odd) where the input leaves its size open.

    Without their last softmax or sigmoid: a saturated one would agree with anything.
    """
    worst = {"float64": 0.0, "float32": 0.0}
    for dtype in worst:
        models = [logits(graph).build(dtype) for graph in (before, after)]
        for images in random_inputs(models[0], sizes, dtype):
            a, b = ([np.asarray(y) for y in keras.tree.flatten(m(images, training=False))] for m in models)
            worst[dtype] = max([worst[dtype], *(relative(x, y) for x, y in zip(a, b))])
    return Proof(worst["float64"], worst["float32"])


def logits(graph: Graph) -> Graph:
    for node in graph.nodes:
        if graph.is_output(node) and node.config.get("activation") in ("softmax", "sigmoid"):
            graph = graph.swap(node, replace(node, config={**node.config, "activation": "linear"}))
    return graph


def random_inputs(model: keras.Model, sizes: tuple[int, ...], dtype: str) -> list[Any]:
    """Images for `model(images)`; their order of magnitude is that of normalized ones."""
    open_size = any(s is None for tensor in model.inputs for s in tensor.shape[1:])
    random = np.random.default_rng(0)
    runs = [[random.standard_normal((2, *(size if s is None else s for s in tensor.shape[1:]))).astype(dtype)
             for tensor in model.inputs] for size in (sizes if open_size else sizes[:1])]
    return [images if len(images) > 1 else images[0] for images in runs]


def relative(a: np.ndarray, b: np.ndarray) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(a.dtype).tiny))
