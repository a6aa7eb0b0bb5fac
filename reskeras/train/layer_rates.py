"""A lower learning rate for the layers that are farther from the classifier (`layer_decay`).

The groups are those of timm's `param_groups_layer_decay`: the stem, each block, and the classifier.  (For
inception_resnet_v2, timm has other groups.)
"""
from __future__ import annotations

import re
from typing import Any, Iterable

import keras

from ..errors import ArgumentError
from .model_check import iterate_layers

# the layers of a block, by the names of ResNets, Inception-v4 and Inception-ResNet-v2
_BLOCK = re.compile(r"(conv\d+_block\d+|mixed_\d[a-z]|inception_[abc]\d+|reduction_[ab]|block\d+_\d+)_")
_NORMALIZATION = (keras.layers.BatchNormalization, keras.layers.GroupNormalization,
                  keras.layers.LayerNormalization)


def find_layer_scales(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """The factor of the learning rate for each layer with weights.

    Args:
        model: a net of this package, or a model with one inside.
        layer_decay: the factor from each group of layers to the one before it.

    Returns:
        {name of the layer: factor}: 1 for the classifier, `layer_decay` for the last block, and so on.  A
        normalization between the last block and the classifier belongs to the last block.

    Raises:
        ArgumentError: if no layer has the name of a block.
    """
    layers = [layer for layer in iterate_layers(model) if layer.weights]
    blocks = list(dict.fromkeys(match[1] for layer in layers if (match := _BLOCK.match(layer.name))))
    if not blocks:
        raise ArgumentError("layer_decay", layer_decay, f"0, because the layers of {model.name} are not "
                            "named as those of this package's nets, such as 'conv2_block1_1_conv'")
    groups, seen = {}, 0
    for layer in layers:
        if match := _BLOCK.match(layer.name):
            groups[layer.name] = blocks.index(match[1]) + 1
            seen = max(seen, groups[layer.name])
        else:
            is_head = seen == len(blocks) and not isinstance(layer, _NORMALIZATION)
            groups[layer.name] = seen + is_head
    return {name: layer_decay ** (len(blocks) + 1 - group) for name, group in groups.items()}


def list_rate_scales(model: keras.Model, layer_decay: float, variables: Iterable[Any]) -> list[float]:
    """The factor of the learning rate for each variable.

    Args:
        model: the net, see `find_layer_scales`.
        layer_decay: likewise; 0 gives every variable the same rate.
        variables: those that are trained.

    Returns:
        The factors in the order of the variables; [] for the same rate.
    """
    if not layer_decay:
        return []
    scales = find_layer_scales(model, layer_decay)
    of_variable = {id(variable): scales[layer.name] for layer in iterate_layers(model)
                   for variable in layer.weights}
    return [of_variable[id(variable)] for variable in variables]
