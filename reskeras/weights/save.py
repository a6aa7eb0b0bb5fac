"""The way back: from the variables of a net to a file with the names and the order of axes of PyTorch.

    net -> save_names.py (which name each variable has there) -> save.py (transposes)

It is the inverse of load.py: timm's file, loaded into a net and written again, has the same bytes in every
tensor.  The counters of PyTorch's normalizations ("num_batches_tracked") are not written: PyTorch and timm
load a file without them.
"""
from __future__ import annotations

import keras
import numpy as np

from ..spec import AnySpec
from .convert import list_variables
from .name_rules import HEAD
from .save_names import choose_pytorch_name

# Keras' axes in PyTorch's order, by rank: dense kernels, 1-D and 2-D convolutions
_PYTORCH_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}


def list_tensors(model: keras.Model, layout: str, spec: AnySpec) -> dict[str, np.ndarray]:
    """The values of a net's variables under the names of PyTorch's files, in PyTorch's order of axes.

    Args:
        model: the net.
        layout: a key of `save_names.LAYOUTS`.
        spec: what the net is made of.

    Returns:
        "layer1.0.conv1.weight" -> array; every variable is there once.

    Raises:
        KeyError: for a layer that the layout has no name for.
    """
    layers = [layer.name for layer in model.layers]
    tensors = {}
    for name, variable, _ in list_variables(model):
        layer = name.partition(".")[0]
        key = choose_pytorch_name(layer, variable.name, layout, spec, layers)
        array = keras.ops.convert_to_numpy(variable)
        if layer == HEAD and array.ndim == 2 and layout == "resnetv2":      # a 1x1 convolution there
            array = array[None, None]
        tensors[key] = np.ascontiguousarray(array.transpose(_PYTORCH_AXES.get(array.ndim, (0,))))
    return tensors


def list_keras_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """The values of a net's variables under the keys "layer.#index", which `weights=` reads."""
    return {keys[0]: np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
            for _, variable, keys in list_variables(model)}


def to_safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """The bytes of a .safetensors file with these tensors, marked as PyTorch's."""
    from safetensors.numpy import save
    data: bytes = save(tensors, metadata={"format": "pt"})
    return data
