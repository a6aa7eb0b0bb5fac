"""The model of a training with `quantize`: fake-quantized, with ranges from some training images."""
from __future__ import annotations

import contextlib

import keras
import numpy as np

from ..model_metadata import get_metadata
from ..model_with_metadata import inline_with_metadata
from ..quantization.calibration import MAX_IMAGES, pick_evenly
from ..quantization.model import is_quantization_aware, quantize_with_images
from .source import DataSource


def quantize_model(model: keras.Model, quantize: str | None, images: DataSource) -> keras.Model:
    """The model that is trained: with fake quantization, if it is asked for and not there yet.

    Args:
        model: the model, with its preprocessing.
        quantize: None or "int8".
        images: the training images; the ranges are chosen from some of them.
    """
    if quantize is None or is_quantization_aware(model):
        return model
    model = inline_with_metadata(model)
    return quantize_with_images(model, _read_images(model, images))


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
