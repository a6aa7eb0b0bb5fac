"""Implements `weights=`: loads a file or a published checkpoint into the variables of a net.

    file -> readers.py (arrays by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

`load_weights` calls all of this, in this order.  weights/__init__.py follows one tensor through it: timm's
"layer1.0.conv3.weight" (256, 64, 1, 1) is assigned to "conv2_block1_3_conv/kernel" (1, 1, 64, 256).
"""
from __future__ import annotations

import logging
import os
import sys
import warnings

import keras
import numpy as np

from .convert import (Arrays, assign_tensors, is_headless, is_keras_key, list_variables, match_tensors,
                      rename_tensors)
from .fetch import fetch_checkpoint
from .name_rules import HEAD
from .readers import check_readable, read_tensors
from .checkpoint import Checkpoint

_LOGGED: set[str] = set()       # messages and warnings already shown; each is shown only once


def load_weights(model: keras.Model, weights: Checkpoint | str | os.PathLike[str]) -> None:
    """Assigns the weights of a file to a net, or changes nothing.

    A file must match every variable.  A published checkpoint may have another number of classes or channels;
    then the classifier keeps its random values, and the first convolution is adapted.

    Args:
        model: the net.
        weights: a path (see `read_tensors`), or a checkpoint of the table.

    Raises:
        ValueError: for an unreadable file, or one that does not fit the net.
        FileNotFoundError: if the path does not exist.
        OSError: if a checkpoint cannot be downloaded.
        ImportError: for a PyTorch file without PyTorch.
    """
    if not isinstance(weights, Checkpoint):
        return assign_tensors(model, read_tensors(weights), os.fspath(weights))

    checkpoint = weights
    check_readable(f".{checkpoint.format}", checkpoint.name)
    if not checkpoint.allows_commercial_use:
        _warn_about_license(checkpoint)

    arrays = rename_tensors(model, read_tensors(fetch_checkpoint(checkpoint)))
    arrays, random_layers, messages = _adapt_tensors(model, arrays, checkpoint)
    try:
        matches = match_tensors(model, arrays, checkpoint.name, random_layers)
    except ValueError as error:
        raise ValueError(f"{error}; if the net should differ from the checkpoint, "
                         "use weights=None (random weights)") from error
    for match in matches:
        match.variable.assign(match.array)

    if checkpoint.is_default:
        _log_once(f"{checkpoint.variant}: weights='imagenet' means {checkpoint.id} ({checkpoint.license})")
    for message in messages:
        _log_once(message)


# ---- a checkpoint with other classes or channels than the net


def _adapt_tensors(model: keras.Model, arrays: Arrays,
                   checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Fits a checkpoint to the channels and classes of a net.

    Returns:
        The arrays, the layers that keep their random values, and messages for the user.

    Raises:
        ValueError: if the file's number of classes is not the one in the table.
    """
    arrays, random_layers, messages = dict(arrays), [], []
    head, stem = _find_keys(model, arrays, HEAD), _find_keys(model, arrays, _find_first_convolution(model))

    if not is_headless(model):
        classes = model.get_layer(HEAD).units
        if head:
            arrays.update(_remove_background(head, arrays, checkpoint))
            size = arrays[head[0]].shape[_get_class_axis(head[0])]
            if size != checkpoint.classes:
                raise ValueError(f"{checkpoint.name}: the file has {size} classes, but "
                                 f"{checkpoint.classes} are expected")
        if head and size != classes or not head and not checkpoint.include_top:
            for key in head:
                del arrays[key]
            random_layers.append(HEAD)
            messages.append(f"{checkpoint.name}: the classifier of {classes} classes starts at random "
                            f"(the file has {checkpoint.classes or 'none'})")

    if stem:
        axis, channels = (2 if is_keras_key(stem[0]) else 1), _count_image_channels(model)
        file_channels = arrays[stem[0]].shape[axis]
        if file_channels != channels:
            arrays[stem[0]] = adapt_channels(arrays[stem[0]], channels, axis)
            messages.append(f"{checkpoint.name}: the first convolution, of {file_channels} channels, "
                            f"is adapted to {channels}")
    return arrays, random_layers, messages


def _find_keys(model: keras.Model, arrays: Arrays, layer: str) -> list[str]:
    """The file's keys for the variables of a layer, the kernel first; empty if there is no kernel.

    If the net has no classifier, the classifier in the file is not used.
    """
    keys = [next((k for k in candidates if k in arrays), "") for name, _, candidates in list_variables(model)
            if name.partition(".")[0] == layer]
    return [key for key in keys if key] if keys and keys[0] else []


def _find_first_convolution(model: keras.Model) -> str:
    """The name of the first layer with a two-dimensional kernel, "" if there is none."""
    kernels = (layer.name for layer in model.layers for v in layer.weights
               if v.name == "kernel" and len(v.shape) == 4)
    return next(kernels, "")


def _count_image_channels(model: keras.Model) -> int:
    layer = model.get_layer(_find_first_convolution(model))
    return int(next(v.shape[2] for v in layer.weights if v.name == "kernel"))


def _get_class_axis(key: str) -> int:
    """The axis of the classes: the first in PyTorch's tensors, the last in Keras'."""
    return -1 if is_keras_key(key) else 0


def _remove_background(keys: list[str], arrays: Arrays, checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """The classifier without the extra first classes of the file (TensorFlow's "background").

    Args:
        keys: the keys of the classifier's arrays.
    """
    axis = _get_class_axis(keys[0])
    if not checkpoint.label_offset or arrays[keys[0]].shape[axis] == checkpoint.classes:
        return {}
    return {key: np.delete(arrays[key], np.s_[:checkpoint.label_offset], axis) for key in keys}


def adapt_channels(kernel: np.ndarray, channels: int, axis: int) -> np.ndarray:
    """Adapts a kernel to another number of image channels; the output changes little.

    For one channel it is the sum over the old channels, which is exact for a gray image; for more channels
    the old ones are repeated and scaled.  Source: timm's adapt_input_conv.

    Args:
        kernel: the kernel of a convolution.
        channels: the new number of input channels.
        axis: the axis of the input channels.
    """
    old_channels = kernel.shape[axis]
    if channels == 1:
        return np.asarray(np.sum(kernel, axis, keepdims=True))
    repeated = np.take(kernel, np.arange(channels) % old_channels, axis)
    return np.asarray(repeated * (old_channels / channels), kernel.dtype)


# ---- messages


def _warn_about_license(checkpoint: Checkpoint) -> None:
    """Warns once that the license forbids commercial use, or that there is none."""
    if checkpoint.name in _LOGGED:
        return
    _LOGGED.add(checkpoint.name)
    name = checkpoint.license
    text = "were published without a license"
    if name:
        text = f"are licensed {name}, which forbids commercial use"
    warnings.warn(f"the weights {checkpoint.name} {text}", stacklevel=2)


def _log_once(message: str) -> None:
    """Writes a line once: to stderr if Keras logs interactively (like its downloads), else to the log."""
    if message in _LOGGED:
        return
    _LOGGED.add(message)
    if keras.config.is_interactive_logging_enabled():
        print(message, file=sys.stderr)
    else:
        logging.getLogger("reskeras").info(message)
