"""The one place that opens the `model` of a command: the name of a net, the path of a file, or a keras.Model.

`catalog.open_model` opens a net as `create` builds it; here it is opened as a command needs it: cheaply, to
look at it, or with published weights, to use it.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import catalog
from .._keras_private import build_without_values
from ..catalog import check_model_kind, is_file_name, load_keras_file
from ..errors import ArgumentError, to_whole_number
from .keras_nets import find_keras_net
from ..remote_paths import exists
from ..weights.checkpoint import Checkpoint
from ..weights.table import get_checkpoints, find_checkpoint, get_default_weights, get_weights

if TYPE_CHECKING:
    import keras

EXPORTED_FILES = (".tflite", ".onnx", ".xml")
ModelName = str | os.PathLike[str]              # the name of a net or the path of a file
Size = int | tuple[int, int]                    # pixels on a side, or (height, width)


def open_model(model: ModelName | keras.Model, size: Size | None = None, has_values: bool = True,
               **fields: Any) -> keras.Model:
    """Opens a model to look at; nothing is downloaded, so a net that is given by its name has random weights.

    Args:
        model: the name of a net ("resnet50d"), with a checkpoint or without, which decides the head and the
            size of the images ("resnet50d.ra2_in1k"), another package's name for it, or "keras/VGG16" and the
            other nets of keras.applications; a `.keras` file; or a model, which is returned as it is.
        size: size of the images of a net that is given by its name; by default the net's own.
        has_values: whether the weights have values; without values a net of any size takes no memory, and
            cannot run.
        **fields: fields of the Spec of a net that is given by its name.

    Raises:
        ArgumentError: for an unknown name or a wrong size.
        ValueError: for a file that cannot be read.
        FileNotFoundError: if there is no such file.
    """
    height_and_width = check_size(size)
    check_model_kind(model)
    if not isinstance(model, (str, os.PathLike)):
        return model
    if is_file_name(model):
        return load_keras_file(model)

    name = os.fspath(model)
    if keras_net := find_keras_net(name):
        return keras_net.build(height_and_width, has_values)
    variant, tag, source_fields = catalog.find_variant(name)    # a wrong name is an error before Keras starts
    options: dict[str, Any] = {**source_fields, **fields}
    if tag:
        checkpoint = find_checkpoint(variant.name, tag)
        assert isinstance(checkpoint, Checkpoint)
        shape = (checkpoint.input_size, checkpoint.input_size, checkpoint.channels)
        options = {**checkpoint.spec_fields, **options, "input_shape": shape}
        options |= {"classes": checkpoint.classes} if checkpoint.classes else {}
    if height_and_width:
        options["input_shape"] = (*height_and_width, options.get("input_shape", (0, 0, 3))[2])

    if has_values:
        return variant(weights=None, **options)
    with build_without_values():
        return variant(weights=None, **options)


def open_trained_model(model: ModelName | keras.Model, any_size: bool = False) -> keras.Model:
    """Opens a model to use: a net that is given by its name has its published weights.

    Args:
        model: the name of a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default
            weights), a `.keras` file, or a model, which is returned as it is.
        any_size: whether a net that is given by its name is built for images of any size.

    Raises:
        ValueError: for a name without weights, or a file that cannot be read.
        FileNotFoundError: if there is no such file.
        OSError: if the weights cannot be downloaded.
    """
    check_trained_model(model)
    if not isinstance(model, (str, os.PathLike)):
        return model
    if is_file_name(model) or os.path.isdir(model):
        return load_keras_file(model)
    name = os.fspath(model)
    shape = {"input_shape": (None, None, get_weights(name).channels)} if any_size else {}
    return catalog.create(name, **shape)


def check_trained_model(model: ModelName | keras.Model) -> None:
    """Finds the errors of `open_trained_model` that can be known before Keras starts, which takes seconds.

    Raises:
        ArgumentError: for what is neither a name, nor a path, nor a model.
        ValueError: for an unknown name, or a net without weights.
        FileNotFoundError: if there is no such file.
    """
    check_model_kind(model)
    if not isinstance(model, (str, os.PathLike)):
        return
    name = os.fspath(model)
    if is_file_name(model):
        if not exists(name):
            raise FileNotFoundError(f"{name}: no such file")
    elif not os.path.isdir(name):
        if keras_net := find_keras_net(name):
            raise ValueError(f"{name} has no weights here, only a cost; give the model itself, "
                             f"keras.applications.{keras_net.function}(), or save that to a .keras file")
        variant, tag, _ = catalog.find_variant(name)
        if tag:
            find_checkpoint(variant.name, tag, name.partition(".")[0])
        elif get_default_weights(variant.name) is None:
            tags = get_checkpoints(variant.name)
            known = ", ".join(f"{variant.name}.{tag}" for tag in tags)
            raise ValueError(f"{name} has no default weights; " + (
                f"choose one of its checkpoints: {known}" if known else
                "no checkpoint of it has been published, so give a .keras file that you trained"))


def check_size(size: Size | None) -> tuple[int, int] | None:
    """Returns (height, width) of `size`, None for None.

    Raises:
        ArgumentError: for anything else than a number of pixels or a pair of them.
    """
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    numbers = [to_whole_number(side) for side in pair]
    if len(numbers) != 2 or any(number is None or number < 1 for number in numbers):
        raise ArgumentError("size", size, "the pixels of a side, or (height, width)")
    height, width = numbers
    assert height and width
    return height, width


def get_image_shape(model: keras.Model, size: Size | None = None) -> tuple[int, ...] | None:
    """The shape of one image (height, width, channels), as the count of operations needs it.

    Returns:
        None for a model of several inputs, or of none.

    Raises:
        ArgumentError: if the model takes images of any size and `size` is not given.
    """
    if not getattr(model, "inputs", None) or isinstance(model.input_shape, (list, dict)):
        return None
    shape = tuple(model.input_shape[1:])
    height_and_width = check_size(size)
    if height_and_width and len(shape) == 3:
        shape = (*height_and_width, shape[2])
    if None in shape:
        raise ArgumentError("size", size, "the pixels of a side, such as 224",
                            hint=f"{model.name} takes images of any size")
    return shape
