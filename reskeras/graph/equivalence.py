"""Are two graphs the same function?  Both are built in float64, where rounding cannot hide an error of algebra."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from .graph import Graph, call

LIMIT = 1e-9
SENSITIVE = 1e-10       # what noise in the last bit of the input may move the float64 output by
MOST = 1e-4             # what no net is allowed, however ill-conditioned: beyond, a proof would say nothing
COPY = 1e-3             # what the model and its own graph, built again, may differ by: the same operations on the same numbers
# An even and an odd size, large enough for Inception's valid convolutions
SIZES = (96, 99)


@dataclass(frozen=True)
class Proof:
    """The largest difference over the largest value, of both graphs in float64 and in float32.

    `sensitivity` is that of the first graph under noise in the last bit of its float64 input; None where nobody had to ask.
    """
    max_relative_difference: float
    float32_difference: float
    sensitivity: float | None = None

    @property
    def ill_conditioned(self) -> bool:
        """Whether the net itself moves so much under rounding that the limit says nothing of a pass."""
        return self.sensitivity is not None and self.sensitivity > SENSITIVE

    @property
    def holds(self) -> bool:
        """Of an ill-conditioned net: within a hundred times of what rounding does to it, as long as that is little itself."""
        allowed = LIMIT if not self.ill_conditioned else min(max(LIMIT, 100 * (self.sensitivity or 0)), MOST)
        return self.max_relative_difference <= allowed

    def __str__(self) -> str:
        text = f"{self.max_relative_difference:.1e} relative in float64 (allowed {LIMIT:.0e})"
        text += f", {self.float32_difference:.1e} in float32"
        if not self.ill_conditioned:
            return text
        return f"{text}; ill-conditioned: noise in the last bit of the input moves the net itself by {self.sensitivity:.1e}"


@dataclass(frozen=True)
class Reference:
    """A graph's outputs, run once and held against any number of others."""
    graph: Graph
    sizes: tuple[int, ...] = SIZES

    @cached_property
    def runs(self) -> dict[str, list[tuple[Any, list[np.ndarray]]]]:
        """dtype -> (inputs, outputs).  Raises: ValueError where these are not finite, and so equal nothing."""
        found = {}
        for dtype in ("float64", "float32"):
            model = logits(self.graph).build(dtype, scratch=True)
            found[dtype] = [(images, run(model, images)) for images in _random_inputs(model, self.sizes, dtype)]
        if not all(np.isfinite(y).all() for _, outputs in found["float64"] for y in outputs):
            raise ValueError(f"{self.graph.name}: its outputs for random inputs are not finite in float64")
        return found

    @cached_property
    def sensitivity(self) -> float:
        model, random = logits(self.graph).build("float64", scratch=True), np.random.default_rng(1)

        def noisy(images: np.ndarray) -> np.ndarray:
            return images * (1 + np.finfo("float64").eps * random.choice([-1.0, 1.0], images.shape))
        images, outputs = self.runs["float64"][0]
        return worst(run(model, keras.tree.map_structure(noisy, images)), outputs)

    def prove(self, after: Graph) -> Proof:
        """Of `after` against the graph."""
        difference = {}
        for dtype, runs in self.runs.items():
            model = logits(after).build(dtype, scratch=True)
            difference[dtype] = max(worst(run(model, images), outputs) for images, outputs in runs)
        proof = Proof(difference["float64"], difference["float32"])
        return proof if proof.holds else replace(proof, sensitivity=self.sensitivity)


def copied(model: keras.Model, graph: Graph, sizes: tuple[int, ...] = SIZES) -> None:
    """Raises: ValueError where the graph read from a model does not compute what the model does, so that no proof helps."""
    copy = graph.build(scratch=True)
    images = _random_inputs(copy, sizes[:1], "float32")[0]
    for own, made in zip(run(model, images), run(copy, images), strict=True):
        size = np.abs(own[np.isfinite(own)]).max(initial=0)     # of what did not overflow in its own dtype
        if not np.allclose(made, own, rtol=0, atol=COPY * size, equal_nan=True):
            raise ValueError(f"{model.name}: its layers, made again from their configs and weights, compute something else; "
                             "one has a state of its own, or draws at random")


def prove(before: Graph, after: Graph, sizes: tuple[int, ...] = SIZES) -> Proof:
    """Runs both graphs on random images, of two sizes (even and odd) where the input leaves its size open, else at its own.

    Without their last softmax or sigmoid: a saturated one would agree with anything.
    """
    return Reference(sized(before, after), sizes).prove(after)


def sized(before: Graph, after: Graph) -> Graph:
    """`before` on the inputs of `after`, whose sizes a pass may have fixed."""
    inputs = {node.key: (node,) for node in after.nodes if "batch_shape" in node.config}
    return before.edit(inputs, {})


def logits(graph: Graph) -> Graph:
    for node in graph.nodes:
        if graph.is_output(node) and node.config.get("activation") in ("softmax", "sigmoid"):
            graph = graph.edit({node.key: (node.of(activation="linear"),)}, {})
        elif graph.is_output(node) and node.word == "Softmax":
            same = replace(call(keras.layers.Identity, node.name, node.inputs[:1], node), call=node.call)
            graph = graph.edit({node.key: (same,)}, {})
    return graph


def run(model: keras.Model, images: Any) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(y)) for y in keras.tree.flatten(model(images, training=False))]


def _random_inputs(model: keras.Model, sizes: tuple[int, ...], dtype: str) -> list[Any]:
    """Inputs for `model(inputs)`, in its own structure; their order of magnitude is that of normalized images.

    Raises: ValueError for an input of words.
    """
    open_size = any(s is None for tensor in model.inputs for s in tensor.shape[1:])
    random = np.random.default_rng(0)

    def values(tensor: keras.KerasTensor, size: int) -> np.ndarray:
        shape = (tensor.shape[0] or 2, *(size if s is None else s for s in tensor.shape[1:]))
        if tensor.dtype == "string":
            raise ValueError(f"{model.name}: no proof with an input of strings ({tensor.name}); give proof=False")
        if "float" not in tensor.dtype:
            return random.integers(0, 2, shape).astype(tensor.dtype)
        return random.standard_normal(shape).astype(dtype)
    return [keras.tree.map_structure(lambda tensor: values(tensor, size), model.input)
            for size in (sizes if open_size else sizes[:1])]


def worst(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(relative(a, b) for a, b in zip(expected, found, strict=True))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest value of `a`; infinity where either is not finite, or the shapes differ."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), np.finfo("float64").tiny))
