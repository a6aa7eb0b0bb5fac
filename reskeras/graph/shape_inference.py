"""Infers the shapes of a graph's tensors, without building its layers."""
from __future__ import annotations

import contextlib
from typing import Any, Mapping, Sequence

import keras

from .keras_config import TensorRef, deserialize_arguments
from .node import Node

Shape = tuple[int | None, ...]      # with the batch; None for an open size


def infer_shapes(nodes: Sequence[Node]) -> dict[TensorRef, Shape]:
    """Asks each layer for the shape of its output, from the inputs on.

    Args:
        nodes: the calls of a graph, in topological order.

    Returns:
        The shape of every tensor, except for tensors after a layer that cannot tell its output shape.
    """
    shapes: dict[TensorRef, Shape] = {}
    # deep nets repeat one block, and making its layers takes time
    cache: dict[Any, list[Shape]] = {}
    for node in nodes:
        if node.layer_class is keras.layers.InputLayer:
            shapes[node.output] = tuple(node.config["batch_shape"])
        elif all(ref in shapes for ref in node.inputs):
            key: Any = node.key
            if issubclass(node.layer_class, keras.layers.Layer) and not node.kwargs:
                config = repr({**node.config, "name": ""})
                key = node.layer_class, config, tuple(shapes[ref] for ref in node.inputs)
            if key not in cache:
                cache[key] = _infer_output_shapes(node, shapes)
            shapes.update(((*node.key, i), shape) for i, shape in enumerate(cache[key]))
    return shapes


def _infer_output_shapes(node: Node, shapes: Mapping[TensorRef, Shape]) -> list[Shape]:
    """The shapes of a node's outputs; [] if the layer cannot tell them before it is built or called."""
    layer = node.make_layer()
    inputs = [shapes[ref] for ref in node.inputs]
    with contextlib.suppress(Exception):
        output = layer.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
        return [tuple(shape) for shape in (output if isinstance(output[0], (list, tuple)) else [output])]
    with contextlib.suppress(Exception):    # bare operations, and layers whose shape only a call tells
        args, kwargs = deserialize_arguments([node.args, node.kwargs],
                                             lambda ref: keras.KerasTensor(shapes[ref]))
        return [tuple(spec.shape) for spec in keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))]
    return []
