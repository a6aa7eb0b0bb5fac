"""The layers that the nodes of a converted graph come from."""
from __future__ import annotations

import re
from typing import Iterable, Mapping, Sequence

from ..errors import ArgumentError


def find_layers(names: Iterable[str], layers: Sequence[str]) -> set[str]:
    """The layers among the parts of some names, "net_1/conv1_conv_1/BiasAdd".

    Keras adds "_1" to a layer's name when the model is traced again.

    Args:
        names: the names that a converter gave to a node and to its weights.
        layers: the names of the model's layers.
    """
    parts = {part for name in names for part in re.split("[/;:]", name)}
    return (parts | {re.sub(r"_\d+$", "", part) for part in parts}) & set(layers)


def choose_float_nodes(makers: Mapping[str, set[str]], float_layers: Sequence[str]) -> list[str]:
    """The nodes that stay in floating point.

    Args:
        makers: a node -> the layers that it comes from.
        float_layers: as `export` takes them.

    Raises:
        ArgumentError: one of the layers has no node.
    """
    if missing := sorted(set(float_layers).difference(*makers.values())):
        raise ArgumentError(
            "float_layers", list(float_layers), "layers that are operators of the file",
            hint=f"{', '.join(missing)} is not one, as it was folded into the layer before it, such as a "
                 "batch normalization; name that layer")
    return [node for node, layers in makers.items() if layers & set(float_layers)]
