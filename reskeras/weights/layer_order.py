"""Files whose layers do not have names of ours: the order of the layers says which is which."""
from __future__ import annotations

import re
from typing import Any, Mapping, Sequence, TypeVar

import keras
import numpy as np
from keras import layers

from ..errors import make_printable
from .name_rules import HEAD

_Tensor = TypeVar("_Tensor")    # an array, or a `readers.StoredTensor`, whose values are not read yet
_MODULE = re.compile(r"conv\d+_block\d+|\w+?(?=_branch)")
_PROJECTION = re.compile(r"(block\d+)_0_")
_GATE = re.compile(r"_se_(reduce|expand)")
# Keras' own names of layers without a name: "conv2d", "conv2d_1" ...
_NUMBERED_LAYERS = {"conv2d": layers.Conv2D, "batch_normalization": layers.BatchNormalization,
                    "dense": layers.Dense}


def rename_numbered_layers(model: keras.Model, tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Gives our names to layers that Keras numbered ("conv2d_17.#0"), in the order of their creation.

    Keras' own code makes the projection of a block last, that of tensorflow/tpu makes it first.  The order in
    which all shapes are those of the net is taken.

    Args:
        model: the net that gets the tensors.
        tensors: the tensors of a file, or their arrays, by "layer.#index".
    """
    plans = [_plan_names(model, tensors, is_projection_first) for is_projection_first in (False, True)]
    names = next((plan for plan in plans if _fits(model, tensors, plan)), plans[0])
    return _rename(tensors, names)


def rename_by_order(model: keras.Model, tensors: Mapping[str, _Tensor],
                    order: Sequence[str]) -> tuple[dict[str, _Tensor], list[str]]:
    """Gives our names to the layers of a file by their order, if the file says it and their names do not fit.

    Args:
        model: the net.
        tensors: the tensors of the file, or their arrays, by "layer.#index".
        order: the layers in the order of Keras' `model.layers`; empty if the file does not say it.

    Returns:
        The tensors, and messages for the user.
    """
    ours = [layer.name for layer in model.layers if layer.weights]
    layers_of_file = {key.partition(".#")[0] for key in tensors}
    if len(ours) != len(order) or layers_of_file == set(ours) or not layers_of_file <= set(order):
        return dict(tensors), []
    names = dict(zip(order, ours))
    other = next(layer for layer in order if layer != names[layer])
    return _rename(tensors, names), [
        f"its layers have other names than those of the net, such as {make_printable(other[:100])!r}: they "
        f"are taken in Keras' order, this one as {names[other]!r}; compare a prediction of both nets"]


def check_strides(model: keras.Model, source: str) -> None:
    """Checks that a net can have the weights of Slim's ResNets, which stride and pool elsewhere than others.

    Their stages stride in their last block, the pool of the stem pads only at the end.  Names and shapes of
    other nets are the same, so that only this says the difference.

    Args:
        model: the net.
        source: the name of the file in an error.

    Raises:
        ValueError: if the last stage strides, or the stem's pool pads at the beginning.
    """
    def get_start(padding: Any) -> int:
        return int(np.ravel(padding)[0])

    for layer in model.layers:
        strides = layer.name.startswith("conv5_block1_") and max(getattr(layer, "strides", (1,))) > 1
        pads = layer.name == "pool1_pad" and get_start(getattr(layer, "padding", 0)) > 0
        if strides or pads:
            raise ValueError(f"{source}: Slim's ResNets stride in the last block of a stage, and the pool of "
                             f"their stem pads only at the end, unlike {model.name}; build the net with "
                             "strides=(2, 2, 2, 1), stride_at='last', pool='max_ceil'")


def _plan_names(model: keras.Model, tensors: Mapping[str, Any],
                is_projection_first: bool) -> dict[str, str]:
    """Our names of the numbered layers of a file, if the net has as many."""
    names: dict[str, str] = {}
    known = {key.partition(".#")[0] for key in tensors if ".#" in key}
    in_order = _list_in_creation_order(model, is_projection_first)
    for base, kind in _NUMBERED_LAYERS.items():
        pattern = re.compile(rf"{base}(?:_(\d+))?")
        numbered = sorted((int(m[1] or 0), layer) for layer in known if (m := pattern.fullmatch(layer)))
        ours = [layer.name for layer in in_order if isinstance(layer, kind) and layer.name not in known]
        if len(ours) == len(numbered):
            names.update((layer, our_name) for (_, layer), our_name in zip(numbered, ours))
    return names


def _fits(model: keras.Model, tensors: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    """Whether the first variable of each renamed layer has the shape of ours; classifiers may differ."""
    shapes = {layer.name: tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
    found = {ours: tensors[f"{layer}.#0"].shape for layer, ours in names.items()
             if f"{layer}.#0" in tensors and ours != HEAD}
    return all(shape == shapes[layer] for layer, shape in found.items())


def _rename(tensors: Mapping[str, _Tensor], names: Mapping[str, str]) -> dict[str, _Tensor]:
    def rename(key: str) -> str:
        layer, separator, index = key.partition(".#")
        return names.get(layer, layer) + separator + index

    return {rename(key): tensor for key, tensor in tensors.items()}


def _list_in_creation_order(model: keras.Model, is_projection_first: bool) -> list[Any]:
    """The layers in the order in which their code makes them: module by module, branch by branch.

    `model.layers` is sorted by depth, so the branches of a module are mixed there.
    """
    position: dict[str, int] = {}
    for i, layer in enumerate(model.layers):
        position.setdefault(_get_module(layer.name), i)

    def get_place(layer: Any) -> tuple[int, str]:
        name = layer.name if is_projection_first else _PROJECTION.sub(r"\1_9_", layer.name)
        name = _GATE.sub(lambda gate: "_4_" if gate[1] == "reduce" else "_5_", name)    # after "_3_"
        return position[_get_module(layer.name)], name

    return sorted(model.layers, key=get_place)


def _get_module(layer: str) -> str:
    """The module or block that a layer is part of; if it is part of none, the layer's own name."""
    match = _MODULE.match(layer)
    return match[0] if match else layer
