"""A 1x1 max pool that subsamples  =>  a 1x1 depthwise convolution with a kernel of ones: the same numbers.

XNNPACK, which runs .tflite files on CPUs, takes neither pools of one position nor slices with a stride, so
that they cut the graph in two; it takes this convolution.
"""
from __future__ import annotations

import keras
import numpy as np

from ..graph import Graph
from ..node import Node, NodeKey, make_node
from ..pass_result import PassResult

POOLS = ("MaxPooling2D", "AveragePooling2D")


def subsample_by_convolution(graph: Graph) -> PassResult:
    """Rewrites every pool of one position that has a stride.

    Declines if the pool is shared, has the channels first or unequal strides, or if its number of channels
    is not known.  Not for int8: a max pool keeps the scale of its input, a convolution rounds again.
    """
    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    declined: dict[str, str] = {}
    for node in graph.nodes:
        if node.type_name not in POOLS or tuple(node.config["pool_size"]) != (1, 1):
            continue
        shape = graph.shapes.get(node.inputs[0]) or (None,)
        down, right = node.config["strides"]
        if graph.is_shared(node):
            declined[node.name] = "it is shared"
        elif down != right or node.config["data_format"] != "channels_last" or shape[-1] is None:
            declined[node.name] = "it has unequal strides, or its channels are not last or not known"
        else:
            new_nodes[node.key] = (make_node(
                keras.layers.DepthwiseConv2D, node.name, node.inputs, node, kernel_size=1, strides=down,
                use_bias=False, weights=(np.ones((1, 1, shape[-1], 1), "float32"),)),)
    return PassResult(graph.edit(new_nodes, {}), tuple(name for name, _ in new_nodes), declined)
