"""`<file>.npz` of a model of several tensors: a few samples, with what Keras and the file return for them."""
from __future__ import annotations

import math
import pathlib
from dataclasses import dataclass

import numpy as np

from ...file_reading import open_npz
from .files import NamedFunction
from .interface import Arrays, Interface

COUNT = 4
MAX_VALUES = 2 ** 16        # of an output for each sample; of larger ones evenly picked values are kept
_MAX_BYTES = 2 ** 28
_INPUT, _KERAS, _EXPORTED = "input:", "keras:", "exported:"


@dataclass(frozen=True)
class NamedReference:
    """Samples, and the outputs for them at the export, by name; of large outputs some values."""

    inputs: Arrays
    keras: Arrays
    exported: Arrays


def write_named_reference(path: pathlib.Path, inputs: Arrays, keras: NamedFunction,
                          exported: NamedFunction) -> None:
    """Writes the first COUNT samples, floats in 256 levels, with the outputs for exactly those.

    Args:
        path: path of the .npz file.
        inputs: samples by input.
        keras: the model in Keras.
        exported: the file in its runtime.
    """
    arrays: dict[str, np.ndarray] = {}
    restored = {}
    for name, array in inputs.items():
        array = array[:COUNT]
        if array.dtype.kind == "f":
            low, high = float(array.min()), float(array.max())
            step = (high - low) / 255 or 1.0
            levels = np.round((array - low) / step).astype("uint8")
            arrays[f"{_INPUT}{name}"], arrays[f"levels:{name}"] = levels, np.array([low, step])
            restored[name] = _restore(levels, low, step)
        else:
            arrays[f"{_INPUT}{name}"] = restored[name] = array
    for prefix, function in ((_KERAS, keras), (_EXPORTED, exported)):
        arrays |= {f"{prefix}{name}": pick_values(output) for name, output in function(restored).items()}
    np.savez_compressed(path, **arrays)     # type: ignore[arg-type]


def read_named_reference(path: pathlib.Path, interface: Interface) -> NamedReference:
    """Reads what `write_named_reference` wrote.

    Args:
        path: path of the .npz file.
        interface: the names that it must have.

    Raises:
        ValueError: for a damaged or a different file, or arrays that are too large.
        OSError: if it cannot be read.
    """
    with open_npz(path, _MAX_BYTES) as arrays:
        inputs = {}
        for name in interface.inputs:
            array = arrays[f"{_INPUT}{name}"]
            if f"levels:{name}" in arrays:
                ends = arrays[f"levels:{name}"]
                if array.dtype != "uint8" or ends.shape != (2,) or ends.dtype.kind != "f":
                    raise ValueError(f"the levels of {name!r} are not two numbers")
                array = _restore(array, float(ends[0]), float(ends[1]))
            inputs[name] = array
        outputs = [{name: arrays[f"{prefix}{name}"] for name in interface.outputs}
                   for prefix in (_KERAS, _EXPORTED)]

    counts = {len(array) if array.ndim and array.dtype.kind in "fiub" else 0
              for named in (inputs, *outputs) for array in named.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"{path} does not have the same number of samples of each input and output")
    for name, array in inputs.items():
        expected = interface.inputs[name].shape[1:]
        if array.ndim != 1 + len(expected) or any(own not in (None, side) for own, side
                                                  in zip(expected, array.shape[1:])):
            raise ValueError(f"{path} holds no samples to compare: {name!r} is of the shape "
                             f"{array.shape[1:]}, the file takes {expected}")
    return NamedReference(inputs, *outputs)


def pick_values(output: np.ndarray) -> np.ndarray:
    """At most MAX_VALUES of each sample's values, evenly picked over all positions and channels.

    Args:
        output: (N, ...).

    Returns:
        The output itself if it is small, otherwise (N, values).
    """
    size = math.prod(output.shape[1:])
    if size <= MAX_VALUES:
        return output
    step = -(-size // MAX_VALUES)
    while math.gcd(step, size) > 1:     # otherwise only some of the channels would be picked
        step += 1
    return output.reshape(len(output), -1)[:, ::step]


def _restore(levels: np.ndarray, low: float, step: float) -> np.ndarray:
    values: np.ndarray = (low + step * np.arange(256)).astype("float32")
    return values[levels]
