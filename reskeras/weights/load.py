"""Implements `weights=`: loads a file or a published checkpoint into the variables of a net.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

`load_weights` calls all of this, in this order.  weights/__init__.py follows one tensor through it: timm's
"layer1.0.conv3.weight" (256, 64, 1, 1) is assigned to "conv2_block1_3_conv/kernel" (1, 1, 64, 256).
Tensors are matched twice: first only by their names and shapes, so that no tensor is read that does not fit.
"""
from __future__ import annotations

import functools
import logging
import math
import os
import sys
import warnings
from dataclasses import dataclass, field
from typing import Callable

import keras
import numpy as np

from ..terminal import print_text
from .convert import (Arrays, TensorMatch, check_types, check_values, is_headless, is_keras_key,
                      list_variables, match_tensors, rename_tensors)
from .fetch import fetch_checkpoint
from .name_rules import HEAD
from .readers import check_readable, open_tensors
from .checkpoint import Checkpoint

# No camera has more channels; a file with more would only fill the memory.
_MAX_CHANNELS = 1024
_LOGGED: set[str] = set()       # messages and warnings already shown; each is shown only once


def load_weights(model: keras.Model, weights: Checkpoint | str | os.PathLike[str]) -> None:
    """Assigns the weights of a file to a net, or changes nothing.

    Every variable must have its tensor.  Two things may differ, and a message says so: the first convolution
    is adapted to the number of channels; and if a published checkpoint has a different number of classes, the
    classifier keeps its random values.

    Args:
        model: the net.
        weights: a path (see `open_tensors`), or a checkpoint of the table.

    Raises:
        ValueError: for a file that cannot be read or does not fit the net, or if a value is not a finite
            number after conversion to the type of its variable.
        FileNotFoundError: if the path does not exist.
        OSError: if a checkpoint cannot be downloaded.
        ImportError: for a PyTorch file without PyTorch.
    """
    if not isinstance(weights, Checkpoint):
        matches, messages = _read_matches(model, weights, os.fspath(weights))
        _assign(matches)
        for message in messages:
            _log_once(message)
        return

    checkpoint = weights
    check_readable(f".{checkpoint.format}", checkpoint.name)
    if not checkpoint.allows_commercial_use:
        _warn_about_license(checkpoint)

    matches, messages = _read_matches(model, fetch_checkpoint(checkpoint), checkpoint.name, checkpoint)
    _assign(matches)
    if checkpoint.is_default:
        _log_once(f"{checkpoint.variant}: weights='imagenet' means {checkpoint.id} ({checkpoint.license})")
    for message in messages:
        _log_once(message)


def _read_matches(model: keras.Model, path: str | os.PathLike[str], source: str,
                  checkpoint: Checkpoint | None = None) -> tuple[list[TensorMatch], list[str]]:
    """Reads the tensor of every variable from a file.

    Args:
        model: the net.
        path: the file.
        source: the name of the file or checkpoint in an error.
        checkpoint: what the file should contain; None for the user's own file.

    Returns:
        The variables and their tensors, and messages for the user.

    Raises:
        ValueError: see `load_weights`.
    """
    with open_tensors(path, model.count_params()) as tensors:
        stored = rename_tensors(model, tensors)
        outlines = {key: tensor.outline for key, tensor in stored.items()}
        plan = _Adaptation()
        if checkpoint:
            _plan_classes(plan, model, outlines, checkpoint)
        _plan_channels(plan, model, outlines, source, checkpoint.channels if checkpoint else None)
        try:
            matches = match_tensors(model, plan.apply(outlines), source, plan.random_layers)
        except ValueError as error:
            hint = _explain_classes(model, outlines) if checkpoint is None else (
                "; if the net should differ from the checkpoint, use weights=None (random weights)")
            raise ValueError(f"{error}{hint}") from error
        check_types(matches, source)

        arrays = plan.apply({match.key: stored[match.key].read() for match in matches})
        matches = match_tensors(model, arrays, source, plan.random_layers)
        check_values(matches, source)
    return matches, plan.messages


def _assign(matches: list[TensorMatch]) -> None:
    for match in matches:
        match.variable.assign(match.array)


# ---- a file with other classes or channels than the net


@dataclass
class _Adaptation:
    """How the tensors of a file are fitted to the channels and classes of a net.

    Args:
        changes: what is done to a tensor, by its key.
        unused: the keys of tensors that the net does not use.
        random_layers: the names of layers that keep their random values.
        messages: what the user should know.
    """

    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    random_layers: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def apply(self, arrays: Arrays) -> dict[str, np.ndarray]:
        return {key: self.changes[key](array) if key in self.changes else array
                for key, array in arrays.items() if key not in self.unused}


