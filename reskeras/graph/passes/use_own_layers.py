"""Keras' grouped convolution, upsampling, group and unit normalization  =>  the package's: the same numbers.

Keras compiles a grouped convolution with XLA, which other runtimes do not have.  It computes a group
normalization and a nearest upsampling on five axes, where edge runtimes stop at four, and a unit
normalization with a sum that overflows in half precision.
"""
from __future__ import annotations

from dataclasses import replace

import keras

from ..graph import Graph
from ..layer_traits import GROUPED_CONV
from ..node import Node, make_node
from ..pass_result import PassResult

GROUP_NORM, UPSAMPLING = "reskeras>GroupNormalization", "reskeras>UpSampling2D"
UNIT_NORM = "reskeras>UnitNormalization"
TO_LAST, TO_FIRST = (2, 3, 1), (3, 1, 2)        # the axes of an image, as `Permute` counts them


def use_own_layers(graph: Graph) -> PassResult:
    """Rewrites these layers, shared ones too.

    If the channels are first, a convolution or normalization gets them last, between two layers that permute
    the axes; declines if it is shared.
    """
    own = {node.key: name for node in graph.nodes if (name := _find_own_layer(graph, node))}
    declined = {node.name: "its channels are first, and it is shared" for node in graph.nodes
                if node.key in own and _needs_permutation(node) and graph.is_shared(node)}
    rewritten = [node for node in graph.nodes if node.key in own and node.name not in declined]
    new_nodes = {node.key: _make_own(graph, node, own[node.key]) for node in rewritten}
    return PassResult(graph.edit(new_nodes, {}), tuple(dict.fromkeys(node.name for node in rewritten)),
                      declined)


def _find_own_layer(graph: Graph, node: Node) -> str:
    """The registered name of the layer to use; "" if the layer stays."""
    config = node.config
    if node.type_name == "Conv2D" and config["groups"] > 1:
        return GROUPED_CONV
    if node.type_name == "UpSampling2D" and config["interpolation"] == "nearest":
        return UPSAMPLING
    if node.type_name == "UnitNormalization":
        return UNIT_NORM
    is_map = node.type_name == "GroupNormalization" and len(graph.shapes.get(node.inputs[0]) or ()) == 4
    return GROUP_NORM if is_map and config["axis"] in (-1, 1, 3) else ""


def _needs_permutation(node: Node) -> bool:
    """Whether the channels are first, where the package's layer has them last; others take both."""
    if node.type_name in ("UpSampling2D", "UnitNormalization"):
        return False
    return node.config.get("data_format") == "channels_first" or node.config.get("axis") == 1


def _make_own(graph: Graph, node: Node, registered_name: str) -> tuple[Node, ...]:
    """The package's layer; between two permutations, of which the last has the layer's name."""
    own = replace(node, layer_class=keras.saving.get_registered_object(registered_name))
    if not _needs_permutation(node):
        return (own,)
    last = {"axis": -1} if "axis" in node.config else {"data_format": "channels_last"}
    name = graph.find_unused_name(f"{node.name}_channels_last")
    before = make_node(keras.layers.Permute, graph.find_unused_name(f"{node.name}_permuted"), node.inputs,
                       node, dims=TO_LAST)
    own = replace(own, name=name, config={**node.config, "name": name, **last}
                  ).with_inputs({node.inputs[0]: before.output})
    return before, own, make_node(keras.layers.Permute, node.name, [own.output], node, dims=TO_FIRST)
