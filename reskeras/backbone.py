"""`features`: a net as a backbone, from images to feature maps of several resolutions."""
from __future__ import annotations

import os
import re
from typing import Any, Iterable, Sequence

import keras

from .catalog import check_model_kind, is_file_name, open_model
from .errors import ArgumentError, to_whole_number
from .graph.graph import Graph, high_recursion_limit

# The Inception nets have no stages: level -> the layers at that level, of which the last one counts
_INCEPTION_LEVELS = {
    1: r"conv3_ac|conv2d_2b_ac",
    2: r"mixed_4a|conv2d_4a_ac",
    3: r"inception_a\d+|block35_\d+_ac",
    4: r"inception_b\d+|block17_\d+_ac",
    5: r"inception_c\d+|conv_7b_ac",
}


def features(model: keras.Model | str | os.PathLike[str], levels: Sequence[int] | int = (2, 3, 4, 5), *,
             dtype: str | keras.DTypePolicy | None = None, **arguments: Any) -> keras.Model:
    """Makes a model from images to feature maps, for detection and segmentation.

    Level l is the last output of the stage whose layers are named conv{l}.  It has stride 2^l in the ImageNet
    nets (less with `output_stride`) and 2^(l - 2) in the CIFAR nets, whose levels are 2, 3 and 4.

    Args:
        model: the name of a net, which is built without its top; the path of a `.keras` file; or a model.
        levels: one level or several, in the order of the outputs.
        dtype: a Keras dtype policy, such as "mixed_bfloat16", for a net that is given by its name.
        **arguments: further arguments of every builder, for a net that is given by its name.

    Returns:
        A model whose outputs are a list of feature maps (N, h, w, c), one for each level.  Its attributes
        `strides` (in pixels) and `channels` describe them; they belong to this object and are not saved.

    Raises:
        ValueError: for a level that the net does not have (the message lists its levels), and for a `model`
            that is neither a name, nor a file, nor a model.
        TypeError: for `dtype` or `arguments` if `model` is not a name.
        FileNotFoundError: if there is no such file.

    Example:
        >>> backbone = reskeras.features("resnet50d", input_shape=(512, 512, 3))
        >>> backbone.strides, backbone.channels
        ((4, 8, 16, 32), (256, 512, 1024, 2048))
    """
    check_model_kind(model)
    if dtype is not None:
        arguments["dtype"] = dtype
    if isinstance(model, str) and not is_file_name(model):
        arguments = {"include_top": False, **arguments}
    model = open_model(model, **arguments)

    wanted = _check_levels(levels)
    strides = _compute_strides(Graph.of(model, weights=False))
    last_layers = _find_last_layers(model, strides)
    if not wanted or any(level not in last_layers for level in wanted):
        raise ArgumentError("levels", levels, f"some of {tuple(last_layers)}, the levels of {model.name}")

    with high_recursion_limit():
        outputs = [last_layers[level].output for level in wanted]
        result = keras.Model(model.inputs, outputs, name=f"{model.name}_features")
    result.strides = tuple(strides[last_layers[level].name] for level in wanted)
    result.channels = tuple(tensor.shape[-1] for tensor in result.outputs)
    return result


def _check_levels(levels: Any) -> tuple[int, ...]:
    items = list(levels) if isinstance(levels, Iterable) and not isinstance(levels, str) else [levels]
    numbers = [to_whole_number(item) for item in items]
    if any(number is None for number in numbers):
        raise ArgumentError("levels", levels, "a whole number or several, such as (3, 4, 5)")
    return tuple(number for number in numbers if number is not None)


def _compute_strides(graph: Graph) -> dict[str, int]:
    """The stride of each layer's output: pixels of the image from one position to the next.

    Args:
        graph: the graph of a net whose branches have equal strides where they meet.

    Returns:
        Name of the layer -> the product of the strides on the way from the image.
    """
    total: dict[str, int] = {}
    for node in graph.nodes:
        stride = node.config.get("strides") or node.config.get("stride") or 1
        before = total[node.inputs[0][0]] if node.inputs else 1
        total[node.name] = before * (stride if isinstance(stride, int) else stride[0])
    return total


def _find_last_layers(model: keras.Model, strides: dict[str, int]) -> dict[int, keras.layers.Layer]:
    """Returns level -> its last layer before the next stride (V2 nets of keras.applications stride last)."""
    last_layers: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        match = re.fullmatch(r"conv(\d+)_block\d+_out", layer.name)
        levels = [int(match[1])] if match else [
            level for level, names in _INCEPTION_LEVELS.items() if re.fullmatch(names, layer.name)]
        for level in levels:
            if level not in last_layers or strides[layer.name] <= strides[last_layers[level].name]:
                last_layers[level] = layer
    return last_layers
