"""The model of a training with `quantize`: fake-quantized, with ranges from some training images."""
from __future__ import annotations

import dataclasses

import keras
import numpy as np

from ..model_metadata import get_metadata
from ..model_with_metadata import inline_with_metadata
from ..quantization.calibration import MAX_IMAGES, pick_evenly
from ..quantization.model import is_quantization_aware, quantize_with_images
from .data import ImageDataset
from .source import DataSource

_BATCH_SIZE = 32


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
    """Some of the images as the model takes them, without augmentation; the first ones of a stream."""
    preprocessing = get_metadata(model).get_preprocessing(tuple(model.input_shape[1:]), model.name)
    if images.stream is None:
        chosen = np.array(pick_evenly(list(range(len(images))), MAX_IMAGES))
        pixels = [images.images[i] for i in chosen] if images.has_files else images.images[chosen]
        weights = None if images.weights is None else images.weights[chosen]
        images = dataclasses.replace(images, images=pixels, labels=images.labels[chosen], weights=weights)
    data = ImageDataset(images, _BATCH_SIZE, prepare=preprocessing).make_epoch()
    batches = data.take(MAX_IMAGES // _BATCH_SIZE)
    return np.concatenate([batch[0] for batch in batches.as_numpy_iterator()])
