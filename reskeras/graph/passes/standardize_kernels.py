"""StandardizedConv2D  =>  the convolution with its standardized kernel:  W' = (W - mean W) / sqrt(var W + epsilon)."""
from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..layer_traits import GROUPED, STANDARDIZED


def standardize_kernels(graph: Graph) -> Rewritten:
    """The statistics of each filter are taken once, not at every call.  Nothing is declined, a shared layer neither."""
    sites = [node for node in graph.nodes if node.word == STANDARDIZED]
    return Rewritten(graph.edit({node.key: (_plain(node),) for node in sites}, {}), tuple(node.name for node in sites))


def _plain(node: Node) -> Node:
    kernel, *bias = (w.astype(np.float64) for w in node.weights)
    spread = np.sqrt(kernel.var(axis=(0, 1, 2)) + node.config["epsilon"])
    config = {name: value for name, value in node.config.items() if name != "epsilon"}
    return replace(node, kind=keras.saving.get_registered_object(GROUPED), config=config,
                   weights=((kernel - kernel.mean(axis=(0, 1, 2))) / spread, *bias))
