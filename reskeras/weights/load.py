"""`weights=`: a path, or a published checkpoint, into the variables of a net."""
from __future__ import annotations

import logging
import os
import sys
import warnings as python_warnings

import keras
import numpy as np

from .convert import Arrays, assign_tensors, is_headless, is_keras_key, rename_tensors, match_tensors, list_variables
from .fetch import fetch_checkpoint
from .readers import read_tensors, check_readable
from .name_rules import HEAD
from .table import Checkpoint

SAID: set[str] = set()


def load_weights(model: keras.Model, weights: Checkpoint | str | os.PathLike[str]) -> None:
    """Fills `model` from a file, or changes nothing.

    A path must fit in every variable.  A published checkpoint may have another number of classes or channels: the classifier
    then keeps its random start, and the first convolution is adapted.

    Arguments:
        weights: a path (see `files.read`), or a row of the table.
    Raises: ValueError for an unreadable file, or one of another net; FileNotFoundError; OSError for one that cannot be
        downloaded; ImportError for a PyTorch file without PyTorch.
    """
    if not isinstance(weights, Checkpoint):
        return assign_tensors(model, read_tensors(weights), os.fspath(weights))
    check_readable(f".{weights.format}", weights.name)
    if not weights.allows_commercial_use:
        _warn(weights)
    arrays = rename_tensors(model, read_tensors(fetch_checkpoint(weights)))
    arrays, fresh, notes = _adapt_tensors(model, arrays, weights)
    try:
        found = match_tensors(model, arrays, weights.name, fresh)
    except ValueError as error:
        raise ValueError(f"{error}; give weights=None for a net that was meant to differ") from error
    for pair in found:
        pair.variable.assign(pair.array)
    if weights.is_default:
        notes.insert(0, f"{weights.variant}: weights='imagenet' are {weights.id} ({weights.license})")
    for note in notes:
        _log_once(note)


def _adapt_tensors(model: keras.Model, arrays: Arrays, weights: Checkpoint) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """The arrays for the net's channels and classes, the layers that start anew, and what to say about it.

    Raises: ValueError where the file has not the classes that the table says.
    """
    arrays, fresh, notes = dict(arrays), [], []
    head, stem = _keys_of(model, arrays, HEAD), _keys_of(model, arrays, _first_convolution(model))
    if not is_headless(model):
        units = model.get_layer(HEAD).units
        if head:
            arrays.update(_trimmed(head, arrays, weights))
            size = arrays[head[0]].shape[_class_axis(head[0])]
            if size != weights.classes:
                raise ValueError(f"{weights.name}: its file has {size} classes, and {weights.classes} are expected")
        if head and size != units or not head and not weights.include_top:
            for key in head:
                del arrays[key]
            fresh.append(HEAD)
            notes.append(f"{weights.name}: the classifier of {units} classes starts at random (the file has "
                         f"{weights.classes or 'none'})")
    if stem:
        axis, channels = (2 if is_keras_key(stem[0]) else 1), _image_channels(model)
        have = arrays[stem[0]].shape[axis]
        if have != channels:
            arrays[stem[0]] = adapt_channels(arrays[stem[0]], channels, axis)
            notes.append(f"{weights.name}: the first convolution, of {have} channels, is adapted to {channels}")
    return arrays, fresh, notes


def _keys_of(model: keras.Model, arrays: Arrays, layer: str) -> list[str]:
    """The keys in a file of the variables of our `layer`, its kernel first; none where there is no kernel.

    A net without its classifier has no such layer, and its file's goes unused.
    """
    keys = [next((k for k in candidates if k in arrays), "") for name, _, candidates in list_variables(model)
            if name.partition(".")[0] == layer]
    return [key for key in keys if key] if keys and keys[0] else []


def _first_convolution(model: keras.Model) -> str:
    kernels = (layer.name for layer in model.layers for v in layer.weights if v.name == "kernel" and len(v.shape) == 4)
    return next(kernels, "")


def _image_channels(model: keras.Model) -> int:
    layer = model.get_layer(_first_convolution(model))
    return next(v.shape[2] for v in layer.weights if v.name == "kernel")


def _class_axis(key: str) -> int:
    """PyTorch's classes come first, Keras' last."""
    return -1 if is_keras_key(key) else 0


def _trimmed(keys: list[str], arrays: Arrays, weights: Checkpoint) -> dict[str, np.ndarray]:
    """A classifier without the classes before the label set's first (TensorFlow's background)."""
    axis = _class_axis(keys[0])
    if not weights.label_offset or arrays[keys[0]].shape[axis] == weights.classes:
        return {}
    return {key: np.delete(arrays[key], np.s_[:weights.label_offset], axis) for key in keys}


def adapt_channels(kernel: np.ndarray, channels: int, axis: int) -> np.ndarray:
    """A kernel for another number of channels, of about the same output.

    For one channel the sum over the old ones (exact for a grey image), else their repetition, scaled.
    Source: timm's adapt_input_conv.
    """
    have = kernel.shape[axis]
    if channels == 1:
        return kernel.sum(axis, keepdims=True)
    repeated = np.take(kernel, np.arange(channels) % have, axis)
    return (repeated * (have / channels)).astype(kernel.dtype)


def _warn(weights: Checkpoint) -> None:
    """Once: that the license forbids commercial use, or that there is none."""
    if weights.name not in SAID:
        SAID.add(weights.name)
        license = weights.license
        what = f"are licensed {license}: no commercial use" if license else "were published without a license"
        python_warnings.warn(f"the weights {weights.name} {what}", stacklevel=2)


def _log_once(message: str) -> None:
    """One line, once: on stderr where Keras is interactive (as its downloads are), else to the log."""
    if message in SAID:
        return
    SAID.add(message)
    if keras.config.is_interactive_logging_enabled():
        print(message, file=sys.stderr)
    else:
        logging.getLogger("reskeras").info(message)
