"""What passes know of layers: which are linear, treat each position separately, or do nothing at inference.

Layers are recognized by `Node.type_name`: Keras' by their class, those of `reskeras.blocks` by their
registered name.  So this folder does not import `blocks`, which is on the same floor; a pass that makes one
of those layers gets the class from Keras by that name.  Receptive fields and memory in `cost/` use the class
name, since subclasses count there.
"""
from __future__ import annotations

from typing import Any

import keras

from .graph import Graph
from .keras_config import TensorRef
from .node import Node

GROUPED_CONV, STANDARDIZED_CONV = "reskeras>GroupedConv2D", "reskeras>StandardizedConv2D"
CHANNEL_SLICE = "reskeras>ChannelSlice"
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", GROUPED_CONV, STANDARDIZED_CONV)
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
# Linear, apart from the activation that they may have
LINEAR = ("Dense", "Conv1D", "Conv3D", "DepthwiseConv1D", "SeparableConv1D", *CONVOLUTIONS, *TRANSPOSED)
# Layers that return their input at inference
NOOPS = ("Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout",
         "GaussianDropout", "GaussianNoise", "ActivityRegularization", "reskeras>StochasticDepth",
         "reskeras>DropBlock2D")
ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax")
# Keras' activations that read all channels of a position
CROSS_CHANNEL_ACTIVATIONS = ("glu", "log_softmax", "softmax", "sparsemax")
MERGE_LAYERS = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
NON_NEGATIVE_ACTIVATIONS = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "softmax", "exponential")
# Layers whose output is not negative if their input is not negative
SIGN_KEEPING = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "MaxPooling2D",
                "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D",
                CHANNEL_SLICE)


def get_activation(node: Node) -> str | None:
    """The activation's name if a layer is an activation that Keras has a name for; otherwise None."""
    config = node.config
    if node.type_name == "Activation":
        return config["activation"] if isinstance(config["activation"], str) else None
    if node.type_name == "ReLU" and not config["negative_slope"] and not config["threshold"]:
        return {None: "relu", 6: "relu6"}.get(config["max_value"])
    if node.type_name == "ELU" and config["alpha"] == 1:
        return "elu"
    return "softmax" if node.type_name == "Softmax" and config["axis"] == -1 else None


def is_keras_activation(name: Any) -> bool:
    """Whether it is one of Keras' activations, which treat positions separately; others may do anything."""
    return isinstance(name, str) and hasattr(keras.activations, name)


def is_elementwise(name: Any) -> bool:
    """Whether an activation is one of Keras' that act on each number separately."""
    return is_keras_activation(name) and name not in CROSS_CHANNEL_ACTIVATIONS


def is_pointwise(node: Node) -> bool:
    """Whether one position of the output depends only on the same position of the input (at inference)."""
    if len(node.inputs) != 1:
        return False
    if node.type_name == "Activation":
        return is_keras_activation(node.config["activation"])
    if node.type_name in ("BatchNormalization", "Softmax"):
        return node.config["axis"] in (-1, 3)
    return node.type_name in (*ACTIVATIONS, *NOOPS, "Rescaling")


def has_only_kernel_and_bias(node: Node) -> bool:
    """Whether a linear layer has no other weights: low-rank adapters, scales of a quantized kernel."""
    kernels = 2 if node.type_name in SEPARABLE else 1
    return len(node.weights) == kernels + bool(node.config["use_bias"])


def why_not_fusible(graph: Graph, node: Node) -> str:
    """Why a layer may not be changed together with its one reader; "" if it may."""
    if graph.is_shared(node):
        return f"{node.name} is shared"
    if graph.is_output(node):
        return f"{node.name} is an output of the model"
    return f"{node.name} has several readers" if len(graph.readers(node)) > 1 else ""


def is_never_negative(graph: Graph, ref: TensorRef) -> bool:
    """Whether a tensor has no negative numbers, whatever the image is."""
    node = graph.get_node(ref)
    name = None
    if node.type_name in ACTIVATIONS:
        name = get_activation(node)
    elif node.type_name in LINEAR:
        name = node.config.get("activation")
    if name in NON_NEGATIVE_ACTIVATIONS:
        return True
    keeps_sign = node.type_name in (*SIGN_KEEPING, *NOOPS)
    return keeps_sign and all(is_never_negative(graph, r) for r in node.inputs)
