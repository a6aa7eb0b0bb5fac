"""Keras' grouped convolution, group normalization and upsampling  =>  the package's: the same numbers.

Keras compiles a grouped convolution with XLA, which other runtimes do not have, and computes a group
normalization and a nearest upsampling on five axes, where edge runtimes stop at four.
"""
from __future__ import annotations

from dataclasses import replace

import keras

from ..graph import Graph
from ..layer_traits import GROUPED_CONV
from ..node import Node
from ..pass_result import PassResult

GROUP_NORM, UPSAMPLING = "reskeras>GroupNormalization", "reskeras>UpSampling2D"


def use_own_layers(graph: Graph) -> PassResult:
    """Rewrites these layers, shared ones too, but a convolution or normalization only of the last axis."""
    own = {node.key: name for node in graph.nodes if (name := _find_own_layer(graph, node))}
    new_nodes = {node.key: (replace(node, layer_class=keras.saving.get_registered_object(own[node.key])),)
                 for node in graph.nodes if node.key in own}
    return PassResult(graph.edit(new_nodes, {}), tuple(dict.fromkeys(name for name, _ in own)))


def _find_own_layer(graph: Graph, node: Node) -> str:
    """The registered name of the layer to use; "" if the layer stays."""
    config = node.config
    if node.type_name == "Conv2D" and config["groups"] > 1 and config["data_format"] == "channels_last":
        return GROUPED_CONV
    if node.type_name == "UpSampling2D" and config["interpolation"] == "nearest":
        return UPSAMPLING
    is_map = node.type_name == "GroupNormalization" and len(graph.shapes.get(node.inputs[0]) or ()) == 4
    return GROUP_NORM if is_map and config["axis"] in (-1, 3) else ""
