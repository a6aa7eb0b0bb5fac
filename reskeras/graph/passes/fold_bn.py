"""Conv2D -> BatchNormalization  =>  Conv2D.   W' = a W,  b' = a (b - mean) + beta,  a = gamma / sqrt(var + eps)"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from keras import layers

from ..graph import Graph, Node

# Where the output channels are in the kernel; subclasses may do more with a kernel than to multiply by it.
CHANNELS_LAST = ("Conv1D", "Conv2D", "GroupedConv2D", "Dense")


def fold_bn(graph: Graph) -> Graph:
    """Every normalization that follows a linear layer goes into that layer.

    Declines where something else reads the layer's own output, where the layer has an activation, or where either is
    shared: then the layer's own values are needed, or there is no linear map to fold into.
    """
    for norm in graph.nodes:
        if norm.kind is layers.BatchNormalization and (conv := foldable(graph, norm)):
            norm = next(n for n in graph.nodes if (n.name, n.call) == (norm.name, norm.call))
            graph = graph.swap(conv, folded(conv, norm)).bypass(norm)
    return graph


def foldable(graph: Graph, norm: Node) -> Node | None:
    """The layer that `norm` can go into."""
    norm = next(n for n in graph.nodes if (n.name, n.call) == (norm.name, norm.call))
    conv = graph.node(norm.inputs[0])
    alone = len(graph.readers(conv)) == 1 and not graph.is_output(conv) and not graph.shared(conv)
    known = conv.kind.__name__ in (*CHANNELS_LAST, "DepthwiseConv2D") and conv.config["activation"] == "linear"
    last = norm.config["axis"] in (-1, 3) and conv.config.get("data_format", "channels_last") == "channels_last"
    return conv if alone and known and last and not graph.shared(norm) and not graph.is_output(norm) else None


def folded(conv: Node, norm: Node) -> Node:
    # float64 from here on: the rounding to the layer's own dtype happens once, when the graph is built
    kernel, *rest = (w.astype(np.float64) for w in conv.weights)
    values = [w.astype(np.float64) for w in norm.weights]
    variance, mean = values.pop(), values.pop()
    gamma = values.pop(0) if norm.config["scale"] else 1.0
    beta = values.pop(0) if norm.config["center"] else 0.0
    a = gamma / np.sqrt(variance + norm.config["epsilon"])
    # a depthwise kernel is (height, width, channels, multiplier), its outputs channel by channel
    kernel = kernel * (a.reshape(kernel.shape[2:]) if conv.kind.__name__ == "DepthwiseConv2D" else a)
    bias = a * ((rest[0] if rest else 0.0) - mean) + beta
    return replace(conv, config={**conv.config, "use_bias": True}, weights=(kernel, bias))
