"""`weights=`: a path to the arrays of a net."""
from __future__ import annotations

import io
import os
import pathlib
import zipfile
from typing import Any

import h5py
import keras
import numpy as np

from ..spec import nearest
from .convert import assign
from .table import embedded

SUFFIXES = (".safetensors", ".weights.h5", ".h5", ".keras")


def load_weights(model: keras.Model, weights: str | os.PathLike[str], row: str = "") -> None:
    """Fills `model` from a file of timm, torchvision, akamaster (.safetensors) or Keras (.weights.h5, .h5, .keras).

    Arguments:
        weights: a path, or a tag of the row's weights.
        row: the net's name in the table.
    Raises: ValueError for an unreadable file, one of another net, or an unknown tag; FileNotFoundError.  The model is
        unchanged then.
    """
    path = embedded(row, weights) or weights
    assign(model, read(path), os.fspath(weights))


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file, by PyTorch name or as "layer.#place".

    Raises: FileNotFoundError; ValueError for another suffix, or a file that is truncated or something else.
    """
    file = pathlib.Path(path)
    suffix = next((s for s in SUFFIXES if file.name.endswith(s)), None)
    if suffix is None:
        raise ValueError(f"weights={os.fspath(path)!r}: expected a path that ends in one of {', '.join(SUFFIXES)}"
                         f"{nearest(file.suffix, SUFFIXES) if file.suffix else ''}")
    if not file.is_file():
        raise FileNotFoundError(f"weights={os.fspath(path)!r}: no such file")
    try:
        return READERS[suffix](file)
    except Exception as error:  # each library has its own: SafetensorError, OSError, BadZipFile, KeyError ...
        raise ValueError(f"{file} is no readable {suffix} file ({type(error).__name__}: {error})") from error


def read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file
    arrays = load_file(file)
    if all(k.startswith("module.") for k in arrays):    # saved from torch's DataParallel
        arrays = {k.removeprefix("module."): a for k, a in arrays.items()}
    return arrays


def read_h5(file: Any) -> dict[str, np.ndarray]:
    """Keras 3's layout (groups by class, the layer's name in an attribute), or the legacy one (groups by layer)."""
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(file, "r") as h5:
        if "layers" in h5 and "layer_names" not in h5.attrs:
            for group in h5["layers"].values():
                stored = group["vars"]
                for place in stored:
                    arrays[f"{stored.attrs['name']}.#{place}"] = np.asarray(stored[place])
            return arrays
        root = h5["model_weights"] if "model_weights" in h5 else h5
        for layer in text(root.attrs["layer_names"]):
            for place, name in enumerate(text(root[layer].attrs["weight_names"])):
                arrays[f"{layer}.#{place}"] = np.asarray(root[layer][name])
    return arrays


def read_keras(file: pathlib.Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        return read_h5(io.BytesIO(archive.read("model.weights.h5")))


def text(names: Any) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


READERS = {".safetensors": read_safetensors, ".weights.h5": read_h5, ".h5": read_h5, ".keras": read_keras}
