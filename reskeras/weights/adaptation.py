"""Fits the tensors of a file to a net with other channels or classes than the file."""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Callable

import keras
import numpy as np

from .checkpoint import Checkpoint
from .convert import Arrays, is_headless, is_keras_key, list_variables
from .name_rules import HEAD, get_pytorch_names

# No camera has more channels; a file with more would only fill the memory.
_MAX_CHANNELS = 1024


@dataclass
class Adaptation:
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


def plan_classes(plan: Adaptation, model: keras.Model, outlines: Arrays, checkpoint: Checkpoint) -> None:
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


def count_classes(outlines: Arrays) -> int:
    """How many classes the classifier in a file has, by the usual names of its weights; 0 without such a one.

    Args:
        outlines: the shapes and types of the file's tensors, by their names.
    """
    names = [f"{HEAD}.#0", *get_pytorch_names(HEAD, "kernel")]
    if not any(key.startswith("dense_") for key in outlines):       # Keras' own name of the only dense layer
        names.append("dense.#0")
    heads = [key for key in outlines if any(f".{key}".endswith(f".{name}") for name in names)]
    head = min(heads, key=len, default="")      # a wrapper may have other classifiers, with longer names
    classes = _get_size(outlines, [head], _get_class_axis) if head else 0
    return classes if head and outlines[head].ndim in (2, 4) and outlines[head].size else 0


def plan_channels(plan: Adaptation, model: keras.Model, outlines: Arrays, source: str,
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


def explain_classes(model: keras.Model, outlines: Arrays) -> str:
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
