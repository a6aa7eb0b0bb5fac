"""From the tensors of a file to the variables of a net: matched one to one, transposed, assigned.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

An array has one of two kinds of keys.  A *PyTorch key* is the name that another package gives a tensor; the
array then has PyTorch's order of axes.  A *Keras key* is "layer.#index", the layer's name and the index of
the variable in it; the array then has Keras' order of axes.

Example: timm's "layer1.0.conv1.weight" (64, 64, 1, 1) is one of the names that name_rules.py gives for the
variable "conv2_block1_1_conv.kernel".  `match_tensors` finds it by that name, transposes it to (1, 1, 64,
64), and puts both into a `TensorMatch`.  Before that, `rename_tensors` gives our names to the layers in Keras
keys.  weights/__init__.py shows all steps.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence, TypeVar

import keras
import ml_dtypes
import numpy as np

from ..errors import make_printable
from .kerashub import map_kerashub_names
from .layer_order import rename_numbered_layers
from .name_rules import HEAD, IGNORED_VARIABLES, get_pytorch_names, rename_keras_layer

Arrays = Mapping[str, np.ndarray]
_Tensor = TypeVar("_Tensor")    # an array, or a `readers.StoredTensor`, whose values are not read yet
# PyTorch's axes in Keras' order, by rank: dense kernels, 1-D and 2-D convolutions
_KERAS_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}
# in the files of keras.applications' ResNeXt: the constant kernel that sums groups
_GROUP_SUM = re.compile(r"conv\d+_block\d+_2_gconv")


@dataclass(frozen=True)
class TensorMatch:
    """A variable of a net and the tensor of a file that belongs to it."""

    variable: keras.Variable
    name: str           # of the variable: "conv1_conv.kernel"
    key: str            # of the tensor: "conv1.weight"
    array: np.ndarray   # in Keras' order of axes


def rename_tensors(model: keras.Model, tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Renames the layers in Keras keys to our names; PyTorch keys do not change.

    Tensors that are not weights are left out.

    Args:
        model: the net that gets the tensors.
        tensors: the tensors of a file, or their arrays.
    """
    weights = {key: tensor for key, tensor in tensors.items()
               if key.rsplit(".", 1)[-1] not in IGNORED_VARIABLES}
    names = map_kerashub_names([layer.name for layer in model.layers],
                               [key.partition(".#")[0] for key in weights if is_keras_key(key)])
    renamed: dict[str, _Tensor] = {}
    for key, tensor in weights.items():
        layer, separator, index = key.partition(".#")
        if not _GROUP_SUM.fullmatch(layer):
            name = names.get(layer) or rename_keras_layer(layer)
            renamed[name + separator + index if separator else key] = tensor
    return rename_numbered_layers(model, renamed)


def match_tensors(model: keras.Model, arrays: Arrays, source: str,
                  random_layers: Sequence[str] = ()) -> list[TensorMatch]:
    """Finds which tensor belongs to which variable, one to one.

    Args:
        model: the net.
        arrays: as `rename_tensors` returns them.
        source: the name of the file or checkpoint in an error.
        random_layers: names of layers that keep their random values.

    Returns:
        A match for every variable of the other layers.  Every tensor belongs to a match, with one exception:
        if the net has no classifier, the classifier of the file is ignored.

    Raises:
        ValueError: if they do not match; the message lists variables without a tensor, tensors without a
            variable, tensors that fit two variables, and unequal shapes.
    """
    matches, missing, unequal, ambiguous = [], [], [], []
    used: dict[str, str] = {}       # key of the tensor -> name of the variable
    for name, variable, keys in list_variables(model):
        if name.partition(".")[0] in random_layers:
            continue
        present = [k for k in keys if k in arrays]
        if not present:
            missing.append(name)
            continue
        key = next((k for k in present if k not in used), present[0])

        shape = tuple(variable.shape)
        array = _to_keras_axes(arrays[key], shape, is_pytorch=not is_keras_key(key))
        if array.shape != shape:
            unequal.append(f"{name} {shape} and {key} {tuple(arrays[key].shape)}")
        if key in used:
            ambiguous.append(f"{key} ({used[key]} and {name})")
        used[key] = name
        matches.append(TensorMatch(variable, name, key, array))

    has_no_head = is_headless(model)
    unused = [k for k in arrays if k not in used and not (has_no_head and _is_head_key(k))]
    problems = {"variables of the net without a tensor": missing, "tensors without a variable": unused,
                "tensors that fit two variables": ambiguous, "unequal shapes (net and file)": unequal}
    if any(problems.values()):
        raise ValueError(f"{source} does not fit {model.name}: " + "; ".join(
            f"{len(names)} {what}: {join_names(names)}" for what, names in problems.items() if names))
    return matches