def _plan_classes(plan: _Adaptation, model: keras.Model, outlines: Arrays, checkpoint: Checkpoint) -> None:
    """Plans what to do with the classifier of a checkpoint; needs only the shapes of its tensors.

    Raises:
        ValueError: if the file's number of classes is not the one in the table.
    """
    if is_headless(model):
        return
    head, classes = _find_keys(model, outlines, HEAD), model.get_layer(HEAD).units
    size = _get_size(outlines, head, _get_class_axis)
    if head and checkpoint.label_offset and size != checkpoint.classes:
        # the extra first classes of the file, TensorFlow's "background"
        size -= checkpoint.label_offset
        axis = _get_class_axis(head[0])
        skip = functools.partial(_skip_first, axis=axis, count=checkpoint.label_offset)
        plan.changes.update(dict.fromkeys(head, skip))
    if head and size != checkpoint.classes:
        raise ValueError(f"{checkpoint.name}: the file has {size} classes, but "
                         f"{checkpoint.classes} are expected")
    if head and size != classes or not head and not checkpoint.include_top:
        plan.unused += head
        plan.random_layers.append(HEAD)
        plan.messages.append(f"{checkpoint.name}: the classifier of {classes} classes starts at random "
                             f"(the file has {checkpoint.classes or 'none'})")


def _plan_channels(plan: _Adaptation, model: keras.Model, outlines: Arrays, source: str,
                   expected: int | None) -> None:
    """Plans the adaptation of the first convolution, if the file's kernel differs only in its input channels.

    Args:
        plan: the change and a message are added to it.
        model: the net.
        outlines: the shapes and types of the file's tensors, by key.
        source: the name of the file or checkpoint.
        expected: the number of channels that a checkpoint has in the table; None for other files.

    Raises:
        ValueError: if the file's number of channels is not that of the table, or larger than _MAX_CHANNELS.
    """
    stem = _find_keys(model, outlines, _find_first_convolution(model))
    shape = _get_first_kernel_shape(model) if stem else (0,) * 4
    channels, file_channels = shape[2], _get_size(outlines, stem, _get_channel_axis)
    # if more than the channels differs, match_tensors refuses the kernel
    if file_channels in (0, channels) or \
            outlines[stem[0]].size * channels != math.prod(shape) * file_channels:
        return
    if file_channels != (expected or file_channels) or file_channels > _MAX_CHANNELS:
        raise ValueError(f"{source}: the first convolution of the file has {file_channels} channels, but "
                         f"{expected or f'at most {_MAX_CHANNELS}'} are expected")
    plan.changes[stem[0]] = functools.partial(adapt_channels, channels=channels,
                                              axis=_get_channel_axis(stem[0]))
    plan.messages.append(f"{source}: the first convolution, of {file_channels} channels, "
                         f"is adapted to {channels}")


def _explain_classes(model: keras.Model, outlines: Arrays) -> str:
    """A hint, if the classifier of the user's file has not as many classes as the net; otherwise ""."""
    head = [] if is_headless(model) else _find_keys(model, outlines, HEAD)
    size = _get_size(outlines, head, _get_class_axis)
    if size in (0, model.get_layer(HEAD).units if head else 0):
        return ""
    return (f"; the file has {size} classes: build the net with classes={size}, or with include_top=False "
            "for a classifier of your own")


def _find_keys(model: keras.Model, arrays: Arrays, layer: str) -> list[str]:
    """The file's keys for the variables of a layer, the kernel first; empty if there is no kernel."""
    keys = [next((k for k in candidates if k in arrays), "") for name, _, candidates in list_variables(model)
            if name.partition(".")[0] == layer]
    return [key for key in keys if key] if keys and keys[0] else []


def _find_first_convolution(model: keras.Model) -> str:
    """The name of the first layer with a two-dimensional kernel, "" if there is none."""
    kernels = (layer.name for layer in model.layers for v in layer.weights
               if v.name == "kernel" and len(v.shape) == 4)
    return next(kernels, "")


def _get_first_kernel_shape(model: keras.Model) -> tuple[int, ...]:
    layer = model.get_layer(_find_first_convolution(model))
    return next(tuple(v.shape) for v in layer.weights if v.name == "kernel")


def _get_class_axis(key: str) -> int:
    """The axis of the classes: the first in PyTorch's tensors, the last in Keras'."""
    return -1 if is_keras_key(key) else 0


def _get_channel_axis(key: str) -> int:
    """The axis of a kernel's input channels: the second in PyTorch's tensors, the last but one in Keras'."""
    return 2 if is_keras_key(key) else 1


def _get_size(outlines: Arrays, keys: list[str], get_axis: Callable[[str], int]) -> int:
    """The length of an axis of the first of these tensors; 0 if there is no tensor, or no such axis."""
    shape = outlines[keys[0]].shape if keys else ()
    axis = get_axis(keys[0]) if keys else 0
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _skip_first(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    """The array without the first elements along an axis."""
    return np.moveaxis(np.moveaxis(array, axis, 0)[count:], 0, axis)


def adapt_channels(kernel: np.ndarray, channels: int, axis: int) -> np.ndarray:
    """Adapts a kernel to a different number of image channels; the output changes little.

    For one channel the new kernel is the sum over the old channels, which is exact for a gray image.  For
    more channels the old channels are repeated and scaled.  Source: timm's adapt_input_conv.

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
    """Warns once that the license forbids commercial use, or that there is no license."""
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
        print_text(message, file=sys.stderr)
    else:
        logging.getLogger("reskeras").info(message)
