"""Files of arrays, each format by its own reader; nothing in them is executed."""
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

from ..errors import nearest
from .name_rules import PLACES
from .table import FILE_SUFFIXES

TORCH = (".pth", ".pt", ".th")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file, by PyTorch name or as "layer.#place".

    Raises: FileNotFoundError; ValueError for another suffix, or a file that is truncated or something else; ImportError for
        a PyTorch file without PyTorch.
    """
    file = pathlib.Path(path)
    suffix = next((s for s in FILE_SUFFIXES if file.name.endswith(s)), None)
    if suffix is None:
        raise ValueError(f"weights={os.fspath(path)!r}: expected a path that ends in one of {', '.join(FILE_SUFFIXES)}"
                         f"{nearest(file.suffix, FILE_SUFFIXES) if file.suffix else ''}")
    if not file.is_file():
        raise FileNotFoundError(f"weights={os.fspath(path)!r}: no such file")
    check_readable(suffix, str(file))
    try:
        return READERS[suffix](file)
    except ImportError:
        raise
    except Exception as error:  # each library has its own: SafetensorError, OSError, BadZipFile, KeyError ...
        raise ValueError(f"{file} is no readable {suffix} file ({type(error).__name__}: {error})") from error


def check_readable(suffix: str, name: str) -> None:
    """Raises: ImportError where a file of that suffix cannot be read here."""
    if suffix in TORCH and importlib.util.find_spec("torch") is None:
        raise ImportError(f"{name}: a {suffix} file is read by PyTorch, which is not installed: "
                          "pip install 'reskeras[torch]', or give weights=None")


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file
    return _unwrapped(load_file(file))


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    """torch.save's pickle, by PyTorch's reader that builds tensors and containers and runs nothing else.

    Raises: ImportError for a PyTorch before 2.6, whose reader could be made to run code (CVE-2025-32434).
    """
    import torch
    if tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        raise ImportError(f"{file}: PyTorch {torch.__version__} is too old to open it safely: pip install 'torch>=2.6'")
    content = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content.get(key), dict) else content
    return _unwrapped({name: tensor.detach().numpy() for name, tensor in content.items() if hasattr(tensor, "numpy")})


def _unwrapped(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the "module." of torch's DataParallel."""
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Big Transfer's: "resnet/root_block/standardized_conv2d/kernel", in Keras' layout."""
    with np.load(file, allow_pickle=False) as arrays:
        named = ((key.rpartition("/"), arrays[key]) for key in arrays)
        return {f"{layer}.#{PLACES[variable]}": array for (layer, _, variable), array in named}


def _read_h5(file: Any) -> dict[str, np.ndarray]:
    """Keras 3's layout (groups by class, the layer's name in an attribute), or the legacy one (groups by layer)."""
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(file, "r") as h5:
        if "layers" in h5 and not _read_names(h5, "layer_names"):
            for group in h5["layers"].values():
                stored = group["vars"]
                for place in stored:
                    arrays[f"{stored.attrs['name']}.#{place}"] = np.asarray(stored[place])
            return arrays
        root = h5["model_weights"] if "model_weights" in h5 else h5
        layers = _read_names(root, "layer_names")
        if not layers:
            raise KeyError("layer_names")
        for layer in layers:
            for place, name in enumerate(_read_names(root[layer], "weight_names")):
                arrays[f"{layer}.#{place}"] = np.asarray(root[layer][name])
    return arrays


def _read_keras(file: pathlib.Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        return _read_h5(io.BytesIO(archive.read("model.weights.h5")))


def _read_names(group: Any, attribute: str) -> list[str]:
    """A list of names in a group's attribute; Keras cuts one of more than 64 kB into attribute0, attribute1 ..."""
    found = list(group.attrs.get(attribute, ()))
    number = 0
    while f"{attribute}{number}" in group.attrs:
        found += list(group.attrs[f"{attribute}{number}"])
        number += 1
    return [n.decode() if isinstance(n, bytes) else str(n) for n in found]


READERS = {".safetensors": _read_safetensors, ".weights.h5": _read_h5, ".h5": _read_h5, ".keras": _read_keras, ".npz": _read_npz,
           **{suffix: _read_torch for suffix in TORCH}}
