"""Implements `weights=`: loads a file or a published checkpoint into the variables of a net.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

`load_weights` calls all of this, in this order.  weights/__init__.py follows one tensor through it: timm's
"layer1.0.conv3.weight" (256, 64, 1, 1) is assigned to "conv2_block1_3_conv/kernel" (1, 1, 64, 256).
Tensors are matched twice: first only by their names and shapes, so that no tensor is read that does not fit.
"""
from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import keras

from .._keras_building import set_value
from ..errors import ArgumentError, short_repr
from ..terminal import print_text
from .adaptation import Adaptation, count_classes, explain_classes, plan_channels, plan_classes
from .convert import TensorMatch, check_types, check_values, match_tensors, rename_tensors
from .fetch import fetch_checkpoint
from .checkpoint import Checkpoint
from .layer_order import check_strides, rename_by_order
from .readers import MAX_PARAMETERS, open_tensors
from .state_dicts import remove_prefix
from .table import find_weights, get_checkpoints, get_source_nets, is_path

_LOGGED: set[str] = set()       # messages and warnings already shown; each is shown only once


def load_weights(model: keras.Model, path: str | os.PathLike[str] | Checkpoint, *,
                 key: str | None = None) -> None:
    """Assigns the weights of a file to a net, or changes nothing.

    Every variable must have its tensor.  The file may be one of Keras or PyTorch, as trainers write it: its
    tensors may be in an entry such as "state_dict" or "model_ema" (averaged weights are preferred), and their
    names may begin with "module.", "backbone." or any other prefix.  Nothing in the file is executed, and
    PyTorch is not needed.  Two things may differ, and a message says so: the first convolution is adapted to
    the number of channels; and if a published checkpoint has a different number of classes, the classifier
    keeps its random values.

    Args:
        model: the net.
        path: a .safetensors, .weights.h5, .weights.json, .h5, .keras, .npz, .pth, .pt, .th, .ckpt, .bin or
            .pth.tar file; a checkpoint of TensorFlow by its prefix, one of its files or its folder; the
            folder of a preset of KerasHub; or a checkpoint of the table.
        key: the entry of a PyTorch file that has the weights, such as "state_dict"; or the last part of the
            prefix of their names, such as "encoder_q", if the file has several nets; or both,
            "state_dict.encoder_q".  In a checkpoint of TensorFlow "ExponentialMovingAverage" or "variables"
            for averages or not, or the name of one of several nets.

    Raises:
        TypeError: if `model` is not a Keras model, or `path` is not a path.
        ValueError: for a file that cannot be read or does not fit the net, for an unknown `key`, or if a
            value is not a finite number after conversion to the type of its variable.
        FileNotFoundError: if the path does not exist.
        OSError: if a checkpoint cannot be downloaded.

    Example:
        >>> model = reskeras.ResNet50(weights=None)
        >>> reskeras.load_weights(model, "checkpoint-90.pth.tar", key="state_dict")
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={short_repr(model)}: expected a keras.Model")
    if not isinstance(path, (str, os.PathLike, Checkpoint)):
        raise TypeError(f"path={short_repr(path)}: expected the path of a file of weights")

    _check_path(path)
    weights = path
    if not isinstance(weights, Checkpoint):
        matches, messages = _read_matches(model, weights, os.fspath(weights), key=key)
        _assign(matches)
        for message in messages:
            _log_once(message)
        return

    checkpoint = weights
    if not checkpoint.allows_commercial_use:
        _warn_about_license(checkpoint)

    matches, messages = _read_matches(model, fetch_checkpoint(checkpoint), checkpoint.name, checkpoint)
    _assign(matches)
    if checkpoint.is_default:
        _log_once(f"{checkpoint.variant}: weights='imagenet' means {checkpoint.id} ({checkpoint.license})")
    for message in messages:
        _log_once(message)


def _check_path(path: Any) -> None:
    """Raises: ArgumentError for the name of a published checkpoint in the place of a path."""
    if not isinstance(path, str) or is_path(path):
        return
    net = path.partition(".")[0]
    if get_checkpoints(net) or net in get_source_nets() or f"timm/{net}" in get_source_nets():
        checkpoint = find_weights(path, "path")
        raise ArgumentError("path", path, "the path of a file of weights", hint=(
            "it is the name of published weights, which reskeras.load_weights(model, "
            f"reskeras.get_weights({checkpoint.name!r})) loads"))


def find_classes(path: str | os.PathLike[str], default: int) -> int | None:
    """Finds how many classes the classifier in a file has; a message says so if there are others.

    Args:
        path: the file.
        default: the number of classes of the net.

    Returns:
        The number; None if the file has no tensor with a usual name of a classifier's weights.

    Raises:
        ValueError, FileNotFoundError: see `load_weights`.
    """
    with open_tensors(path, MAX_PARAMETERS) as opened:
        classes = count_classes({name: tensor.outline for name, tensor in opened.tensors.items()})
    if classes and classes != default:
        _log_once(f"{os.fspath(path)}: the net gets {classes} classes, as the file has")
    return classes or None


def _read_matches(model: keras.Model, path: str | os.PathLike[str], source: str,
                  checkpoint: Checkpoint | None = None,
                  key: str | None = None) -> tuple[list[TensorMatch], list[str]]:
    """Reads the tensor of every variable from a file.

    Args:
        model: the net.
        path: the file.
        source: the name of the file or checkpoint in an error.
        checkpoint: what the file should contain; None for the user's own file.
        key: as for `load_weights`.

    Returns:
        The variables and their tensors, and messages for the user.

    Raises:
        ValueError: see `load_weights`.
    """
    with open_tensors(path, model.count_params(), key) as opened:
        tensors, messages = remove_prefix(model, opened.tensors, opened.key, opened.entry, opened.entries)
        stored, order_messages = rename_by_order(model, rename_tensors(model, tensors), opened.layer_order)
        messages += order_messages
        if opened.is_slim_resnet:
            check_strides(model, source)
        outlines = {key: tensor.outline for key, tensor in stored.items()}
        plan = Adaptation(messages=[f"{source}: {message}" for message in [*opened.messages, *messages]])
        if checkpoint:
            plan_classes(plan, model, outlines, checkpoint)
        plan_channels(plan, model, outlines, source, checkpoint.channels if checkpoint else None)
        try:
            matches = match_tensors(model, plan.apply(outlines), source, plan.random_layers)
        except ValueError as error:
            hint = explain_classes(model, outlines) if checkpoint is None else (
                "; if the net should differ from the checkpoint, use weights=None (random weights)")
            raise ValueError(f"{error}{hint}") from error
        check_types(matches, source)

        arrays = plan.apply({match.key: stored[match.key].read() for match in matches})
        matches = match_tensors(model, arrays, source, plan.random_layers)
        check_values(matches, source)
    return matches, plan.messages


def _assign(matches: list[TensorMatch]) -> None:
    for match in matches:
        set_value(match.variable, match.array)


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
