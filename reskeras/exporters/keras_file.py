"""Keras' own file, and a model in Keras as a function of arrays."""
from __future__ import annotations

import importlib.metadata
import pathlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .measurements import ArrayFunction
from .options import ExportOptions, Shape

if TYPE_CHECKING:
    import keras

RUNTIMES: dict[str, dict[str, str]] = {"Keras": {}}
PRECISIONS: dict[str, str] = {}


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes only the model, without optimizer, losses or metrics."""
    from ..graph.graph import high_recursion_limit
    with high_recursion_limit():
        bare = model.__class__.from_config(model.get_config())
        bare.set_weights(model.get_weights())
        bare.save(path)


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """Opens a file: the model as a TensorFlow graph, and its input shape.  `threads` are TensorFlow's own."""
    from ..build import load as load_keras
    from ..graph.model_requirements import check_input_and_output
    model = load_keras(path)
    check_input_and_output(model)
    return make_array_function(model), tuple(model.input_shape)


def make_array_function(model: keras.Model) -> ArrayFunction:
    """The model for inference, a function from array to array: a TensorFlow graph, or compiled by JAX."""
    import keras
    if keras.config.backend() != "tensorflow":
        return lambda images: np.asarray(model.predict_on_batch(images))
    import tensorflow as tf
    signature = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
    function = tf.function(lambda images: model(images, training=False), input_signature=[signature],
                           autograph=False)
    # Where `function` itself is called, TensorFlow warns of retracing once this was done for five models.
    compute = function.get_concrete_function()

    def run(images: np.ndarray, kept: keras.Model = model) -> np.ndarray:   # has the variables of `compute`
        return np.asarray(compute(tf.constant(images, signature.dtype)))
    return run


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Finds nothing: Keras itself reads the file when it is compared."""
    return []


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Class -> how many layers of it the model has, the most frequent first."""
    from ..build import load as load_keras
    return dict(Counter(type(layer).__name__ for layer in load_keras(path).layers).most_common())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: Keras has no delegates."""
    return {}


def get_versions() -> dict[str, str]:
    """Packages -> versions, of those that write and run the file."""
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
