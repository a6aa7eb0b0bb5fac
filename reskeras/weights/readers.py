"""Reads a file of weights into arrays by name, with one reader per format; nothing in a file is executed.

    file -> readers.py (arrays by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

PyTorch's tensors keep their names, "layer1.0.conv1.weight".  The variables of Keras' files are called
"layer.#index", "conv2_block1_1_conv.#0", since older files do not have the variables' own names.
"""
from __future__ import annotations

import importlib.util
import io
import os
import pathlib
import re
import zipfile
from typing import Any

import h5py
import numpy as np

from ..errors import ArgumentError, nearest
from .name_rules import VARIABLE_INDICES
from .table import FILE_SUFFIXES

_TORCH_SUFFIXES = (".pth", ".pt", ".th")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file of weights.

    Args:
        path: the path of a .safetensors, .weights.h5, .h5, .keras, .npz, .pth, .pt or .th file.

    Returns:
        The unchanged arrays of the file, by the name of the tensor, or by "layer.#index" for formats of
        Keras.

    Raises:
        FileNotFoundError: if the path does not exist.
        ArgumentError: for a path with another ending.
        ValueError: for a truncated file, or a file whose format is not that of its name.
        ImportError: for a PyTorch file without PyTorch.
    """
    file = pathlib.Path(path)
    suffix = next((s for s in FILE_SUFFIXES if file.name.endswith(s)), None)
    if suffix is None:
        hint = nearest(file.suffix, FILE_SUFFIXES).removeprefix("; ") if file.suffix else ""
        raise ArgumentError("weights", os.fspath(path),
                            f"a path that ends in one of {', '.join(FILE_SUFFIXES)}", hint=hint)
    if not file.is_file():
        raise FileNotFoundError(f"weights={os.fspath(path)!r}: no such file")

    check_readable(suffix, str(file))
    try:
        return _READERS[suffix](file)
    except ImportError:
        raise
    except Exception as error:  # each library has its own: SafetensorError, OSError, BadZipFile, KeyError
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file} is not a readable {suffix} file ({reason})") from error


def check_readable(suffix: str, name: str) -> None:
    """Checks that files of a format can be read here.

    Args:
        suffix: ".pth", ".h5" ...
        name: the name of the file or checkpoint, for the error.

    Raises:
        ImportError: for PyTorch's formats without PyTorch.
    """
    if suffix in _TORCH_SUFFIXES and importlib.util.find_spec("torch") is None:
        raise ImportError(f"{name}: a {suffix} file is read by PyTorch, which is not installed: "
                          "pip install 'reskeras[torch]', or build the net with random weights "
                          "(weights=None)")


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file
    return _remove_module_prefix(load_file(file))


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads torch.save's pickle by PyTorch's safe reader, which makes only tensors and containers.

    Raises:
        ImportError: for a PyTorch before 2.6, whose reader may run code of the file (CVE-2025-32434).
    """
    import torch
    if tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        raise ImportError(f"{file}: PyTorch {torch.__version__} is too old to open it safely: "
                          "pip install 'torch>=2.6'")

    content = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content.get(key), dict) else content
    return _remove_module_prefix(
        {name: tensor.detach().numpy() for name, tensor in content.items() if hasattr(tensor, "numpy")})


def _remove_module_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names without the "module." of torch's DataParallel."""
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads Big Transfer's files: "resnet/root_block/standardized_conv2d/kernel", in Keras' order of axes."""
    with np.load(file, allow_pickle=False) as arrays:
        named = ((key.rpartition("/"), arrays[key]) for key in arrays)
        return {f"{layer}.#{VARIABLE_INDICES[variable]}": array for (layer, _, variable), array in named}


def _read_h5(file: Any) -> dict[str, np.ndarray]:
    """Reads Keras 3's layout (groups by class, the layer's name in an attribute) or Keras 2's (by layer)."""
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(file, "r") as h5:
        if "layers" in h5 and not _read_names(h5, "layer_names"):
            for group in h5["layers"].values():
                variables = group["vars"]
                for index in variables:
                    arrays[f"{variables.attrs['name']}.#{index}"] = np.asarray(variables[index])
            return arrays

        root = h5["model_weights"] if "model_weights" in h5 else h5
        layers = _read_names(root, "layer_names")
        if not layers:
            raise KeyError("layer_names")
        for layer in layers:
            for i, name in enumerate(_read_names(root[layer], "weight_names")):
                arrays[f"{layer}.#{i}"] = np.asarray(root[layer][name])
    return arrays


def _read_keras(file: pathlib.Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        return _read_h5(io.BytesIO(archive.read("model.weights.h5")))


def _read_names(group: Any, attribute: str) -> list[str]:
    """Reads a list of names; Keras cuts lists of more than 64 kB into attribute0, attribute1 ..."""
    names = list(group.attrs.get(attribute, ()))
    number = 0
    while f"{attribute}{number}" in group.attrs:
        names += list(group.attrs[f"{attribute}{number}"])
        number += 1
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


_READERS = {".safetensors": _read_safetensors, ".weights.h5": _read_h5, ".h5": _read_h5,
            ".keras": _read_keras, ".npz": _read_npz, **{suffix: _read_torch for suffix in _TORCH_SUFFIXES}}
