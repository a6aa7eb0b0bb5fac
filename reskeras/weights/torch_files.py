"""Reads the files of `torch.save` without PyTorch; nothing in a file is executed.

Both formats are read: a zip file with `data.pkl` and one member for each storage, and the older one, which
has several pickles and then the storages.  A storage is a row of numbers; a tensor is a view of one.
"""
from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import IO, Any, Callable

import ml_dtypes
import numpy as np

from ..file_reading import open_zip
from .pickle_data import MAX_BYTES, Call, Persistent, Reference, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C         # the first pickle of the older format
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."      # this pickle, byte for byte
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"), "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16), "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"), "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"), "UntypedStorage": np.dtype("u1"), "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"), "ComplexDoubleStorage": np.dtype("<c16")}
# Functions that make a tensor of (storage, offset, shape, strides, ...), or return their first argument
_TENSORS = {f"torch._utils._rebuild_tensor{end}" for end in ("", "_v2")}
_WRAPPERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
HOW_TO_SAVE = ("where the net's own code is installed, `torch.save(torch.load('net.pth', "
               "weights_only=False).state_dict(), 'weights.pth')` writes one that can be read; this executes "
               "the file, so do it only if you trust whoever wrote it")


@dataclass(frozen=True, eq=False)
class TorchTensor:
    """A tensor in an open file.

    Attributes:
        shape: its shape.
        dtype: its type.
        load: a function that reads its values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], np.ndarray]


_ReadStorage = Callable[[str, int], bytes]      # of (key, number of bytes)


def read_torch_file(name: str, stream: IO[bytes], max_bytes: int, stack: Any) -> Any:
    """Reads what `torch.save` was given.

    Args:
        name: the file's name.
        stream: the open file, at its start.
        max_bytes: how many bytes a zip file may unpack to, or a storage of the older format may have.
        stack: an `ExitStack` that is open as long as tensors are read.

    Returns:
        What `read_pickle` returns, with a `TorchTensor` for each tensor in the dict that it is, and in the
        dicts in that one.

    Raises:
        ValueError: for a damaged file, or one with something else than `torch.save` writes.
    """
    start = stream.read(len(LEGACY_START))
    stream.seek(0)
    if start == LEGACY_START:
        content, read_storage = _open_legacy(stream, max_bytes)
    elif start[:2] != b"PK":
        raise ValueError("torch.save did not write it: it is no zip file, nor of the older format")
    else:
        content, read_storage = _open_zip(stack.enter_context(open_zip(name, "a PyTorch file", max_bytes)))
    make = _TensorMaker(read_storage)
    if not isinstance(content, dict):
        return make(content)
    made = {key: make(value) for key, value in content.items()}
    return {key: {inner: make(item) for inner, item in value.items()} if isinstance(value, dict) else value
            for key, value in made.items()}


def is_whole_net(value: Any) -> bool:
    """Whether a value of the file is an object of a class of nets, not a dict of its tensors."""
    return (isinstance(value, Call) and isinstance(value.function, Reference)
            and not value.function.name.startswith(("collections.", "argparse.", "builtins.", "numpy.",
                                                    "torch._")))


def is_unread_tensor(value: Any) -> bool:
    """Whether a value is a tensor that no `TorchTensor` was made of: sparse, quantized, or of float8."""
    return (isinstance(value, Call) and isinstance(value.function, Reference)
            and value.function.name.startswith("torch._utils._rebuild_"))


def _open_zip(archive: Any) -> tuple[Any, _ReadStorage]:
    """The content and the storages of the newer format."""
    names = set(archive.namelist())
    pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError("it has no data.pkl, which torch.save writes" if not pickles
                         else "it has more than one data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise ValueError("it is a TorchScript program, not a file of weights; " + HOW_TO_SAVE.replace(
            "torch.load('net.pth', weights_only=False)", "torch.jit.load('net.pth')"))
    if f"{folder}byteorder" in names and _read(archive, f"{folder}byteorder", 6) != b"little":
        raise ValueError("it was written by a machine with another order of bytes")
    size = archive.getinfo(pickles[0]).file_size
    if size > MAX_BYTES:
        raise ValueError(f"its pickle has {size:,} bytes; at most {MAX_BYTES:,} are expected")
    content = read_pickle(io.BytesIO(_read(archive, pickles[0], size)))

    def read_storage(key: str, size: int) -> bytes:
        return _read(archive, f"{folder}data/{key}", size)
    return content, read_storage


def _read(archive: Any, name: str, size: int) -> bytes:
    """Reads a member.  Raises: ValueError if it has another size."""
    if archive.NameToInfo.get(name) is None or archive.getinfo(name).file_size != size:
        raise ValueError(f"its member {name!r} is missing, or does not have {size:,} bytes")
    with archive.open(name) as member:
        data: bytes = member.read(size)
    if len(data) != size:
        raise ValueError(f"its member {name!r} has only {len(data):,} of {size:,} bytes")
    return data


def _open_legacy(stream: IO[bytes], max_bytes: int) -> tuple[Any, _ReadStorage]:
    """The content and the storages of the older format.

    It has five pickles: a number, the version, the sizes of C's types, the content, and the keys of the
    storages.  Each storage follows in this order, as its number of elements and the elements.
    """
    head = io.BytesIO(stream.read(MAX_BYTES))
    number, version, system, content, keys = (read_pickle(head) for _ in range(5))
    if number != _MAGIC or version != 1001 or not isinstance(system, dict) or not system.get("little_endian"):
        raise ValueError("it is not of a known version of torch.save, or has another order of bytes")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it has no list of its storages")
    item_sizes = _list_item_sizes(content)
    places: dict[str, tuple[int, int]] = {}
    position = head.tell()
    end = stream.seek(0, io.SEEK_END)
    for key in keys:
        stream.seek(position)
        count = int.from_bytes(stream.read(8), "little", signed=True)
        size = count * item_sizes.get(key, 1)
        if count < 0 or position + 8 + size > end:
            raise ValueError(f"the numbers of its storage {key!r} are missing")
        places[key] = position + 8, size
        position += 8 + size

    def read_storage(key: str, size: int) -> bytes:
        place, stored = places.get(key, (0, -1))
        if stored != size:
            raise ValueError(f"its storage {key!r} is missing, or does not have {size:,} bytes")
        if size > max_bytes:
            raise ValueError(f"its storage {key!r} has {size:,} bytes; at most {max_bytes:,} are expected")
        stream.seek(place)
        return stream.read(size)
    return content, read_storage


def _list_item_sizes(content: Any) -> dict[str, int]:
    """How many bytes an element of each storage has, by the storage's key; looks into all containers."""
    sizes: dict[str, int] = {}
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Persistent):
            if storage := _parse_storage(value):
                sizes[storage[0]] = storage[1].itemsize
        elif isinstance(value, Call):
            waiting.append(value.arguments)
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
    return sizes


