"""Reads files of weights, with one reader per format; nothing in a file is executed.

The content of a file decides which reader reads it, not its name: a `.ckpt` may have any format.

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
import io
import os
import pathlib
from dataclasses import dataclass
from typing import IO, Any, Callable, Iterator

import h5py
import ml_dtypes
import numpy as np

from ..errors import ArgumentError, make_printable, name_damaged_file, nearest
from ..json_reader import parse_json
from ..file_reading import open_regular_file, open_zip, read_array_header, read_member
from .hdf5 import open_hdf5
from .keras_layouts import find_datasets, find_keras3_datasets
from .kerashub import find_preset_files
from .name_rules import VARIABLE_INDICES
from .state_dicts import choose_tensors
from .stored_tensors import Found, OpenWeights, StoredTensor, make_tensors
from .table import FILE_SUFFIXES
from .tensorflow_files import find_prefix, open_checkpoint, open_old_checkpoint
from .tensorflow_names import choose_variables, find_variables
from .torch_files import LEGACY_START, read_torch_file

# A .keras, .npz or .pth file may unpack to so many bytes for each parameter of the net (enough for float64,
# or for float32 with the optimizer's variables and averages), plus so many bytes that are not tensors
_BYTES_PER_PARAMETER, _MIN_BYTES = 32, 2 ** 26
# Numbers of a trained net hardly shrink: neither all members of a zip file nor one tensor of any file have
# more than so many times the bytes of the file, except small ones
_MAX_INFLATION, _SMALL_TENSOR = 20, 2 ** 24
MAX_PARAMETERS = 2 ** 30        # the largest net of the table, with 4 times its width, has fewer
_MAX_PARTS = 1000               # of a .weights.json
_MAX_HEADER = 2 ** 24           # bytes, in a safetensors file; the largest nets have a hundredth of it
_SAFETENSORS_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
                      "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
                      "U32": "uint32", "U16": "uint16", "U8": "uint8", "C64": "complex64", "BOOL": "bool"}


@contextlib.contextmanager
def open_tensors(path: str | os.PathLike[str], parameters: int,
                 key: str | None = None) -> Iterator[OpenWeights]:
    """Opens a file of weights, and reads the names, shapes and types of its tensors.

    Args:
        path: the path of a file: .safetensors, .weights.h5, .weights.json with its parts beside it, .h5,
            .keras, .npz, or what PyTorch wrote: .pth, .pt, .th, .ckpt, .bin, .pth.tar.  Or the folder of a
            preset of KerasHub, or a checkpoint of TensorFlow, see `find_prefix`.
        parameters: how many parameters the net has; limits the size that a compressed file may unpack to.
        key: which entry of a PyTorch file has the weights, see `choose_tensors`; which variables of a
            TensorFlow checkpoint, see `choose_variables`.

    Returns:
        A context manager, which gives an `OpenWeights`.  The values can be read until the block ends.

    Raises:
        FileNotFoundError: if the path does not exist.
        ArgumentError: for a path with a different ending; if the file has several nets, and `key` does not
            name one.
        ValueError: for a damaged file, a file of no known format, a file that refers to other files, or a
            file that is too large for such a net; another folder, a pipe or a device.
    """
    name = os.fspath(path)
    max_bytes = _BYTES_PER_PARAMETER * parameters + _MIN_BYTES
    # `closing` does not pass the block's errors to the readers, which would blame the file for them
    with contextlib.closing(contextlib.ExitStack()) as stack:
        if (prefix := find_prefix(name)) is not None:
            yield _open_checkpoint(name, prefix, max_bytes, key, stack)
            return
        if not os.path.isdir(name):
            yield _open_file(name, max_bytes, key, stack)
            return
        tensors: dict[str, StoredTensor] = {}
        for file in find_preset_files(name):    # where two files have a tensor, KerasHub takes the second one
            tensors |= _open_file(file, max_bytes, key, stack).tensors
        yield OpenWeights(tensors)


def _open_file(name: str, max_bytes: int, key: str | None, stack: contextlib.ExitStack) -> OpenWeights:
    """Opens one file, and adds to `stack` what must be closed.  Raises: as `open_tensors`."""
    file = pathlib.Path(name)
    suffix = next((s for s in FILE_SUFFIXES if file.name.endswith(s)), None)
    if suffix is None:
        hint = nearest(file.suffix, FILE_SUFFIXES).removeprefix("; ") if file.suffix else ""
        raise ArgumentError("weights", name,
                            f"a path that ends in one of {', '.join(FILE_SUFFIXES)}", hint=hint)
    if not file.exists():
        raise FileNotFoundError(f"weights={name!r}: no such file")

    stream = stack.enter_context(open_regular_file(file))
    with name_damaged_file(name, f"a {suffix} file"):
        size = os.fstat(stream.fileno()).st_size
        max_bytes = min(max_bytes, max(_MIN_BYTES, _MAX_INFLATION * size))
        opened = _File(name, stream, size, max_bytes, stack, key)
        tensors = make_tensors((_recognize(opened) or _READERS[suffix])(opened), name)
        largest = max(tensors, key=lambda n: tensors[n].outline.nbytes, default="")
        if tensors and tensors[largest].outline.nbytes > max(_SMALL_TENSOR, _MAX_INFLATION * opened.size):
            raise ValueError(f"{make_printable(largest[:200])} of shape {tensors[largest].shape} does not "
                             f"fit into a file of {opened.size:,} bytes")
    return OpenWeights(tensors, opened.messages, opened.key, opened.entry, opened.entries)


def _open_checkpoint(name: str, prefix: str, max_bytes: int, key: str | None,
                     stack: contextlib.ExitStack) -> OpenWeights:
    """Opens a checkpoint of TensorFlow.  Raises: as `open_tensors`.

    Args:
        name: the path that the user gave.
        prefix: what `find_prefix` made of it.
    """
    is_old = os.path.isfile(prefix) and not os.path.exists(f"{prefix}.index")
    if not is_old and not os.path.exists(f"{prefix}.index"):
        raise FileNotFoundError(f"weights={name!r}: there is no {prefix}.index")
    with name_damaged_file(name, "a TensorFlow checkpoint"):
        opened = open_old_checkpoint(prefix, stack, max_bytes) if is_old else open_checkpoint(prefix, stack)
        tensors = make_tensors(opened.tensors, name)
        variables, others = find_variables(tensors, opened.graph)
    chosen = choose_variables(variables, others, key)
    is_folder = os.path.basename(prefix) not in os.path.basename(name)
    latest = (f"the latest checkpoint is {os.path.basename(prefix)}",) if is_folder else ()
    return OpenWeights(chosen.tensors, latest + chosen.messages, layer_order=chosen.layers,
                       is_slim_resnet=chosen.is_slim_resnet)


@dataclass
class _File:
    """An open file: its name, its bytes and their number, how many it may unpack to, what is closed with it.

    `key` and what follows it are those of `open_tensors` and `OpenWeights`.
    """

    name: str
    stream: IO[bytes]
    size: int
    max_bytes: int
    stack: contextlib.ExitStack
    key: str | None
    messages: tuple[str, ...] = ()
    entry: str = ""
    entries: tuple[str, ...] = ()


def _recognize(file: _File) -> Callable[[_File], Found] | None:
    """The reader of a file, by its first bytes and the members of a zip file; None for unknown content."""
    start = file.stream.read(16)
    file.stream.seek(0)
    for is_format, reader in ((start.startswith(b"\x89HDF\r\n\x1a\n"), _read_h5),
                              (start == LEGACY_START[:16], _read_torch),
                              (start[8:9] == b"{", _read_safetensors), (start[:1] == b"{", _read_parts)):
        if is_format:
            return reader
    if start == b"version https://":
        raise ValueError("it is a pointer of Git LFS, not the file; `git lfs pull` downloads the file")
    if not start:
        raise ValueError("it is empty")
    if start[:2] == b"\x1f\x8b":
        raise ValueError("it is compressed by gzip; `gunzip` or `tar -xf` unpacks it")
    if start.lstrip()[:1] == b"<":
        raise ValueError("it is a page of HTML or XML, not a file of weights")
    if start[:2] != b"PK":
        return None
    with open_zip(file.name, "a zip file", file.max_bytes) as archive:
        members = {member.rpartition("/")[2] for member in archive.namelist()}
    if "data.pkl" in members:
        return _read_torch
    if "model.weights.h5" in members:
        return _read_keras
    return _read_npz if members and all(member.endswith(".npy") for member in members) else None


def _read_safetensors(file: _File) -> Found:
    from safetensors import safe_open
    if int.from_bytes(file.stream.read(8), "little") > _MAX_HEADER:
        raise ValueError(f"its header has more than {_MAX_HEADER:,} bytes")
    archive = file.stack.enter_context(safe_open(file.name, framework="np"))
    found: Found = {}
    for key in archive.keys():
        tensor = archive.get_slice(key)
        # types that are not in the table are those of quantized nets; convert.py refuses them
        dtype = _SAFETENSORS_TYPES.get(tensor.get_dtype(), "V1")
        found[key] = tuple(tensor.get_shape()), np.dtype(dtype), functools.partial(archive.get_tensor, key)
    return found


def _read_torch(file: _File) -> Found:
    content = read_torch_file(file.name, file.stream, file.max_bytes, file.stack)
    chosen = choose_tensors(content, file.key)
    file.messages, file.key = chosen.messages, chosen.key
    file.entry, file.entries = chosen.entry, chosen.entries
    return {name: (tensor.shape, tensor.dtype, tensor.load) for name, tensor in chosen.tensors.items()}


def _read_npz(file: _File) -> Found:
    """Reads Big Transfer's files: "resnet/root_block/standardized_conv2d/kernel", in Keras' order of axes."""
    archive = file.stack.enter_context(open_zip(file.name, "an .npz file", file.max_bytes))
    found: Found = {}
    for member in archive.namelist():
        layer, _, variable = member.removesuffix(".npy").rpartition("/")

        def load(member: str = member) -> np.ndarray:
            with archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)

        if variable not in VARIABLE_INDICES:
            raise ValueError(f"its array {make_printable(member[:200])!r} is not called as in Big Transfer's "
                             "files, 'LAYER/kernel.npy'")
        found[f"{layer}.#{VARIABLE_INDICES[variable]}"] = *read_array_header(archive, member), load
    return found


def _read_h5(file: _File) -> Found:
    return _describe_datasets(find_datasets(file.stack.enter_context(open_hdf5(file.stream, file.name))))


def _read_parts(file: _File) -> Found:
    """Reads Keras' .weights.json, which names the parts in which its variables are, .weights.h5 files."""
    content = parse_json(file.stream.read(_MAX_HEADER), file.name)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict):
        raise ValueError("it has no weight_map, which says where the variables are")
    parts = {part for place in places.values() for part in (place if isinstance(place, list) else [place])}
    if len(parts) > _MAX_PARTS or not all(isinstance(part, str) and part.endswith(".weights.h5")
                                          and part == os.path.basename(part) for part in parts):
        raise ValueError(f"its parts are not at most {_MAX_PARTS:,} .weights.h5 files in the same folder")
    paths = [os.path.join(os.path.dirname(file.name), part) for part in sorted(parts)]
    if missing := [path for path in paths if not os.path.exists(path)]:
        raise ValueError(f"its part {missing[0]} does not exist")
    file.size = sum(map(os.path.getsize, paths))
    opened = [file.stack.enter_context(open_hdf5(path)) for path in paths]
    return _describe_datasets(find_keras3_datasets(opened))


