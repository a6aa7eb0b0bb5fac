"""`features`: a net as a backbone."""
from __future__ import annotations

import re
from typing import Any, Sequence

import keras

from .catalog import create
from .graph.graph import Graph, deep, refs_in

# Level -> the layers that leave it, the last of them counts.  Inception has no stages of our name: its modules by stride.
INCEPTION = {1: r"conv3_ac|conv2d_2b_ac", 2: r"mixed_4a|conv2d_4a_ac", 3: r"inception_a\d+|block35_\d+_ac",
             4: r"inception_b\d+|block17_\d+_ac", 5: r"inception_c\d+|conv_7b_ac"}


def features(model_or_name: keras.Model | str, levels: Sequence[int] = (2, 3, 4, 5), **kwargs: Any) -> keras.Model:
    """A model from images to feature maps, for detection and segmentation.

    Level l of a net is the last output of its stage conv{l}, which has stride 2^l in the ImageNet nets (less with
    `output_stride`; 2^(l - 2) in the CIFAR nets, whose stages are 2, 3 and 4).  The model's outputs are a list, one map
    for each level; its attributes `strides` and `channels` say what they are.

    Arguments:
        model_or_name: one of our nets, or the name of one to build without its top.
        levels: which stages, in this order.
        **kwargs: as every builder takes, for a name.
    Raises: ValueError for a level that the net has not; the message names those it has.
    """
    model = model_or_name
    if isinstance(model, str):
        model = create(model, **{"include_top": False, **kwargs})
    elif kwargs:
        raise TypeError(f"{', '.join(kwargs)}: arguments of a builder need a name, not a built model")
    known = stage_outputs(model)
    missing = [level for level in levels if level not in known]
    if missing or not levels:
        raise ValueError(f"levels={tuple(levels)}: {model.name} has the levels {tuple(known)}")
    with deep():
        result = keras.Model(model.inputs, [known[level] for level in levels], name=f"{model.name}_features")
    result.strides = strides(result)
    result.channels = tuple(tensor.shape[-1] for tensor in result.outputs)
    return result


def strides(model: keras.Model) -> tuple[int, ...]:
    """Of each output against the image: the product of its layers' strides, exact at any size."""
    graph = Graph.of(model, weights=False)
    total: dict[tuple[str, int], int] = {}
    for node in graph.nodes:
        own = node.config.get("strides") or node.config.get("stride") or 1
        before = total[node.inputs[0][:2]] if node.inputs else 1
        total[node.name, node.call] = before * (own if isinstance(own, int) else own[0])
    return tuple(total[ref[:2]] for ref in refs_in(graph.outputs))


def stage_outputs(model: keras.Model) -> dict[int, keras.KerasTensor]:
    """Level -> the tensor that leaves it."""
    found: dict[int, keras.KerasTensor] = {}
    strided: set[int] = set()
    for layer in model.layers:
        if match := re.fullmatch(r"max_pooling2d(?:_(\d+))?", layer.name):
            strided.add(int(match[1] or 0) + 2)     # keras.applications' V2 strides in a stage's last block
        if match := re.fullmatch(r"conv(\d+)_block\d+_out", layer.name):
            if int(match[1]) not in strided:
                found[int(match[1])] = layer.output
        for level, pattern in INCEPTION.items():
            if re.fullmatch(pattern, layer.name):
                found[level] = layer.output
    return found
