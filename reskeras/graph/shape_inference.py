"""Infers the shapes of a graph's tensors, without building its layers."""
from __future__ import annotations

import contextlib
from typing import Any, Mapping, Sequence

import keras

from .keras_config import TensorRef, deserialize_arguments
from .node import Node

Shape = tuple[int | None, ...]      # with the batch; None for an open size

# Output shapes of layers by class, config and input shapes: nets repeat their blocks, every pass asks for the
# shapes again, and making layers takes time.  It is emptied when it is full.
_KNOWN_SHAPES: dict[Any, list[Shape]] = {}
_MAX_KNOWN_SHAPES = 20_000


def infer_shapes(nodes: Sequence[Node]) -> dict[TensorRef, Shape]:
    """Asks each layer for the shape of its output, from the inputs on.

    Args:
        nodes: the calls of a graph, in topological order.

    Returns:
        The shape of every tensor, except for tensors after a layer that cannot tell its output shape.
    """
    shapes: dict[TensorRef, Shape] = {}
    for node in nodes:
        if node.layer_class is keras.layers.InputLayer:
            shapes[node.output] = tuple(node.config["batch_shape"])
        elif all(ref in shapes for ref in node.inputs):
            outputs = _find_output_shapes(node, shapes)
            shapes.update(((*node.key, i), shape) for i, shape in enumerate(outputs))
    return shapes


def _find_output_shapes(node: Node, shapes: Mapping[TensorRef, Shape]) -> list[Shape]:
    """`_infer_output_shapes`, once for all layers of the same class, config and input shapes."""
    # other arguments of a call and a user's functions are not part of the config
    if node.kwargs or node.functions or not issubclass(node.layer_class, keras.layers.Layer):
        return _infer_output_shapes(node, shapes)

    key = node.layer_class, repr({**node.config, "name": ""}), tuple(shapes[ref] for ref in node.inputs)
    if key not in _KNOWN_SHAPES:
        if len(_KNOWN_SHAPES) >= _MAX_KNOWN_SHAPES:
            _KNOWN_SHAPES.clear()
        _KNOWN_SHAPES[key] = _infer_output_shapes(node, shapes)
    return _KNOWN_SHAPES[key]


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
