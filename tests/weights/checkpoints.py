"""Synthetic checkpoints: the arrays of a small net under the names and in the layout of each source."""
import io

import h5py
import numpy as np
from safetensors.numpy import save

import reskeras
from reskeras.weights.name_rules import get_pytorch_names

SMALL = {"depths": (1, 1, 1, 1), "width": 0.25}  # of an ImageNet net; its checkpoint is of about a megabyte
TORCH = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}


def build_cifar(**arguments):
    """A net of 8 layers for gray images of 16 x 16 pixels, with random weights."""
    return reskeras.CifarResNet20(**{"weights": None, "classes": 10, "input_shape": (16, 16, 1),
                                     "depths": (1, 1, 1), **arguments})


def randomized(model):
    """`model` with other numbers than every new net has, by layer name."""
    for layer in model.layers:
        for v in layer.weights:
            random = np.random.default_rng(sum(f"{layer.name}.{v.name}".encode()))
            positive = v.name == "moving_variance"
            v.assign(random.uniform(0.5, 1.5, v.shape) if positive else 0.1 * random.standard_normal(v.shape))
    return model


def torch_arrays(model, which=0, names=get_pytorch_names):
    """By PyTorch names, the `which`th that the rules have."""
    return {names(layer.name, v.name)[which]: np.ascontiguousarray(v.numpy().transpose(TORCH[len(v.shape)]))
            for layer in model.layers for v in layer.weights}


def safetensors(model):
    return save(torch_arrays(model))


def legacy_h5(layers):
    """Keras 2's weights file.  layers: name -> [(variable, array), ...]."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as h5:
        put(h5, "layer_names", list(layers))
        for layer, variables in layers.items():
            group = h5.create_group(layer)
            put(group, "weight_names", [f"{layer}/{name}:0" for name, _ in variables])
            for name, array in variables:
                group[f"{layer}/{name}:0"] = array
    return buffer.getvalue()


def put(group, attribute, names):
    """As Keras does: an attribute of more than 64512 bytes is cut."""
    data = np.asarray([n.encode() for n in names]) if names else np.zeros((0,), "S1")
    parts = 1
    while any(part.nbytes > 64512 for part in np.array_split(data, parts)):
        parts += 1
    for i, part in enumerate(np.array_split(data, parts)):
        group.attrs[attribute if parts == 1 else f"{attribute}{i}"] = part


def npz(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def same(model, expected, but=()):
    """Asserts equal variables, by layer and place, except in the layers `but`."""
    ours = {layer.name: layer for layer in model.layers}
    for layer in expected.layers:
        if layer.weights and layer.name not in but:
            for mine, theirs in zip(ours[layer.name].weights, layer.weights, strict=True):
                np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