def _read_keras(file: _File) -> Found:
    with open_zip(file.name, "a .keras file", file.max_bytes) as archive:
        weights = io.BytesIO(read_member(archive, "model.weights.h5"))
    return _describe_datasets(find_datasets(file.stack.enter_context(open_hdf5(weights, file.name))))


def _describe_datasets(datasets: dict[str, h5py.Dataset]) -> Found:
    return {key: (dataset.shape, _get_dtype(dataset), functools.partial(dataset.__getitem__, ()))
            for key, dataset in datasets.items()}


def _get_dtype(dataset: h5py.Dataset) -> np.dtype[Any]:
    """The type of a data set's numbers.  HDF5 has no bfloat16: Keras writes that into an attribute."""
    is_bfloat16 = dataset.dtype == "V2" and dataset.attrs.get("dtype") == "bfloat16"
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16 if is_bfloat16 else dataset.dtype)
    return dtype


_TORCH_SUFFIXES = (".pth", ".pt", ".th", ".ckpt", ".tar", ".bin")
_READERS: dict[str, Callable[[_File], Found]] = {
    ".safetensors": _read_safetensors, ".weights.h5": _read_h5, ".weights.json": _read_parts, ".h5": _read_h5,
    ".keras": _read_keras, ".npz": _read_npz, **dict.fromkeys(_TORCH_SUFFIXES, _read_torch)}
