"""The model of a training with `quantize`: fake-quantized, with ranges from some training images."""
from __future__ import annotations

import contextlib
import warnings
from typing import Any

import keras
import numpy as np

from ..model_metadata import get_metadata
from ..model_with_metadata import inline_with_metadata
from ..quantization.calibration import MAX_IMAGES, pick_evenly
from ..quantization.model import is_quantization_aware, quantize_with_images
from .learning_rate import scale_learning_rate
from .recipe import Recipe
from .source import DataSource

# with which a trained net goes on: ten times that of the recipe int8
_HIGHEST_RATE = 1e-4


def find_quantization(model: Any, quantize: str | None) -> str | None:
    """What a model is trained for: the argument `quantize`, or "int8" if it is fake-quantized already."""
    return "int8" if isinstance(model, keras.Model) and is_quantization_aware(model) else quantize


def quantize_model(model: keras.Model, quantize: str | None, images: DataSource,
                   recipe: Recipe) -> keras.Model:
    """The model that is trained: with fake quantization, if it is asked for and not there yet.

    Warns of what does not suit a training for int8: a net that is not trained yet, or a recipe for one.

    Args:
        model: the model, with its preprocessing.
        quantize: None or "int8".
        images: the training images; the ranges are chosen from some of them.
        recipe: the recipe of the training.
    """
    if find_quantization(model, quantize) is None:
        return model
    warning = _describe_untrained(model) or _describe_unsuited(recipe)
    if warning:
        warnings.warn(warning, stacklevel=2)
    if is_quantization_aware(model):
        return model
    model = inline_with_metadata(model)
    return quantize_with_images(model, _read_images(model, images))


def _describe_untrained(model: keras.Model) -> str:
    """A sentence about a classifier whose biases are 0, as they begin; "" for others."""
    head = next((layer for layer in reversed(model.layers) if layer.weights), None)
    bias = getattr(head, "bias", None)
    if bias is None or np.any(keras.ops.convert_to_numpy(bias)):
        return ""
    return (f"the classifier of {model.name} is not trained yet, and training for int8 is too short to begin "
            "it: train the net in floats first, and then that net with quantize='int8', best with itself as "
            "the teacher")


def _describe_unsuited(recipe: Recipe) -> str:
    """A sentence about a recipe whose own values are for a net that is not trained; "" if it suits."""
    training, sources = recipe.training, recipe.sources
    is_own = {name for name in ("head_epochs", "learning_rate") if sources.get(name, "given") != "given"}
    if training.head_epochs and "head_epochs" in is_own:
        problem = (f"it trains the classifier alone first, with a rate of {training.head_learning_rate:g}",
                   "head_epochs=0")
    elif "learning_rate" in is_own and scale_learning_rate(training).value > _HIGHEST_RATE:
        problem = (f"its learning rate is {scale_learning_rate(training).value:g}, for weights that are not "
                   "trained", "learning_rate")
    else:
        return ""
    return (f"the recipe {recipe.name} does not suit training for int8: {problem[0]}; take the recipe 'int8' "
            f"(the default with quantize), or give {problem[1]}")


def _read_images(model: keras.Model, images: DataSource) -> np.ndarray:
    """Some of the images as the model takes them, without augmentation; the first ones of a stream.

    Files that cannot be read are left out here; the training counts them.
    """
    preprocessing = get_metadata(model).get_preprocessing(tuple(model.input_shape[1:]), model.name)
    if images.stream is not None:
        chosen = [image for image, *_ in images.stream().take(MAX_IMAGES).as_numpy_iterator()]
    else:
        indices = pick_evenly(list(range(len(images))), MAX_IMAGES)
        chosen = [images.images[i] for i in indices]
    prepared = []
    for image in chosen:
        with contextlib.suppress(OSError, ValueError):
            prepared.append(preprocessing(image[None] if isinstance(image, np.ndarray) else image))
    if not prepared:
        raise ValueError(f"none of {len(chosen)} images of {images.name} can be read")
    return np.concatenate([np.asarray(image) for image in prepared])
