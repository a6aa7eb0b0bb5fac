"""int8 files that take a camera's bytes, made of models that take prepared values (`io="uint8"`).

The normalization goes inside, by channel:  x = scale * byte + offset.  Where the image is not padded, it is
folded into the first convolution.  Elsewhere a 1x1 convolution computes it before the first padding, whose
zeros are those of prepared values: a border of byte 0 would be black, not the mean.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import keras
import numpy as np

from ..errors import ArgumentError
from ..graph.graph import Graph
from ..graph.keras_config import TensorRef
from ..graph.node import Node, make_node
from ..graph.passes.fold_bn import fold_bn
from ..images.preprocessing import Preprocessing
from ..model_metadata import METADATA_KEY
from .formats import BatchRunner
from .keras_reference import KerasReference
from .options import GPU, ExportOptions

_NAME = "normalization"


def find_normalization(options: ExportOptions) -> Preprocessing | None:
    """The preprocessing whose normalization goes into the file; None if none does.

    Raises: ArgumentError if the file takes bytes, and it is not known how they become what the model takes.
    """
    if options.io != "uint8":
        return None
    is_gpu = options.target == GPU
    name, value = ("target", GPU) if is_gpu else ("io", "uint8")
    if options.preprocessing is None:
        other = ("leave `target` out: the plain SavedModel takes prepared values" if is_gpu else
                 "give 'int8' as `io`: such a file takes quantized prepared values")
        raise ArgumentError("preprocessing", None, "how the model's images are prepared, because a file "
                            f"with {name}={value!r} takes pixels and prepares them inside",
                            hint=f"or {other}")
    if options.preprocessing.has_values:
        others = "None" if is_gpu else "'int8' or 'float32'"
        raise ArgumentError(name, value, f"{others}, because the model's images are taken by value, and "
                            "are no pixels of 0 to 255")
    return None if options.preprocessing.pixels == "raw" else options.preprocessing


def to_byte_options(options: ExportOptions) -> ExportOptions:
    """The options of a file with the normalization inside; what it says of itself is that it takes pixels."""
    assert options.preprocessing is not None
    preprocessing = options.preprocessing.without_scaling()
    model = dict(options.metadata[METADATA_KEY], preprocessing=preprocessing.get_config(), scales=True)
    return replace(options, preprocessing=preprocessing, metadata={**options.metadata, METADATA_KEY: model})


def restore_pixels(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The pixels, whole numbers from 0 to 255 in float32, of prepared images."""
    scale, offset = (np.array(values) for values in preprocessing.scale_and_offset)
    pixels = np.clip(np.round((images - offset) / scale), 0, 255)
    return (pixels[..., ::-1] if preprocessing.is_bgr else pixels).astype("float32")


def prepare_reference(reference: KerasReference, preprocessing: Preprocessing) -> KerasReference:
    """The model in Keras as a function of pixels: they are normalized by NumPy, not as in the file."""
    def prepare(runner: BatchRunner) -> BatchRunner:
        return BatchRunner(lambda pixels: runner.run(np.asarray(preprocessing.normalize(pixels), "float32")),
                           runner.shape)
    return replace(reference, outputs=prepare(reference.outputs),
                   logits=reference.logits and prepare(reference.logits))


def put_normalization_inside(model: keras.Model, preprocessing: Preprocessing, fold: bool) -> keras.Model:
    """The model with the normalization before its first layers.

    Args:
        model: a model that takes prepared values.
        preprocessing: how they are made of pixels.
        fold: whether the normalization may become part of the first convolution.

    Returns:
        A new model, which takes pixels in 0..255.
    """
    graph = Graph.of(model)
    if fold and not preprocessing.is_bgr:
        name = graph.find_unused_name(_NAME)
        folded = fold_bn(_insert(graph, name, preprocessing, as_norm=True)).graph
        if all(node.name != name for node in folded.nodes):
            return folded.build()
    return _insert(graph, graph.find_unused_name(_NAME), preprocessing, as_norm=False).build()


def _insert(graph: Graph, name: str, preprocessing: Preprocessing, as_norm: bool) -> Graph:
    """The graph with a new first layer: a batch normalization, which can be folded, or a 1x1 convolution."""
    image = next(node for node in graph.nodes if node.layer_class is keras.layers.InputLayer)
    reader = graph.readers(image)[0]
    like = reader if "dtype" in reader.config else image        # a nested model has none
    if not as_norm:
        return put_first(graph, image, [make_normalization(name, image.output, like, preprocessing)])
    # scale = 1 / sqrt(variance), offset = -mean * scale
    scale, offset = (np.array(values) for values in preprocessing.scale_and_offset)
    node = make_node(keras.layers.BatchNormalization, name, [image.output], like,
                     [-offset / scale, 1 / scale ** 2], center=False, scale=False, epsilon=0.0)
    return put_first(graph, image, [node])


def make_normalization(name: str, pixels: TensorRef, like: Node, preprocessing: Preprocessing) -> Node:
    """A 1x1 convolution that normalizes pixels.

    Args:
        name: of the layer.
        pixels: the tensor that it reads.
        like: a node whose dtype policy it gets.
        preprocessing: how pixels become what the model takes.
    """
    scale, offset = (np.array(values) for values in preprocessing.scale_and_offset)
    if preprocessing.is_bgr:
        kernel = np.diag(scale)[None, None, ::-1]
        return make_node(keras.layers.Conv2D, name, [pixels], like, [kernel, offset], filters=len(scale),
                         kernel_size=1)
    return make_node(keras.layers.DepthwiseConv2D, name, [pixels], like,
                     [scale[None, None, :, None], offset], kernel_size=1)


def put_first(graph: Graph, image: Node, nodes: Sequence[Node]) -> Graph:
    """The graph with new layers between its input and all that reads the input.

    Args:
        graph: the graph.
        image: its input.
        nodes: the layers, each of which reads the one before.
    """
    others = (other.with_inputs({image.output: nodes[-1].output}) for other in graph.nodes
              if other is not image)
    return replace(graph, nodes=(image, *nodes, *others))
