"""Names and arrays of a file to the variables of a net: rename, transpose by rank, and prove a bijection first."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence

import keras
import numpy as np
from keras import layers

from .name_rules import HEAD, IGNORED, foreign_names, our_layer_name

Arrays = Mapping[str, np.ndarray]
# PyTorch's axes to Keras', by rank: dense, 1-D and 2-D kernels
TRANSPOSED = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}
MODULE = re.compile(r"conv\d+_block\d+|\w+?(?=_branch)")
PROJECTION = re.compile(r"(block\d+)_0_")
CONSTANT = re.compile(r"conv\d+_block\d+_2_gconv")   # what sums the groups of keras.applications' ResNeXt
NUMBERED = {"conv2d": layers.Conv2D, "batch_normalization": layers.BatchNormalization, "dense": layers.Dense}


@dataclass(frozen=True)
class TensorMatch:
    variable: keras.Variable
    name: str           # "conv1_conv.kernel"
    key: str            # "conv1.weight"
    array: np.ndarray   # in Keras' layout


def assign_tensors(model: keras.Model, arrays: Arrays, source: str) -> None:
    """Fills every variable of `model` from `arrays`, or changes none.

    Arguments:
        arrays: by PyTorch name ("layer1.0.conv1.weight") or by layer and place ("conv1_conv.#0", as Keras' files count).
        source: what to call them in an error.
    Raises: ValueError that lists the variables without an array, the arrays without a variable, and unequal shapes.
    """
    for pair in match_tensors(model, rename_tensors(model, arrays), source):
        pair.variable.assign(pair.array)


def rename_tensors(model: keras.Model, arrays: Arrays) -> dict[str, np.ndarray]:
    """`arrays` without what is no weight, and under our layers' names where they are in Keras' layout."""
    wanted = {k: a for k, a in arrays.items() if k.rsplit(".", 1)[-1] not in IGNORED}
    known: dict[str, np.ndarray] = {}
    for key, array in wanted.items():
        layer, mark, place = key.partition(".#")
        if not CONSTANT.fullmatch(layer):
            known[our_layer_name(layer) + mark + place if mark else key] = array
    return _renumbered(model, known)


def match_tensors(model: keras.Model, wanted: Arrays, source: str, fresh: Sequence[str] = ()) -> list[TensorMatch]:
    """The bijection between the variables of `model`, but of the layers `fresh`, and `wanted`.

    Raises: ValueError where there is none.
    """
    found, missing, unequal, used = [], [], [], set()
    for name, variable, candidates in list_variables(model):
        if name.partition(".")[0] in fresh:
            continue
        key = next((k for k in candidates if k in wanted), None)
        if key is None:
            missing.append(name)
            continue
        array = _to_keras(wanted[key], tuple(variable.shape), foreign=not is_keras_key(key))
        if array.shape != tuple(variable.shape):
            unequal.append(f"{name} {tuple(variable.shape)} and {key} {tuple(wanted[key].shape)}")
        if key in used:
            unequal.append(f"{name} and another variable: both are {key}")
        used.add(key)
        found.append(TensorMatch(variable, name, key, array))
    left = [k for k in wanted if k not in used and not (is_headless(model) and _is_head(k))]
    if missing or left or unequal:
        raise ValueError(f"{source} does not fit {model.name}: " + "; ".join(
            f"{len(names)} {what}: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}" for what, names in (
                ("variables of the net without a tensor", missing), ("tensors without a variable", left),
                ("unequal shapes (net and file)", unequal)) if names))
    return found


def list_variables(model: keras.Model) -> list[tuple[str, keras.Variable, list[str]]]:
    """(our name, variable, names it may have in a file) of every variable but the state of random generators."""
    result = []
    for layer in model.layers:
        kept = [v for v in layer.weights if "seed_generator" not in v.path]
        for i, variable in enumerate(kept):
            name = f"{layer.name}.{variable.name}"
            result.append((name, variable, [f"{layer.name}.#{i}", *foreign_names(layer.name, variable.name)]))
    return result


def is_keras_key(key: str) -> bool:
    return ".#" in key


def _is_head(key: str) -> bool:
    return key.startswith(f"{HEAD}.#") or key in foreign_names(HEAD, "kernel") + foreign_names(HEAD, "bias")


def is_headless(model: keras.Model) -> bool:
    return all(layer.name != HEAD for layer in model.layers)


def _to_keras(array: np.ndarray, shape: tuple[int, ...], foreign: bool) -> np.ndarray:
    """A PyTorch (`foreign`) array in Keras' layout: axes by rank; a 1x1 convolution may stand for a dense layer."""
    rank = len(shape)
    if not foreign:
        return _from_keras(array, shape)
    if array.ndim == 4 and rank == 2 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]
    elif array.ndim == 2 and rank == 4:
        array = array[:, :, None, None]
    return array.transpose(TRANSPOSED[array.ndim]) if array.ndim in TRANSPOSED else array


def _from_keras(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array of Keras' layout in `shape`: a dense layer for a 1x1 convolution, or back; a grouped one for a depthwise."""
    if array.ndim == 4 and len(shape) == 2 and array.shape[:2] == (1, 1):
        return array[0, 0]
    if array.ndim == 2 and len(shape) == 4:
        return array[None, None]
    if array.ndim == len(shape) == 4 and array.shape != shape and array.shape == (*shape[:2], shape[3], shape[2]):
        # keras.applications' ResNeXt: a depthwise convolution (h, w, channel, place in the group) and a sum over each group
        h, w, channels, each = array.shape
        grouped = array.reshape(h, w, channels // each, each, each)     # group, channel in, channel out
        return grouped.transpose(0, 1, 3, 2, 4).reshape(h, w, each, channels)
    return array


def _renumbered(model: keras.Model, arrays: Arrays) -> dict[str, np.ndarray]:
    """Keys of layers that Keras numbered as they were made ("conv2d_17.#0"), under our names in the same order."""
    names: dict[str, str] = {}
    for base, kind in NUMBERED.items():
        pattern = re.compile(rf"{base}(?:_(\d+))?")
        known = {key.partition(".#")[0] for key in arrays if is_keras_key(key)}
        theirs = sorted((int(m[1] or 0), layer) for layer in known if (m := pattern.fullmatch(layer)))
        ours = [layer.name for layer in _as_made(model) if isinstance(layer, kind) and layer.name not in known]
        if len(ours) == len(theirs):
            names.update((t, o) for (_, t), o in zip(theirs, ours))
    return {_renamed(key, names): array for key, array in arrays.items()}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    layer, mark, place = key.partition(".#")
    return names.get(layer, layer) + mark + place


def _as_made(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers in the order in which Keras' own code makes them: module by module, branch by branch.

    model.layers is sorted by depth, which interleaves the branches of a module.  Projections come last in a block there.
    """
    rank: dict[str, int] = {}
    for i, layer in enumerate(model.layers):
        rank.setdefault(_module_of(layer.name), i)
    return sorted(model.layers, key=lambda layer: (rank[_module_of(layer.name)], PROJECTION.sub(r"\1_9_", layer.name)))


def _module_of(layer: str) -> str:
    """The module or block that the layer is part of, else the layer."""
    match = MODULE.match(layer)
    return match[0] if match else layer
