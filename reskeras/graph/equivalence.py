"""Checks whether two graphs compute the same: both are built in float64 and run.

In float64 rounding cannot hide an error of algebra.
"""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from .._keras_private import compute_in_float64
from .graph import Graph
from .node import make_node
from .passes.inline import inline

# The allowed difference, relative to the largest output
TOLERANCE = 1e-9
# A net is ill-conditioned if noise in the last bit of its input moves its float64 output by more than this
SENSITIVITY_LIMIT = 1e-10
# The largest tolerance for an ill-conditioned net: with a larger one, a check would prove nothing
MAX_TOLERANCE = 1e-4
# Tolerance between the model and its graph, built again: the same operations on the same numbers
COPY_TOLERANCE = 1e-3
# An even and an odd size, large enough for Inception's valid convolutions
IMAGE_SIZES = (96, 99)


@dataclass(frozen=True)
class EquivalenceCheck:
    """The result of a comparison of two graphs on random inputs.

    Args:
        max_relative_difference: the largest difference in float64, divided by the largest output.
        float32_difference: the same in float32.
        sensitivity: how far noise in the last bit of its float64 input moves the first graph's own output,
            relative to the largest; None if the comparison passed without it.
    """

    max_relative_difference: float
    float32_difference: float
    sensitivity: float | None = None

    @property
    def is_ill_conditioned(self) -> bool:
        """Whether rounding changes the net so much that `TOLERANCE` says nothing about a pass."""
        return self.sensitivity is not None and self.sensitivity > SENSITIVITY_LIMIT

    @property
    def allowed(self) -> float:
        """The largest `max_relative_difference` that passes.

        For an ill-conditioned net it is a hundred times its `sensitivity`, but at most MAX_TOLERANCE.
        """
        if not self.is_ill_conditioned:
            return TOLERANCE
        return min(max(TOLERANCE, 100 * (self.sensitivity or 0)), MAX_TOLERANCE)

    @property
    def passed(self) -> bool:
        """Whether the graphs are taken as equal."""
        return self.max_relative_difference <= self.allowed

    def __str__(self) -> str:
        text = f"{self.max_relative_difference:.1e} relative in float64 (allowed {self.allowed:.0e})"
        text += f", {self.float32_difference:.1e} in float32"
        if not self.is_ill_conditioned:
            return text
        return (f"{text}; ill-conditioned: noise in the last bit of the input moves the net itself by "
                f"{self.sensitivity:.1e}")


@dataclass(frozen=True)
class EquivalenceChecker:
    """A graph whose outputs are computed once and compared with those of any number of others.

    Args:
        graph: the graph to compare with.
        sizes: sizes of the images, in pixels, if the graph leaves them open; otherwise they are ignored.
    """

    graph: Graph
    sizes: tuple[int, ...] = IMAGE_SIZES

    @cached_property
    def reference_runs(self) -> dict[str, list[tuple[Any, list[np.ndarray]]]]:
        """dtype -> (inputs, outputs) of each size.

        Raises:
            ValueError: if the outputs are not finite, and so cannot be compared.
        """
        runs = {}
        for dtype in ("float64", "float32"):
            with _compute_in(dtype):
                model = remove_final_activation(self.graph).build(dtype, temporary=True)
                inputs = _make_random_inputs(model, self.sizes, dtype)
                runs[dtype] = [(images, _run(model, images)) for images in inputs]
        if not all(np.isfinite(y).all() for _, outputs in runs["float64"] for y in outputs):
            raise ValueError(f"{self.graph.name}: its outputs for random inputs are not finite in float64")
        return runs

    def run_reference(self) -> None:
        """Runs the graph, so that its errors come before a `check`.

        Raises:
            ValueError: as for `reference_runs`.
        """
        _ = self.reference_runs

    @cached_property
    def sensitivity(self) -> float:
        """How far noise in the last bit of the float64 input moves the output, relative to the largest."""
        random = np.random.default_rng(1)

        def add_noise(images: np.ndarray) -> np.ndarray:
            return images * (1 + np.finfo("float64").eps * random.choice([-1.0, 1.0], images.shape))
        images, outputs = self.reference_runs["float64"][0]
        with _compute_in("float64"):
            model = remove_final_activation(self.graph).build("float64", temporary=True)
            return _max_difference(_run(model, keras.tree.map_structure(add_noise, images)), outputs)

    def check(self, after: Graph) -> EquivalenceCheck:
        """Compares `after` with the graph."""
        difference = {}
        for dtype, runs in self.reference_runs.items():
            with _compute_in(dtype):
                model = remove_final_activation(after).build(dtype, temporary=True)
                difference[dtype] = max(_max_difference(_run(model, images), outputs)
                                        for images, outputs in runs)
        result = EquivalenceCheck(difference["float64"], difference["float32"])
        return result if result.passed else replace(result, sensitivity=self.sensitivity)


