"""What an integer kernel adds up before it rounds, found in the model around a layer.

A layer that rounds must know of which integers its input is a sum: their unit is the scale of the kernel's
input times that of its weights.  Both belong to other layers, and change while the model is trained.  So a
layer finds them when it becomes part of a functional model, and asks them whenever it rounds.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from .._keras_private import find_call
from ..graph.layer_traits import CHANNEL_SLICE
from ..graph.node import get_type_name

# Layers that only move values, and do not round
MOVERS = ("MaxPooling2D", "MaxPooling1D", "GlobalMaxPooling2D", "Reshape", "Flatten", "ZeroPadding2D",
          "ZeroPadding1D", "Cropping2D", "Permute", CHANNEL_SLICE, "reskeras>ChannelPadding",
          "reskeras>EdgePadding2D", "reskeras>UpSampling2D")
AVERAGES = ("AveragePooling2D", "AveragePooling1D")
KEEPS_RANGE = (*MOVERS, *AVERAGES, "Concatenate")       # of its inputs
_ACTIVATIONS = ("Activation", "ReLU")
_MEANS = ("GlobalAveragePooling2D", "GlobalAveragePooling1D")


class RangeLayer(keras.layers.Layer):
    """A layer that rounds to the levels of a range."""

    def compute_scale(self, dtype: str) -> Any:
        """The size of a step; None if the layer does not round as integer kernels do.

        Args:
            dtype: of the result.
        """
        raise NotImplementedError


class KernelLayer(keras.layers.Layer):
    """A layer with a kernel that is rounded; `unit` asks it what 1 of its sums is worth."""

    def compute_unit(self, dtype: str) -> Any:
        """What 1 of the sums is worth, a number or one for each channel; None if the inputs are not rounded.

        Args:
            dtype: of the result.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Accumulator:
    """The sums that a layer reads.

    Args:
        kernel: the layer with a kernel that made them; None for a product or a mean.
        ranges: the layers that rounded the factors of a product, or what a mean is over.
        count: over how many integers a mean is.
    """

    kernel: KernelLayer | None = None
    ranges: tuple[RangeLayer, ...] = ()
    count: int = 1

    def compute_unit(self, dtype: str) -> Any:
        """As `KernelLayer.compute_unit`."""
        if self.kernel is not None:
            return self.kernel.compute_unit(dtype)
        scales = [layer.compute_scale(dtype) for layer in self.ranges]
        return None if any(scale is None for scale in scales) else math.prod(scales) / self.count


def find_accumulator(tensor: Any) -> Accumulator | None:
    """The sums that a symbolic tensor has; None if it has others, such as those of an addition.

    Args:
        tensor: what a layer is called on.
    """
    call = find_call(tensor)
    if call and get_type_name(type(call[0])) in _ACTIVATIONS:
        call = find_call(call[1][0])        # the relu of a product
    if not call:
        return None
    layer, inputs = call
    if isinstance(layer, KernelLayer):
        return Accumulator(kernel=layer)
    kind = get_type_name(type(layer))
    ranges = tuple(filter(None, map(find_range, inputs)))
    if kind not in ("Multiply", *_MEANS) or len(ranges) != len(inputs):
        return None
    sides = inputs[0].shape[1:-1] if kind in _MEANS else ()
    return None if None in sides else Accumulator(ranges=ranges, count=math.prod(sides))


def find_range(tensor: Any) -> RangeLayer | None:
    """The layer that rounded a symbolic tensor, perhaps before it was moved; None if there is none.

    Args:
        tensor: what a layer is called on.
    """
    while call := find_call(tensor):
        layer, inputs = call
        if isinstance(layer, RangeLayer):
            return layer
        if get_type_name(type(layer)) not in KEEPS_RANGE:
            return None
        tensor = inputs[0]
    return None