def check_types(matches: Sequence[TensorMatch], source: str) -> None:
    """Checks that all tensors are real numbers, without their values: by their types.

    Args:
        matches: what `match_tensors` returned.
        source: the name of the file or checkpoint in an error.

    Raises:
        ValueError: for complex numbers, texts, truth values; the message lists the tensors.
    """
    others = [f"{match.key} ({match.array.dtype})" for match in matches
              if match.array.dtype.kind not in "iuf" and match.array.dtype != ml_dtypes.bfloat16]
    if others:
        raise ValueError(f"{source}: {len(others)} tensors are not real numbers: {join_names(others)}")


def check_values(matches: Sequence[TensorMatch], source: str) -> None:
    """Checks that all numbers are finite after conversion to the type of their variable.

    For example, 1e300 becomes infinite in float32.

    Args:
        matches: what `match_tensors` returned.
        source: the name of the file or checkpoint in an error.

    Raises:
        ValueError: if a number is not finite; the message lists the tensors.
    """
    bad = []
    for match in matches:
        dtype = np.dtype(keras.backend.standardize_dtype(match.variable.dtype))
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(match.array.astype(dtype)).all()
        if not is_finite:
            reason = f"too large for {dtype}" if np.isfinite(match.array).all() else "NaN or infinite"
            bad.append(f"{match.key} ({reason})")
    if bad:
        raise ValueError(f"{source}: {len(bad)} tensors have values that are not finite: {join_names(bad)}")


def join_names(names: Sequence[str]) -> str:
    """The first six names, for a message; a file may have names of any length, with any characters."""
    return ", ".join(make_printable(name[:200]) for name in names[:6]) + (" ..." if len(names) > 6 else "")


def list_variables(model: keras.Model) -> list[tuple[str, keras.Variable, list[str]]]:
    """Lists the variables that files of weights have: all except the state of random generators.

    Returns:
        For each variable (our name, the variable, the keys that its tensor may have in a file).
    """
    result = []
    for layer in model.layers:
        variables = [v for v in layer.weights if "seed_generator" not in v.path]
        for i, variable in enumerate(variables):
            keys = [f"{layer.name}.#{i}", *get_pytorch_names(layer.name, variable.name)]
            result.append((f"{layer.name}.{variable.name}", variable, keys))
    return result


def is_keras_key(key: str) -> bool:
    """Whether a tensor's key is "layer.#index", so that the tensor has Keras' order of axes."""
    return ".#" in key


def is_headless(model: keras.Model) -> bool:
    """Whether a net has no classifier."""
    return all(layer.name != HEAD for layer in model.layers)


def _is_head_key(key: str) -> bool:
    pytorch_names = get_pytorch_names(HEAD, "kernel") + get_pytorch_names(HEAD, "bias")
    return key.startswith(f"{HEAD}.#") or key in pytorch_names


# ---- order of axes


def _to_keras_axes(array: np.ndarray, shape: tuple[int, ...], is_pytorch: bool) -> np.ndarray:
    """Converts an array to Keras' order of axes, for a variable with the given shape."""
    if not is_pytorch:
        return _to_variable_shape(array, shape)

    rank = len(shape)
    if array.ndim == 4 and rank == 2 and array.shape[2:] == (1, 1):     # a 1x1 convolution for a dense layer
        array = array[:, :, 0, 0]
    elif array.ndim == 2 and rank == 4:                                 # or the other way
        array = array[:, :, None, None]
    return array.transpose(_KERAS_AXES[array.ndim]) if array.ndim in _KERAS_AXES else array


def _to_variable_shape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Reshapes an array in Keras' order that another kind of layer saved, such as Dense for a 1x1 Conv2D."""
    rank = len(shape)
    if array.ndim == 4 and rank == 2 and array.shape[:2] == (1, 1):     # a 1x1 convolution for a dense layer
        return array.reshape(array.shape[2:])
    if array.ndim == 2 and rank == 4:                                   # or the other way
        return array[None, None]

    if array.ndim == rank == 4 and array.shape != shape and shape[0] > 1 and shape[3] % shape[2] == 0 and (
            array.shape == (*shape[:2], shape[3], shape[2])):
        # keras.applications' ResNeXt makes a grouped convolution of two layers: a depthwise convolution, and
        # a sum over each group.  The kernel of the first one is (height, width, input channel, output channel
        # within the group).
        height, width, channels, size = array.shape
        grouped = array.reshape(height, width, channels // size, size, size)    # group, input, output channel
        return grouped.transpose(0, 1, 3, 2, 4).reshape(height, width, size, channels)
    return array
