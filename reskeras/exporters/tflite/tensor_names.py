"""The names that TensorFlow's converter gives to tensors, and the layers that they come from.

It joins the names of all that it fused, each with the model's name before it:
"net_1/conv1_conv_1/BiasAdd;...".
"""
from __future__ import annotations

import re
from typing import Sequence


def find_layer_name(tensor: str, layers: Sequence[str]) -> str:
    """The layer that made a tensor; the tensor's own name if none of the layers did.

    Keras adds "_1" to a layer's name when the model is traced again.

    Args:
        tensor: the converter's name of it.
        layers: the names of the model's layers, the last of them that of its output.
    """
    if tensor.startswith("StatefulPartitionedCall"):        # the output
        return layers[-1]
    parts = tensor.partition(";")[0].split("/")
    names = (name for part in parts for name in (part, re.sub(r"_\d+$", "", part)))
    return next((name for name in names if name in layers), tensor)


def shorten_name(name: bytes) -> bytes:
    """The first of the joined names, without the model's: b"net/a/Relu;net/a/BiasAdd" -> b"a/Relu"."""
    first = name.partition(b";")[0]
    return first.partition(b"/")[2] if first.count(b"/") > 1 else first
