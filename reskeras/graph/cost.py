"""Parameters and multiply-accumulates of any functional Keras model."""
from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from .graph import Graph, Ref, functional


@dataclass(frozen=True)
class Cost:
    """What a net costs: `params` trainable and `stats` other numbers; `macs` for one image.

    One MAC is one multiplication with its addition, in convolutions and dense layers alone (biases, normalization,
    activations, pooling and element-wise products are not counted), as the papers and timm count.  FLOPs are twice that.
    """
    params: int
    stats: int
    macs: int


def cost(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> Cost:
    """Parameters and MACs of `model` for one image.

    Arguments:
        model: a functional or sequential model of one input.
        input_shape: (height, width, channels), where the model leaves them open.
    Raises: ValueError where a size is missing, or where the model has no graph.
    """
    graph, known = Graph.of(model, weights=False), {layer.name: layer for layer in functional(model).layers}
    shapes: dict[Ref, tuple[int, ...]] = {}
    macs = 0
    for node in graph.nodes:
        layer = known[node.name]
        if isinstance(layer, layers.InputLayer):
            given = tuple(input_shape) if input_shape else tuple(layer.batch_shape[1:])
            if None in given:
                raise ValueError(f"{model.name}: the input is {given}; give input_shape=(height, width, channels)")
            outputs = [(1, *given)]
        else:
            inputs = [shapes[ref] for ref in node.inputs]
            out = layer.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
            outputs = [tuple(o) for o in out] if isinstance(out[0], (list, tuple)) else [tuple(out)]
            macs += layer_macs(layer, inputs[0], outputs[0])
        shapes.update({(node.name, node.call, i): shape for i, shape in enumerate(outputs)})
    return Cost(numbers(model.trainable_variables), numbers(model.non_trainable_variables), macs)


def layer_macs(layer: keras.layers.Layer, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    if isinstance(layer, keras.Model):
        return cost(layer, before[1:]).macs
    if isinstance(layer, layers.Dense):
        return math.prod(before[1:]) * after[-1]
    kernel = getattr(layer, "kernel", None)
    if kernel is None or not hasattr(layer, "strides"):
        return 0
    # a transposed convolution spends its kernel once per input cell, the others once per output cell
    cells = before if isinstance(layer, (layers.Conv1DTranspose, layers.Conv2DTranspose)) else after
    return math.prod(kernel.shape) * math.prod(cells[1:-1])


def numbers(variables: list[keras.Variable]) -> int:
    """How many numbers in all; the state of a random generator is not the net's."""
    return sum(math.prod(v.shape) for v in variables if "seed_generator" not in v.path)
