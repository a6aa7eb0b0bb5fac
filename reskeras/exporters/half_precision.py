"""A model in half precision: its weights and arithmetic, but for the last softmax or sigmoid.

The smallest number of float16 is 6e-8, and bfloat16 has three digits: a probability would lose most of them.
"""
from __future__ import annotations

import keras

from ..graph.equivalence import remove_final_activation
from ..graph.graph import Graph


def to_half_precision(model: keras.Model, dtype: str) -> keras.Model:
    """A new model with weights of a half type.  What a last softmax or sigmoid returns is of float32.

    Args:
        model: a functional model of one output.
        dtype: "float16" or "bfloat16".
    """
    graph, last = Graph.of(model), model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        finish = keras.layers.Softmax(last.axis, dtype="float32", name=f"{last.name}_float32")
    elif getattr(last, "activation", None) in (keras.activations.softmax, keras.activations.sigmoid):
        finish = keras.layers.Activation(last.activation, dtype="float32", name=f"{last.name}_float32")
    else:
        return graph.build(dtype)
    half = remove_final_activation(graph).build(dtype)
    return graph.model_class(half.inputs, finish(half.output), name=graph.name, **graph.model_config)
