"""Converts a model with fake quantization: the int8 file has the ranges that were trained.

The converter reads them from the operations of fake quantization in the SavedModel, and gives each operator
the scale and the zero point that follow.  What a layer in floating point returns must not look like that: the
converter would quantize a convolution between two such operations.  So an operation that it does not fuse is
put between the layer and the fake quantization.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from ...graph.graph import Graph
from ...graph.layer_traits import LINEAR
from ...graph.node import Node, make_node
from ...graph.passes.static_shapes import static_shapes
from ...images.preprocessing import Preprocessing
from ...quantization.insertion import quantize_kernel
from ...quantization.layers import FakeQuantize
from ...quantization.placement import find_float_layers
from ..byte_input import make_normalization, put_first
from ..options import ExportOptions
from .quantize import set_one_scale

# A slope for negative numbers of which nothing is lost in float32 but the last bit; 1 would be optimized away
_ALMOST_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
_PIXELS = (0.0, 255.0)


def prepare_for_converter(model: keras.Model, options: ExportOptions,
                          normalization: Preprocessing | None = None) -> keras.Model:
    """The model as the converter needs it.

    Args:
        model: a model with fake quantization.
        options: options of the file.
        normalization: the preprocessing whose scaling goes into the file, if it takes bytes.
    """
    height, width, channels = options.shape[1:]
    assert height and width and channels
    graph = static_shapes(Graph.of(model), (height, width, channels), options.shape[0] or 1).graph
    graph = _keep_floats(graph)
    return _round_once(graph if normalization is None else normalize_pixels(graph, normalization)).build()


def _round_once(graph: Graph) -> Graph:
    """The graph with operations of fake quantization only, which the converter knows."""
    return replace(graph, nodes=tuple(
        node.with_config(rounds_as_kernels=False) if node.layer_class is FakeQuantize else node
        for node in graph.nodes))


def _keep_floats(graph: Graph) -> Graph:
    """The graph with an activation that changes nothing between layers in floats and fake quantization.

    It is put after a layer with a kernel, and before another layer: the converter would compute the means of
    a group normalization in integers.
    """
    new_nodes: dict[Any, tuple[Node, ...]] = {}
    float_layers = set(find_float_layers(graph))
    for node in graph.nodes:
        (source, *_) = [graph.get_node(ref) for ref in node.inputs] or [node]
        if node.layer_class is FakeQuantize:
            is_between = source.type_name in LINEAR
        else:
            is_between = (node.name in float_layers and node.type_name not in LINEAR
                          and len(node.inputs) == 1 and source.layer_class is FakeQuantize)
        if is_between:
            layer = source if node.layer_class is FakeQuantize else node
            barrier = make_node(keras.layers.LeakyReLU, graph.find_unused_name(f"{layer.name}_float"),
                                node.inputs, layer, negative_slope=_ALMOST_ONE)
            new_nodes[node.key] = (barrier, node.with_inputs({node.inputs[0]: barrier.output}))
    return graph.edit(new_nodes, {})


def normalize_pixels(graph: Graph, preprocessing: Preprocessing) -> Graph:
    """The graph with the normalization before it, as a convolution of integers.

    Each of its outputs has one weight, which an integer holds exactly.

    Args:
        graph: of a model with fake quantization.
        preprocessing: how pixels become what the model takes.
    """
    image = next(node for node in graph.nodes if node.layer_class is keras.layers.InputLayer)
    (reader,) = graph.readers(image)
    pixels = make_node(FakeQuantize, graph.find_unused_name("pixels_quantize"), [image.output], reader,
                       fixed_range=_PIXELS)
    name = graph.find_unused_name("normalization")
    scaling = quantize_kernel(make_normalization(name, pixels.output, reader, preprocessing))
    return put_first(graph, image, [pixels, scaling])


def convert_with_trained_ranges(folder: str, options: ExportOptions) -> bytes:
    """Converts the SavedModel of what `prepare_for_converter` gave.

    Args:
        folder: folder of the SavedModel.
        options: options of the file.
    Returns:
        The content of the .tflite file.
    """
    import tensorflow as tf
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    set_one_scale(converter, options.target)
    converter.inference_input_type = converter.inference_output_type = getattr(tf, options.io)
    return bytes(converter.convert())