def check_equivalence(before: Graph, after: Graph, sizes: tuple[int, ...] = IMAGE_SIZES) -> EquivalenceCheck:
    """Runs two graphs on random images and compares their outputs.

    The last softmax or sigmoid is left out: a saturated one would agree with anything.

    Args:
        before: a graph.
        after: a graph that should compute the same.
        sizes: sizes of the images, in pixels, an even and an odd one, if the input leaves its size open.

    Returns:
        The largest differences, and whether they pass.

    Raises:
        ValueError: if the outputs are not finite, or an input is of strings.
    """
    return EquivalenceChecker(fix_input_sizes(before, after), sizes).check(after)


def check_copy(model: keras.Model, graph: Graph, sizes: tuple[int, ...] = IMAGE_SIZES) -> None:
    """Checks that a graph computes the same as the model that it was read from.

    Args:
        model: a functional model.
        graph: `Graph.of(model)`.
        sizes: sizes of the images, in pixels; the first one is used.

    Raises:
        ValueError: if it computes something else; a comparison of graphs would then say nothing about the
            model.
    """
    copy = graph.build(temporary=True)
    images = _make_random_inputs(copy, sizes[:1], "float32")[0]
    for expected, output in zip(_run(model, images), _run(copy, images), strict=True):
        # the largest value that did not overflow in its dtype
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        if not np.allclose(output, expected, rtol=0, atol=COPY_TOLERANCE * largest, equal_nan=True):
            raise ValueError(f"{model.name}: its layers, made again from their configs and weights, compute "
                             "something else; one has a state of its own, or draws at random")


def fix_input_sizes(before: Graph, after: Graph) -> Graph:
    """Returns `before` with the inputs of `after`, whose sizes a pass may have fixed."""
    inputs = {node.key: (node,) for node in after.nodes if "batch_shape" in node.config}
    return before.edit(inputs, {})


def remove_final_activation(graph: Graph) -> Graph:
    """The graph without the softmax or sigmoid of its outputs, so that it gives logits.

    A nested model that makes an output is replaced by its layers.
    """
    if any(graph.is_output(node) and issubclass(node.layer_class, keras.Model) for node in graph.nodes):
        graph = inline(graph, keeps_output_names=False).graph
    for node in graph.nodes:
        if graph.is_output(node) and node.config.get("activation") in ("softmax", "sigmoid"):
            graph = graph.edit({node.key: (node.with_config(activation="linear"),)}, {})
        elif graph.is_output(node) and node.type_name == "Softmax":
            identity = make_node(keras.layers.Identity, node.name, node.inputs[:1], node)
            graph = graph.edit({node.key: (replace(identity, call_index=node.call_index),)}, {})
    return graph


def _compute_in(dtype: str) -> contextlib.AbstractContextManager[None]:
    return compute_in_float64() if dtype == "float64" else contextlib.nullcontext()


def _run(model: keras.Model, images: Any) -> list[np.ndarray]:
    outputs = keras.tree.flatten(model(images, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(output)) for output in outputs]


def _make_random_inputs(model: keras.Model, sizes: tuple[int, ...], dtype: str) -> list[Any]:
    """Makes inputs for `model(inputs)`, nested as it needs; the values are in the range of normalized images.

    Raises:
        ValueError: for an input of strings.
    """
    has_open_size = any(s is None for tensor in model.inputs for s in tensor.shape[1:])
    random = np.random.default_rng(0)

    def draw(tensor: keras.KerasTensor, size: int) -> np.ndarray:
        shape = (tensor.shape[0] or 2, *(size if s is None else s for s in tensor.shape[1:]))
        if tensor.dtype == "string":
            raise ValueError(f"{model.name}: models with an input of strings ({tensor.name}) cannot be "
                             "compared; give check=False")
        if "float" not in tensor.dtype:
            return random.integers(0, 2, shape).astype(tensor.dtype)
        return random.standard_normal(shape).astype(dtype)
    return [keras.tree.map_structure(lambda tensor: draw(tensor, size), model.input)
            for size in (sizes if has_open_size else sizes[:1])]


def _max_difference(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(_relative_difference(a, b) for a, b in zip(expected, outputs, strict=True))


def _relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, divided by the largest value of `a`; infinity if they cannot be compared."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), np.finfo("float64").tiny))
