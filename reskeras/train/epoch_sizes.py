"""The size of the training images in each epoch.  Imports no framework."""
from __future__ import annotations

import re
from typing import Any

from ..errors import ArgumentError
from .image_size import Sides

_END = 0.75         # of the epochs: from there on the images have their full size, as in FFCV's recipes


def find_epoch_size(training: Any, epoch: int) -> Sides:
    """The size of the images in an epoch: constant, or growing along a line, in whole multiples.

    Args:
        training: a `Training`.
        epoch: from 0 on, counted over the whole training.
    """
    size: Sides = training.size
    if not training.first_size:
        return size
    assert isinstance(size, int)
    start, end = training.size_epochs or (0.0, _END * (training.head_epochs + training.epochs))
    if epoch <= start:
        return int(training.first_size)
    if epoch >= end:
        return size
    reached = training.first_size + (size - training.first_size) * (epoch - start) / (end - start)
    # to even multiples at a half, as NumPy
    nearest = round(reached / training.size_multiple) * training.size_multiple
    return min(max(nearest, training.first_size), size)


def list_epoch_sizes(training: Any) -> list[Sides]:
    """The size of each epoch of a training that is measured in epochs."""
    return [find_epoch_size(training, epoch) for epoch in range(training.head_epochs + training.epochs)]


def split_sizes(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a training with "128:192" as `size` written as the two fields that it stands for.

    Raises:
        ArgumentError: if there is no number before or after the colon.
    """
    size = values.get("size")
    if not isinstance(size, str) or ":" not in size:
        return values
    first, _, last = map(str.strip, size.partition(":"))
    if not (first.isdecimal() and last.isdecimal()):
        raise ArgumentError("size", size, "two sizes with a colon between them, such as \"128:192\"")
    return {**values, "first_size": int(first), "size": int(last)}


def replace_crop_size(augmentation: str, old: Sides, new: Sides) -> str:
    """The augmentation with crops of another size.

    Args:
        augmentation: its text.
        old: the size of the crops until now.
        new: their new size.
    """
    crops = rf"\b(\w*crop|resize)\({re.escape(str(old))}(?!\w)"
    return re.sub(crops, lambda match: f"{match[1]}({new}", augmentation)


def check_sizes_of_epochs(training: Any) -> None:
    """Checks the fields of images that grow.

    Raises:
        ArgumentError: for the first field that does not fit.
    """
    if training.size_multiple < 1:
        raise ArgumentError("size_multiple", training.size_multiple, "a whole number of at least 1")
    if not training.first_size:
        if training.size_epochs:
            raise ArgumentError("size_epochs", training.size_epochs, "none without first_size",
                                hint='give size="128:192", for instance')
        return
    if not isinstance(training.size, int) or training.first_size > training.size:
        raise ArgumentError("first_size", training.first_size, f"at most size={training.size}, both squares",
                            hint='such as size="128:192"')
    if not training.epochs:
        raise ArgumentError("first_size", training.first_size, "0 in a training that is measured in steps",
                            hint="give epochs, between which the images grow")
    if training.size_epochs and (len(training.size_epochs) != 2
                                 or training.size_epochs[0] > training.size_epochs[1]):
        raise ArgumentError("size_epochs", training.size_epochs, "the epochs between which the images grow, "
                            "such as (10, 30)")
