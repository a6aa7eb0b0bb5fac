"""StandardizedConv2D  =>  the convolution with the kernel  W' = (W - mean W) / sqrt(var W + epsilon)."""
from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from ..graph import Graph
from ..layer_traits import GROUPED_CONV, STANDARDIZED_CONV, has_only_kernel_and_bias
from ..node import Node
from ..pass_result import PassResult


def standardize_kernels(graph: Graph) -> PassResult:
    """Computes the statistics of each filter once instead of at every call.

    A shared layer has only one kernel.  Declines a layer with a low-rank adapter, whose kernel is a sum.
    """
    sites = [node for node in graph.nodes if node.type_name == STANDARDIZED_CONV]
    declined = {node.name: "it has more than a kernel and a bias" for node in sites
                if not has_only_kernel_and_bias(node)}
    new_nodes = {node.key: (_standardize(node),) for node in sites if node.name not in declined}
    return PassResult(graph.edit(new_nodes, {}), tuple(name for name, _ in new_nodes), declined)


def _standardize(node: Node) -> Node:
    kernel, *bias = (w.astype(np.float64) for w in node.weights)
    spread = np.sqrt(kernel.var(axis=(0, 1, 2)) + node.config["epsilon"])
    config = {name: value for name, value in node.config.items() if name != "epsilon"}
    return replace(node, layer_class=keras.saving.get_registered_object(GROUPED_CONV), config=config,
                   weights=((kernel - kernel.mean(axis=(0, 1, 2))) / spread, *bias))
