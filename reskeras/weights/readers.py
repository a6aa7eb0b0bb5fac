"""Reads files of weights, with one reader per format; nothing in a file is executed.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

PyTorch's tensors keep their names, "layer1.0.conv1.weight".  The variables of Keras' files are called
"layer.#index", "conv2_block1_1_conv.#0", since older files do not have the variables' own names.

The shapes that are written in a file may be wrong and very large.  So `open_tensors` reads only the name,
shape and type of each tensor; load.py compares them with the variables of the net, and then reads the values
of the tensors that fit.
"""
from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import pathlib
import pickle
import posixpath
import re
from dataclasses import dataclass
from typing import IO, Any, Callable, Iterator

import h5py
import ml_dtypes
import numpy as np

from ..errors import ArgumentError, name_damaged_file, nearest
from ..file_reading import open_regular_file, open_zip, read_array_header, read_member
from .hdf5 import open_hdf5
from .name_rules import VARIABLE_INDICES
from .table import FILE_SUFFIXES

_TORCH_SUFFIXES = (".pth", ".pt", ".th")
# A .keras, .npz or .pth file may unpack to so many bytes for each parameter of the net (enough for float64,
# or for float32 with the optimizer's variables and averages), plus so many bytes that are not tensors
_BYTES_PER_PARAMETER, _MIN_BYTES = 32, 2 ** 26
_MAX_NAME = 1000                # letters of a layer's name
_MAX_HEADER = 2 ** 24           # bytes, in a safetensors file; the largest nets have a hundredth of it
_SAFETENSORS_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
                      "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
                      "U32": "uint32", "U16": "uint16", "U8": "uint8", "C64": "complex64", "BOOL": "bool"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file; its values are read when `read` is called.

    Args:
        outline: an array of the tensor's shape and type, without its values; it takes no memory, because all
            elements are the same number in memory.
        load: a function that reads the values.
        file: the name of the file, for errors.
    """

    outline: np.ndarray
    load: Callable[[], Any]
    file: str

    def read(self) -> np.ndarray:
        """The values.  Raises: ValueError if the file is damaged."""
        with name_damaged_file(self.file, "a file of weights"):
            array = np.asarray(self.load())
            if array.dtype.kind == "V" and self.outline.dtype == ml_dtypes.bfloat16:
                array = array.view(ml_dtypes.bfloat16)
            if (array.shape, array.dtype) != (self.outline.shape, self.outline.dtype):
                raise ValueError(f"a tensor has the shape {array.shape} instead of {self.outline.shape}")
            return array


# What a reader returns: for the name of each tensor its shape, its type, and a function that reads its values
_Found = dict[str, tuple[tuple[int, ...], Any, Callable[[], Any]]]


@contextlib.contextmanager
def open_tensors(path: str | os.PathLike[str], parameters: int) -> Iterator[dict[str, StoredTensor]]:
    """Opens a file of weights, and reads the names, shapes and types of its tensors.

    Args:
        path: the path of a .safetensors, .weights.h5, .h5, .keras, .npz, .pth, .pt or .th file.
        parameters: how many parameters the net has; limits the size that a compressed file may unpack to.

    Returns:
        A context manager, which gives a dict: from the name of each tensor ("layer.#index" in formats of
        Keras) to the tensor.  The values can be read until the block ends.

    Raises:
        FileNotFoundError: if the path does not exist.
        ArgumentError: for a path with a different ending.
        ValueError: for a damaged file, a file whose format is not that of its name, a file that refers to
            other files, or a file that is too large for such a net; a folder, a pipe or a device.
        ImportError: for a PyTorch file without PyTorch.
    """
    name, file = os.fspath(path), pathlib.Path(path)
    suffix = next((s for s in FILE_SUFFIXES if file.name.endswith(s)), None)
    if suffix is None:
        hint = nearest(file.suffix, FILE_SUFFIXES).removeprefix("; ") if file.suffix else ""
        raise ArgumentError("weights", name,
                            f"a path that ends in one of {', '.join(FILE_SUFFIXES)}", hint=hint)
    if not file.exists():
        raise FileNotFoundError(f"weights={name!r}: no such file")

    check_readable(suffix, name)
    max_bytes = _BYTES_PER_PARAMETER * parameters + _MIN_BYTES
    # `closing` does not pass the block's errors to the readers, which would blame the file for them
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stream = stack.enter_context(open_regular_file(file))
        with name_damaged_file(name, f"a {suffix} file"):
            found = _READERS[suffix](_File(name, stream, max_bytes, stack))
            tensors = {key: StoredTensor(np.broadcast_to(np.zeros((), dtype), shape), load, name)
                       for key, (shape, dtype, load) in found.items()}
        yield tensors


def check_readable(suffix: str, name: str) -> None:
    """Checks that files of a format can be read here.

    Args:
        suffix: ".pth", ".h5" ...
        name: the name of the file or checkpoint, for the error.

    Raises:
        ImportError: for PyTorch's formats, if PyTorch is not installed, or older than 2.6: older readers may
            run code of the file (CVE-2025-32434).
    """
    if suffix not in _TORCH_SUFFIXES:
        return
    if importlib.util.find_spec("torch") is None:
        raise ImportError(f"{name}: a {suffix} file is read by PyTorch, which is not installed: "
                          "pip install 'reskeras[torch]', or build the net with random weights "
                          "(weights=None)")
    import torch
    if tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        raise ImportError(f"{name}: PyTorch {torch.__version__} is too old to open it safely: "
                          "pip install 'torch>=2.6'")


# ---- one reader per format


@dataclass(frozen=True)
class _File:
    """An open file: its name, its bytes, how many bytes it may unpack to, and what is closed with it."""

    name: str
    stream: IO[bytes]
    max_bytes: int
    stack: contextlib.ExitStack


def _read_safetensors(file: _File) -> _Found:
    from safetensors import safe_open
    if int.from_bytes(file.stream.read(8), "little") > _MAX_HEADER:
        raise ValueError(f"its header has more than {_MAX_HEADER:,} bytes")
    archive = file.stack.enter_context(safe_open(file.name, framework="np"))
    found: _Found = {}
    for key in archive.keys():
        tensor = archive.get_slice(key)
        # types that are not in the table are those of quantized nets; convert.py refuses them
        dtype = _SAFETENSORS_TYPES.get(tensor.get_dtype(), "V1")
        found[key] = tuple(tensor.get_shape()), np.dtype(dtype), functools.partial(archive.get_tensor, key)
    return _remove_module_prefix(found)


def _read_torch(file: _File) -> _Found:
    """Reads torch.save's pickle by PyTorch's safe reader, which makes only tensors and containers."""
    import torch
    if file.stream.read(2) == b"PK":        # a zip file; the older format is not compressed
        with open_zip(file.name, "a PyTorch file", file.max_bytes):
            pass
    file.stream.seek(0)
    try:
        content = torch.load(file.stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:     # PyTorch's own message advises to switch the safe reader off
        raise ValueError("it has other objects than tensors, dicts and lists, or is damaged") from error
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content.get(key), dict) else content
    arrays = {name: tensor.detach().numpy() for name, tensor in content.items() if hasattr(tensor, "numpy")}
    return _remove_module_prefix({name: (array.shape, array.dtype, functools.partial(arrays.get, name))
                                  for name, array in arrays.items()})


def _remove_module_prefix(found: _Found) -> _Found:
    """Removes "module." from the names, which torch's DataParallel adds."""
    if all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def _read_npz(file: _File) -> _Found:
    """Reads Big Transfer's files: "resnet/root_block/standardized_conv2d/kernel", in Keras' order of axes."""
    archive = file.stack.enter_context(open_zip(file.name, "an .npz file", file.max_bytes))
    found: _Found = {}
    for member in archive.namelist():
        layer, _, variable = member.removesuffix(".npy").rpartition("/")

        def load(member: str = member) -> np.ndarray:
            with archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)

        found[f"{layer}.#{VARIABLE_INDICES[variable]}"] = *read_array_header(archive, member), load
    return found


