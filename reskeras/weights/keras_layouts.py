"""Where Keras puts the variables of a net into an HDF5 file, by its version.

Keras 3 has a group for each layer, called by the class of the layer and a number ("layers/conv2d_3/vars");
the layer's own name is an attribute.  A net inside a net is a group of such groups, as in the files of
KerasHub.  Keras 2 has a group for each layer, called by its name, and lists of these names.
"""
from __future__ import annotations

import posixpath
from typing import Any, Iterator

import h5py

_MAX_NAME = 1000        # letters of a layer's name


def find_datasets(h5: h5py.File) -> dict[str, h5py.Dataset]:
    """Finds the variables in a file of Keras 2 or 3.

    Args:
        h5: an open file that `open_hdf5` has checked.

    Returns:
        The data sets by the keys "layer.#index".

    Raises:
        KeyError: for a file in a different layout.
        ValueError: if it has a variable twice, or a name that is too long.
    """
    if "layers" in h5 and not _read_names(h5, "layer_names"):
        return find_keras3_datasets([h5])

    datasets: dict[str, h5py.Dataset] = {}
    paths: set[str] = set()
    root = h5["model_weights"] if "model_weights" in h5 else h5
    layers = _read_names(root, "layer_names")
    if not layers:
        raise KeyError("layer_names")
    for layer in layers:
        for i, name in enumerate(_read_names(root[layer], "weight_names")):
            # a list that has the same name in many spellings ("x", "x/") would take much memory
            path = posixpath.normpath(posixpath.join(root.name, layer, name))
            if path in paths:
                raise ValueError(f"it lists {path} twice")
            paths.add(path)
            datasets[f"{layer}.#{i}"] = root[layer][name]
    return datasets


def find_keras3_datasets(parts: list[h5py.File]) -> dict[str, h5py.Dataset]:
    """Finds the variables in a file of Keras 3, or in all parts of one.

    Args:
        parts: the open files; a layer's name may be in a different part than its variables.

    Returns, Raises: as `find_datasets`.
    """
    names: dict[str, str] = {}
    groups = [pair for h5 in parts for pair in _iterate_layers(h5)]
    for key, variables in groups:
        if "name" in variables.attrs:
            names[key] = str(variables.attrs["name"])
            if len(names[key]) > _MAX_NAME:
                raise ValueError(f"the name of {variables.name} has more than {_MAX_NAME} letters")

    datasets: dict[str, h5py.Dataset] = {}
    for key, variables in groups:
        for index in variables:
            name = f"{names[key]}.#{index}"
            if name in datasets:
                raise ValueError(f"{datasets[name].name} and {variables.name} are variables of layers with "
                                 "the same name")
            datasets[name] = variables[index]
    return datasets


def _iterate_layers(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The path and the variables of each layer, also of the layers of nets inside the net."""
    for name, layer in group["layers"].items():
        if "layers" in layer:
            yield from _iterate_layers(layer, f"{path}{name}/")
        else:
            yield path + name, layer["vars"]


def _read_names(group: Any, attribute: str) -> list[str]:
    """Reads a list of names; Keras cuts lists of more than 64 kB into attribute0, attribute1 ..."""
    names = list(group.attrs.get(attribute, ()))
    number = 0
    while f"{attribute}{number}" in group.attrs:
        names += list(group.attrs[f"{attribute}{number}"])
        number += 1
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