def _parse_storage(value: Any) -> tuple[str, np.dtype[Any], int] | None:
    """The key, the type and the number of elements of a storage; None for anything else."""
    if not isinstance(value, Persistent) or not isinstance(value.id, tuple) or len(value.id) < 5:
        return None
    kind, storage_type, key, _, count = value.id[:5]
    dtype = _DTYPES.get(getattr(storage_type, "name", "").rpartition(".")[2])
    if kind != "storage" or dtype is None or not isinstance(key, str) or not _are_sizes((count,)):
        return None
    return key, dtype, count


def _are_sizes(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(type(n) is int and 0 <= n < 2 ** 62 for n in value)


class _TensorMaker:
    """Replaces the calls that make a tensor by a `TorchTensor`; other values stay as they are."""

    def __init__(self, read_storage: _ReadStorage):
        self._read_storage = read_storage
        self._last: tuple[str, np.ndarray] = "", np.zeros(0)    # several tensors may be parts of a storage

    def __call__(self, value: Any) -> Any:
        for _ in range(3):      # a parameter of a tensor; no file has deeper calls
            if not isinstance(value, Call) or not isinstance(value.function, Reference):
                return value
            name, arguments = value.function.name, value.arguments
            if name in _TENSORS and len(arguments) >= 4:
                return self._make_tensor(*arguments[:4])
            if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) > 2:
                value = Call(arguments[0], arguments[2] if isinstance(arguments[2], tuple) else ())
            elif name in _WRAPPERS and arguments:
                value = arguments[0]
            else:
                return value
        return value

    def _make_tensor(self, stored: Any, offset: Any, shape: Any, strides: Any) -> Any:
        storage = _parse_storage(stored)
        if storage is None or not _are_sizes((offset,)) or not _are_sizes(shape) or not _are_sizes(strides) \
                or len(shape) != len(strides):
            raise ValueError("one of its tensors has no valid storage, shape and strides")
        key, dtype, count = storage
        if 0 not in shape and offset + sum((n - 1) * s for n, s in zip(shape, strides)) >= count:
            raise ValueError(f"a tensor of shape {tuple(shape)} does not fit its storage {key!r}")

        def load() -> np.ndarray:
            if math.prod(shape) == 0:
                return np.zeros(shape, dtype)
            if self._last[0] != key:
                self._last = key, np.frombuffer(self._read_storage(key, count * dtype.itemsize), dtype)
            view = np.lib.stride_tricks.as_strided(
                self._last[1][offset:], shape, [s * dtype.itemsize for s in strides], writeable=False)
            return np.ascontiguousarray(view).reshape(shape)
        return TorchTensor(tuple(shape), dtype, load)