def _read_h5(file: _File) -> _Found:
    return _find_datasets(file.stack.enter_context(open_hdf5(file.stream, file.name)))


def _read_keras(file: _File) -> _Found:
    with open_zip(file.name, "a .keras file", file.max_bytes) as archive:
        weights = io.BytesIO(read_member(archive, "model.weights.h5"))
    return _find_datasets(file.stack.enter_context(open_hdf5(weights, file.name)))


def _find_datasets(h5: h5py.File) -> _Found:
    """Finds Keras 3's layout (groups by class, the layer's name in an attribute) or Keras 2's (by layer)."""
    datasets: dict[str, h5py.Dataset] = {}
    if "layers" in h5 and not _read_names(h5, "layer_names"):
        for group in h5["layers"].values():
            variables = group["vars"]
            layer = str(variables.attrs["name"])
            if len(layer) > _MAX_NAME:
                raise ValueError(f"the name of {group.name} has more than {_MAX_NAME} letters")
            datasets |= {f"{layer}.#{index}": variables[index] for index in variables}
    else:
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
    return {key: (dataset.shape, _get_dtype(dataset), functools.partial(dataset.__getitem__, ()))
            for key, dataset in datasets.items()}


def _get_dtype(dataset: h5py.Dataset) -> np.dtype[Any]:
    """The type of a data set's numbers.  HDF5 has no bfloat16: Keras writes that into an attribute."""
    is_bfloat16 = dataset.dtype == "V2" and dataset.attrs.get("dtype") == "bfloat16"
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16) if is_bfloat16 else dataset.dtype
    return dtype


def _read_names(group: Any, attribute: str) -> list[str]:
    """Reads a list of names; Keras cuts lists of more than 64 kB into attribute0, attribute1 ..."""
    names = list(group.attrs.get(attribute, ()))
    number = 0
    while f"{attribute}{number}" in group.attrs:
        names += list(group.attrs[f"{attribute}{number}"])
        number += 1
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


_READERS: dict[str, Callable[[_File], _Found]] = {
    ".safetensors": _read_safetensors, ".weights.h5": _read_h5, ".h5": _read_h5, ".keras": _read_keras,
    ".npz": _read_npz, **{suffix: _read_torch for suffix in _TORCH_SUFFIXES}}
