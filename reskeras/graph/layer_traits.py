"""What the passes know of Keras' layers: which are linear, which act on each cell alone, which do nothing at inference."""
from __future__ import annotations

from typing import Any

import keras

from .graph import Graph, Node
from .keras_config import Ref

GROUPED, STANDARDIZED, SLICE = "reskeras>GroupedConv2D", "reskeras>StandardizedConv2D", "reskeras>ChannelSlice"
CONVS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", GROUPED, STANDARDIZED)
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
LINEAR = ("Dense", "Conv1D", "Conv3D", "DepthwiseConv1D", "SeparableConv1D", *CONVS, *TRANSPOSED)   # until their activation
NOOPS = ("Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
         "GaussianNoise", "ActivityRegularization", "reskeras>StochasticDepth", "reskeras>DropBlock2D")
ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax")
ACROSS = ("glu", "log_softmax", "softmax", "sparsemax")     # Keras' activations that see all channels of a cell
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
NON_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "softmax", "exponential")
KEEP_SIGN = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "MaxPooling2D", "AveragePooling2D",
             "GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D", SLICE)


def activation(node: Node) -> str | None:
    """The name of the activation that a layer is: None for one that Keras has no name for."""
    config = node.config
    if node.word == "Activation":
        return config["activation"] if isinstance(config["activation"], str) else None
    if node.word == "ReLU" and not config["negative_slope"] and not config["threshold"]:
        return {None: "relu", 6: "relu6"}.get(config["max_value"])
    if node.word == "ELU" and config["alpha"] == 1:
        return "elu"
    return "softmax" if node.word == "Softmax" and config["axis"] == -1 else None


def keras_own(name: Any) -> bool:
    """Whether an activation is one of Keras', which act on each cell alone; a user's may do anything."""
    return isinstance(name, str) and hasattr(keras.activations, name)


def elementwise(name: Any) -> bool:
    return keras_own(name) and name not in ACROSS


def cellwise(node: Node) -> bool:
    """Whether one cell of the output depends on the same cell of the input alone (at inference)."""
    if len(node.inputs) != 1:
        return False
    if node.word == "Activation":
        return keras_own(node.config["activation"])
    if node.word in ("BatchNormalization", "Softmax"):
        return node.config["axis"] in (-1, 3)
    return node.word in (*ACTIVATIONS, *NOOPS, "Rescaling")


def alone(graph: Graph, node: Node) -> str:
    """Why a layer may not be changed together with its one reader; nothing where it may."""
    if graph.shared(node):
        return f"{node.name} is shared"
    if graph.is_output(node):
        return f"{node.name} is an output of the model"
    return f"{node.name} has several readers" if len(graph.readers(node)) > 1 else ""


def never_negative(graph: Graph, ref: Ref) -> bool:
    node = graph.node(ref)
    name = activation(node) if node.word in ACTIVATIONS else node.config.get("activation") if node.word in LINEAR else None
    return name in NON_NEGATIVE or (node.word in (*KEEP_SIGN, *NOOPS) and all(never_negative(graph, r) for r in node.inputs))
