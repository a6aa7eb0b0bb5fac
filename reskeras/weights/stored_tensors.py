"""The tensors of an open file of weights: shape and type of each, and a function that reads its values."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import ml_dtypes
import numpy as np

from ..errors import name_damaged_file

@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file; its values are read when `read` is called.

    Args:
        outline: an array of the tensor's shape and type, without its values; it takes no memory, because all
            elements are the same number in memory.
        load: a function that reads the values.
        file: the name of the file, for errors.
    """

    outline: np.ndarray
    load: Callable[[], Any]
    file: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.outline.shape

    def read(self) -> np.ndarray:
        """The values.  Raises: ValueError if the file is damaged."""
        with name_damaged_file(self.file, "a file of weights"):
            array = np.asarray(self.load())
            if array.dtype.kind == "V" and self.outline.dtype == ml_dtypes.bfloat16:
                array = array.view(ml_dtypes.bfloat16)
            if (array.shape, array.dtype) != (self.outline.shape, self.outline.dtype):
                raise ValueError(f"a tensor has the shape {array.shape} instead of {self.outline.shape}")
            return array


@dataclass(frozen=True)
class OpenWeights:
    """An open file of weights.

    Attributes:
        tensors: its tensors by their names, "layer.#index" in formats of Keras.
        messages: what the user should know of how they were chosen.
        key: what is left of the user's `key` to choose the prefix of their names, see `remove_prefix`.
        entry: the entry of the file that `key` names, "" if it names none.
        entries: all entries of a PyTorch file that have tensors.
        layer_order: the names of its layers in the order of `model.layers`, if the file says it.
        is_slim_resnet: whether it is a ResNet of Slim, whose stages stride in their last block.
    """

    tensors: dict[str, StoredTensor]
    messages: tuple[str, ...] = ()
    key: str | None = None
    entry: str = ""
    entries: tuple[str, ...] = ()
    layer_order: tuple[str, ...] = ()
    is_slim_resnet: bool = False


# What a reader returns: for the name of each tensor its shape, its type, and a function that reads its values
Found = dict[str, tuple[tuple[int, ...], Any, Callable[[], Any]]]


def make_tensors(found: Found, name: str) -> dict[str, StoredTensor]:
    """The tensors that a reader returned.

    Args:
        found: for each name the shape, the type, and a function that reads the values.
        name: the name of the file, for errors.
    """
    return {n: StoredTensor(np.broadcast_to(np.zeros((), dtype), shape), load, name)
            for n, (shape, dtype, load) in found.items()}
