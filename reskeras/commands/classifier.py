"""A classifier as a function of images: of a name, a `.keras` file, an exported file or a model."""
from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from ..errors import ArgumentError
from ..exporters.exported_metadata import read_exported_metadata
from ..exporters.formats import open_file
from ..exporters.keras_file import make_array_function
from ..file_reading import read_bytes
from ..model_metadata import ModelMetadata, get_metadata
from .open_model import EXPORTED_FILES, ModelName, check_trained_model, open_trained_model

if TYPE_CHECKING:
    import keras

    from ..images.preprocessing import Preprocessing


ADVICE_FOR_ONE_OUTPUT = (
    "; if it is the score of the second of two classes, or a number that the net predicts, say so with "
    "reskeras.set_metadata(model, task='binary') or task='regression'")


@dataclass(frozen=True)
class Classifier:
    """A net as a function of prepared images, and what is known about it."""

    name: str
    run: Callable[[np.ndarray], np.ndarray]     # (N, height, width, channels) -> (N, classes)
    shape: tuple[int | None, ...]               # (height, width, channels)
    metadata: ModelMetadata
    has_logits: bool | None = None              # whether it ends in no activation; None if that is not known


def open_classifier(model: ModelName | keras.Model, any_size: bool = False,
                    trust: bool = False) -> Classifier:
    """Opens a classifier of images.

    Args:
        model: as in `reskeras.predict`.
        any_size: whether a net that is given by its name is built for images of any size.
        trust: whether a SavedModel, which is a program, may run.

    Raises:
        ArgumentError: for a SavedModel if `trust` is not True, and for a model of several inputs or outputs,
            of a fixed number of images, or without a graph of layers.
        ValueError: for an unknown or unreadable model, or one that takes no images.
        FileNotFoundError: if there is no such file.
    """
    check_trained_model(model)
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else model.name
    run: Callable[[np.ndarray], np.ndarray]
    if isinstance(model, (str, os.PathLike)) and _is_exported(name):
        file, has_logits = pathlib.Path(name), None
        run = runtime = open_file(file, trust=trust)
        shape, metadata = runtime.shape, read_exported_metadata(file)
    else:
        # here: it imports Keras, without which exported files run
        from ..graph.model_requirements import check_image_model
        from ..train.classifier import find_final_activation

        net: Any = open_trained_model(model, any_size)
        check_image_model(net)
        if net.inputs[0].shape[0] is not None:
            raise ArgumentError("model", name, "a model of any number of images", hint=(
                f"it takes {net.inputs[0].shape[0]} at a time; build it with keras.Input(shape) instead of "
                "batch_shape, and set its weights with set_weights"))
        run, shape, metadata = make_array_function(net), net.input_shape, get_metadata(net)
        has_logits = find_final_activation(net) == "linear" if getattr(net, "layers", None) else None
    if len(shape) != 4 or not shape[3]:
        raise ValueError(f"{name}: its input has the shape {tuple(shape[1:])}; expected images (height, "
                         "width, channels)")
    return Classifier(name, run, tuple(shape[1:]), metadata, has_logits)


def _is_exported(name: str) -> bool:
    """Whether `name` is an exported file or a SavedModel folder."""
    return name.endswith(EXPORTED_FILES) or os.path.isdir(name)


def prepare_image(path: ModelName, prepare: Preprocessing) -> np.ndarray:
    """An image file as the net takes it, (1, height, width, channels).

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for a file that is not an image, or for which there is not enough memory.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise OSError((error.strerror or "cannot be read").lower()) from error
    except ValueError as error:     # a folder, a pipe ...; who catches it names the file
        raise ValueError(str(error).removeprefix(f"{os.fspath(path)} ")) from error
    image: np.ndarray = prepare(data)
    return image


def scale_scores(net: Classifier, scores: np.ndarray) -> np.ndarray:
    """What a net returns, as what it has learned: probabilities of classes or labels, or numbers.

    Args:
        net: the net.
        scores: (..., outputs), as the net returns them.

    Returns:
        Probabilities over the classes for one class per image, see `_normalize_scores`; a probability for
        each label, or for the second of two classes; numbers as they are.

    Raises:
        FloatingPointError: if they are NaN or infinite.
    """
    task = net.metadata.task
    if not task:
        return _normalize_scores(scores, net.name)
    _check_finite(scores, net.name)
    has_logits = net.has_logits
    if has_logits is None:      # of an exported file: those of a sigmoid are probabilities
        has_logits = not _are_probabilities(scores)
    if task == "regression" or not has_logits:
        return scores
    with np.errstate(over="ignore"):
        probabilities: np.ndarray = 1 / (1 + np.exp(-scores.astype("float64")))
    return probabilities


def to_scores(net: Classifier, scores: np.ndarray) -> np.ndarray:
    """What a net returns for one image, (outputs,), as `scale_scores` has it.

    Raises:
        ValueError: if a classifier does not return one number per class.
        FloatingPointError: as `scale_scores`.
    """
    if not net.metadata.task:
        return to_probabilities(scores, net.name)
    if scores.ndim != 1:
        raise ValueError(f"{net.name}: for an image it returns {scores.shape}; expected one number for each "
                         "label")
    return scale_scores(net, scores)


def to_probabilities(scores: np.ndarray, name: str) -> np.ndarray:
    """The probabilities of the classes of one image, see `_normalize_scores`.

    Args:
        scores: (classes,), as the net returns them.
        name: name of the net, for an error.

    Raises:
        ValueError: if they are not one number per class.
        FloatingPointError: as `_normalize_scores`.
    """
    if scores.ndim != 1:
        raise ValueError(f"{name}: for an image it returns {scores.shape}; a classifier returns one number "
                         f"per class")
    if len(scores) < 2:
        raise ValueError(f"{name}: for an image it returns one number; a classifier returns one number per "
                         f"class{ADVICE_FOR_ONE_OUTPUT}")
    return _normalize_scores(scores, name)


def _normalize_scores(scores: np.ndarray, name: str) -> np.ndarray:
    """Scores over the last axis as probabilities: themselves if they are that, otherwise their softmax.

    Args:
        scores: (..., classes), as the net returns them.
        name: name of the net, for an error.

    Raises:
        FloatingPointError: if they are NaN or infinite, so that they say nothing.
    """
    with np.errstate(invalid="ignore"):
        probabilities = scores if _are_probabilities(scores) else softmax(scores)
    _check_finite(probabilities, name)
    return probabilities


def _check_finite(scores: np.ndarray, name: str) -> None:
    if not np.isfinite(scores).all():
        raise FloatingPointError(f"{name}: for an image it returns scores that are NaN or infinite; its "
                                 "weights are damaged, or its training did not converge")


def _are_probabilities(scores: np.ndarray) -> bool:
    """Whether scores come from a softmax or a sigmoid; those of eight bits do not sum to 1 exactly."""
    return bool(scores.min() >= 0 and scores.max() <= 1)


def softmax(scores: np.ndarray) -> np.ndarray:
    """The softmax over the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return probabilities
