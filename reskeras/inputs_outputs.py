"""From images to the input of a model, and from its scores to the names of classes."""
from __future__ import annotations

import os
from typing import Any, Sequence

import keras
import numpy as np

from .build import load
from .errors import ArgumentError
from .images.labels import decode_scores, list_label_sets
from .images.preprocessing import Preprocessing
from .model_metadata import EXAMPLE, ModelMetadata, get_metadata, resolve_preprocessing
from .weights.checkpoint import Checkpoint


def get_preprocessing(model: str | os.PathLike[str] | keras.Model | Checkpoint | Preprocessing,
                      test: bool = False) -> Preprocessing:
    """The function that prepares images (files, bytes, pixels) as a model's weights expect.

    Args:
        model: a model with metadata, a `.keras` file of one, a checkpoint, or its name
            ("resnet50v1_5.a1_in1k"; "resnet50v1_5" is the net's default checkpoint).
        test: whether to resize and crop as for the published accuracy, which may use a larger image.

    Returns:
        A `Preprocessing`: call it on images or in tf.data, or call its `as_layers()`.

    Raises:
        ValueError: if the model has no known preprocessing, or takes images of a size other than that of
            test=True.
        TypeError: for anything other than a model, a checkpoint or a name.

    Example:
        >>> model = reskeras.ResNet50D()
        >>> scores = model.predict(reskeras.get_preprocessing(model)(["cat.jpg"]))
    """
    if isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith(".keras"):
        model = load(model)
    if not isinstance(model, keras.Model):
        published = resolve_preprocessing(model, "model")
        return published.with_test_size() if test else published

    preprocessing = get_metadata(model).preprocessing
    if preprocessing is None:
        raise ValueError(f"{model.name} has no metadata of its preprocessing, and it cannot be guessed; give "
                         f"the name of a checkpoint, as in reskeras.get_preprocessing({EXAMPLE}), or call "
                         "reskeras.set_metadata(model, ...); keras.Model(net.inputs, net.outputs) does not "
                         "keep what the net knew: reskeras.set_metadata(model, net, "
                         "reskeras.get_metadata(net).labels) does")
    return preprocessing.for_input_shape(tuple(model.input_shape[1:]), test)


_KINDS = ("there are three kinds: BGR minus ImageNet's mean, reskeras.resnet50.preprocess_input(x), for "
          "ResNet50; from -1 to 1, reskeras.resnet_v2.preprocess_input(x), for ResNet50V2; and each color "
          f"minus its mean, divided by its deviation, reskeras.preprocess_input(x, {EXAMPLE}), for most nets "
          "of timm and torchvision")


def preprocess_input(x: Any, model: str | os.PathLike[str] | keras.Model | Checkpoint | Preprocessing | None
                     = None) -> Any:
    """Scales pixels as a model's weights expect, like the functions of that name in `keras.applications`.

    Those of one module of `keras.applications` are in the module of that name: `reskeras.resnet50`,
    `reskeras.resnet_v2` ...; they need no model.  The images must have the model's size
    already; `get_preprocessing` also reads files and resizes.

    Args:
        x: an RGB image (height, width, 3) or a batch of them, pixels in 0..255: an array or a tensor.  A
            model of gray images takes one channel.
        model: as in `get_preprocessing`.  It must be given, because nets differ in how they scale pixels.

    Returns:
        The scaled pixels in float32, of the same kind and shape as `x`; unscaled for a model that scales them
        itself.

    Raises:
        ArgumentError: without a model.
        ValueError: for a wrong number of channels, or if the model has no known preprocessing.

    Example:
        >>> scores = model.predict(reskeras.preprocess_input(images, model))
    """
    if model is None:
        raise ArgumentError("model", None, "the net or checkpoint that the pixels are for", hint=_KINDS)
    preprocessing = get_preprocessing(model)
    channels = len(preprocessing.mean)
    x = np.asarray(x, "float32") if isinstance(x, (np.ndarray, list)) else keras.ops.cast(x, "float32")
    if len(x.shape) not in (3, 4) or x.shape[-1] != channels:
        raise ValueError(f"x has the shape {tuple(x.shape)}: expected (height, width, {channels}) or a batch "
                         "of that")
    return preprocessing.normalize(x)


def decode_predictions(preds: Any, top: int = 5, labels: Any = None) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each sample, like the functions of that name in `keras.applications`.

    Args:
        preds: scores (samples, classes), as a classifier's `predict` gives them.
        top: how many classes to give for each sample.
        labels: the names of the classes: a label set ("imagenet-1k", "imagenet-12k", "imagenet-21k",
            "cifar10", "cifar100", "digits"), a list of names in the order of the classes, a checkpoint, or a
            model with metadata. May be left out for ImageNet's 1000, 11821 and 21843 classes (or 1001: a
            background class and the 1000).

    Returns:
        For each sample a list of (synset or index, name, score), the likeliest first.

    Raises:
        ValueError: for scores of a wrong shape, a wrong number of labels, or no labels if the number of
            classes is ambiguous.

    Example:
        >>> reskeras.decode_predictions(model.predict(images), top=1, labels=model)
        [[('n02123045', 'tabby', 0.83)]]
    """
    if labels is not None and not isinstance(labels, (str, list, tuple, np.ndarray)):
        labels = _labels_of(labels)
    return decode_scores(preds, top, labels)


def _labels_of(owner: Any) -> str | Sequence[str]:
    """The labels of a checkpoint, or of a model with metadata.  Raises: ValueError if it has none."""
    metadata = get_metadata(owner) if isinstance(owner, keras.Model) else owner
    labels = metadata.labels if isinstance(metadata, (ModelMetadata, Checkpoint)) else ()
    if not labels:
        raise ValueError(f"{getattr(owner, 'name', owner)} does not know the names of its classes; give "
                         "them in order as `labels`, or one of "
                         f"{', '.join(list_label_sets())}")
    return labels
