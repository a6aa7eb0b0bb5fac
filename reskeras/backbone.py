"""`features`: a net as a backbone."""
from __future__ import annotations

import re
from typing import Any, Sequence

import keras

from .catalog import create
from .graph.graph import Graph, high_recursion_limit

# Level -> the layers that leave it, the last of them counts.  Inception has no stages of our name: its modules by stride.
_INCEPTION_LEVELS = {1: r"conv3_ac|conv2d_2b_ac", 2: r"mixed_4a|conv2d_4a_ac", 3: r"inception_a\d+|block35_\d+_ac",
             4: r"inception_b\d+|block17_\d+_ac", 5: r"inception_c\d+|conv_7b_ac"}


def features(model_or_name: keras.Model | str, levels: Sequence[int] | int = (2, 3, 4, 5), **kwargs: Any) -> keras.Model:
    """A model from images to feature maps, for detection and segmentation.

    Level l of a net is the last output of its stage conv{l}, which has stride 2^l in the ImageNet nets (less with
    `output_stride`; 2^(l - 2) in the CIFAR nets, whose stages are 2, 3 and 4).  The model's outputs are a list, one map
    for each level; its attributes `strides` and `channels` say what they are (of this object: a saved file has them not).

    Arguments:
        model_or_name: one of our nets, or the name of one to build without its top.
        levels: which stages, in this order.
        **kwargs: as every builder takes, for a name.
    Raises: ValueError for a level that the net has not (the message names those it has), TypeError for what is no net.
    """
    model = model_or_name
    if isinstance(model, str):
        model = create(model, **{"include_top": False, **kwargs})
    elif kwargs:
        raise TypeError(f"{', '.join(kwargs)}: arguments of a builder need a name, not a built model")
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r}: expected a net's name or a built keras.Model")
    graph, wanted = Graph.of(model, weights=False), _to_levels(levels)
    stride = compute_strides(graph)
    known = _stage_outputs(model, stride)
    missing = [level for level in wanted if level not in known]
    if missing or not wanted:
        raise ValueError(f"levels={wanted}: {model.name} has the levels {tuple(known)}")
    with high_recursion_limit():
        result = keras.Model(model.inputs, [known[level].output for level in wanted], name=f"{model.name}_features")
    result.strides = tuple(stride[known[level].name] for level in wanted)
    result.channels = tuple(tensor.shape[-1] for tensor in result.outputs)
    return result


def _to_levels(levels: Sequence[int] | int) -> tuple[int, ...]:
    return (levels,) if isinstance(levels, int) else tuple(levels)


def compute_strides(graph: Graph) -> dict[str, int]:
    """Of each layer's output against the image: the product of the strides on the way, exact at any size."""
    total: dict[str, int] = {}
    for node in graph.nodes:
        own = node.config.get("strides") or node.config.get("stride") or 1
        before = total[node.inputs[0][0]] if node.inputs else 1
        total[node.name] = before * (own if isinstance(own, int) else own[0])
    return total


def _stage_outputs(model: keras.Model, stride: dict[str, int]) -> dict[int, keras.layers.Layer]:
    """Level -> the layer that leaves it: the last one before the stage strides (keras.applications' V2 strides at its end)."""
    found: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        match = re.fullmatch(r"conv(\d+)_block\d+_out", layer.name)
        levels = [int(match[1])] if match else [n for n, names in _INCEPTION_LEVELS.items() if re.fullmatch(names, layer.name)]
        for level in levels:
            if level not in found or stride[layer.name] <= stride[found[level].name]:
                found[level] = layer
    return found
