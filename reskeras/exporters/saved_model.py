"""TensorFlow's SavedModel: a folder that any TensorFlow program or server runs, without Keras."""
from __future__ import annotations

import pathlib

import keras
import numpy as np
import tensorflow as tf

from .certificate import Run

CONTENTS = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


def write(model: keras.Model, path: pathlib.Path, shape: tuple[int | None, ...]) -> None:
    """Writes `model` for inputs of `shape` (batch, height, width, channels); None stays open."""
    signature = tf.TensorSpec(shape, model.inputs[0].dtype, name="images")
    # not keras.export.ExportArchive, which stores every variable twice (Keras 3.15)
    module = tf.Module()
    module.variables_ = [v.value for v in model.variables]
    module.serve = tf.function(lambda images: model(images, training=False), input_signature=[signature], autograph=False)
    tf.saved_model.save(module, str(path), signatures={"serve": module.serve, "serving_default": module.serve})


def load(path: pathlib.Path) -> tuple[Run, tuple[int | None, ...]]:
    """The folder's function on a batch, and the shape that it takes."""
    serve = tf.saved_model.load(str(path)).signatures["serve"]
    (name, spec), = serve.structured_input_signature[1].items()

    def run(images: np.ndarray) -> np.ndarray:
        (output,) = serve(**{name: tf.constant(images, spec.dtype)}).values()
        return output.numpy()
    return run, tuple(spec.shape)
