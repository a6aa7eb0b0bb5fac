"""Keras' own file."""
from __future__ import annotations

import importlib.metadata
import pathlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .report import Run

if TYPE_CHECKING:
    import keras

    from .formats import Shape
    from .options import Job

RUNTIMES: dict[str, dict[str, str]] = {"Keras": {}}


def write(model: keras.Model, path: pathlib.Path, job: Job) -> None:
    """The net alone, without optimizer, losses or metrics."""
    from ..graph.graph import deep
    with deep():
        net = model.__class__.from_config(model.get_config())
        net.set_weights(model.get_weights())
        net.save(path)


def load(path: pathlib.Path, threads: int = 1) -> tuple[Run, Shape]:
    """The net as a TensorFlow graph, and the shape that it takes."""
    from ..build import load as load_keras
    net = load_keras(path)
    return keras_run(net), tuple(net.input_shape)


def keras_run(net: keras.Model) -> Run:
    """The net as a TensorFlow graph, from array to array."""
    import tensorflow as tf
    signature = tf.TensorSpec(net.input_shape, net.inputs[0].dtype)
    function = tf.function(lambda images: net(images, training=False), input_signature=[signature], autograph=False)
    return lambda images: np.asarray(function(tf.constant(images, signature.dtype)))


def faults(path: pathlib.Path, job: Job) -> list[str]:
    return []


def operators(path: pathlib.Path) -> dict[str, int]:
    """Layers by class."""
    from ..build import load as load_keras
    return dict(Counter(type(layer).__name__ for layer in load_keras(path).layers).most_common())


def version() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
