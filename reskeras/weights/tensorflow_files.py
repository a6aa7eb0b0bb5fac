"""Reads checkpoints of TensorFlow (tf.train.Checkpoint, Keras 2, tf.compat.v1's Saver) without TensorFlow.

A checkpoint is called by the beginning of its files' names, its *prefix*: "ckpt-3" has the files
"ckpt-3.index" (a table from the names of its tensors to their shapes, types and places) and
"ckpt-3.data-00000-of-00001".
Before 2017 a checkpoint was one file, a table with the values; Slim's published files are of this kind.

    tensorflow_tables.py (tables, messages) -> tensorflow_files.py (tensors by TensorFlow's names)
        -> tensorflow_names.py ("layer.#index")
"""
from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import re
import struct
from dataclasses import dataclass
from typing import IO, Any, Callable, Mapping

import ml_dtypes
import numpy as np

from ..errors import make_printable
from ..file_reading import open_regular_file, read_bytes
from .crc32c import compute_masked_crc32c
from .stored_tensors import Found
from .tensorflow_tables import (
    Fields, get_messages, get_number, is_table, parse_message, read_table, read_varint)

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"      # the tensor that says which object has which variable
_DATA_FILE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_LATEST = re.compile(rb'^model_checkpoint_path: "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_MAX_INDEX = 2 ** 26        # bytes; ResNet-RS-420 with its optimizer has a hundredth of it
_MAX_SHARDS = 1000
_STRING = 7
_TYPES: dict[int, Any] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64", 9: "int64",
    10: "bool", 14: ml_dtypes.bfloat16, 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"}
# where a message has the values of a tensor, by type
_VALUE_FIELDS = {1: 5, 2: 6}


@dataclass(frozen=True)
class TensorFlowCheckpoint:
    """An open checkpoint.

    Attributes:
        tensors: for the name of each tensor its shape, its type, and a function that reads its values.
        graph: for the names of an object-based checkpoint the variable's own name, "conv1_conv/kernel".
    """

    tensors: Found
    graph: Mapping[str, str]


def find_prefix(path: str | os.PathLike[str]) -> str | None:
    """The prefix of the checkpoint that a path means; None if it is not one of TensorFlow.

    Args:
        path: the prefix itself, the .index or a .data file, the folder, or the file "checkpoint" in it, which
            says which is the latest one; or a checkpoint of one file.

    Raises:
        ValueError: if the file "checkpoint" is damaged, or says a checkpoint that is not there.
    """
    name = os.fspath(path)
    if os.path.isdir(name) and os.path.exists(os.path.join(name, "checkpoint")):
        return _find_latest(os.path.join(name, "checkpoint"))
    if os.path.basename(name) == "checkpoint" and os.path.isfile(name):
        return _find_latest(name)
    if match := _DATA_FILE.fullmatch(name):
        return match[1]
    if name.endswith(".index"):
        return name.removesuffix(".index")
    if not os.path.exists(name):
        return name if os.path.exists(f"{name}.index") else None
    if not os.path.isfile(name):
        return None
    with open_regular_file(name) as stream:
        return name if is_table(stream) else None


def _find_latest(file: str) -> str:
    """The prefix that a file "checkpoint" says, in the same folder: the folder may have moved since."""
    match = _LATEST.search(read_bytes(file, 2 ** 20))
    if match is None:
        raise ValueError(f"{file} does not say which checkpoint is the latest one (model_checkpoint_path)")
    text = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8) & 255]), match[1])
    latest = re.split(r"[/\\]", text.decode("utf-8", "replace"))[-1]
    prefix = os.path.join(os.path.dirname(file), latest)
    if not latest or not (os.path.exists(f"{prefix}.index") or os.path.isfile(prefix)):
        raise ValueError(f"{file} says that the latest checkpoint is {make_printable(latest[:200])!r}, which "
                         "is not there; give the path of another one")
    return prefix


def open_checkpoint(prefix: str, stack: contextlib.ExitStack) -> TensorFlowCheckpoint:
    """Opens a checkpoint of an .index file and .data files.

    Args:
        prefix: what `find_prefix` returned.
        stack: closes the files.

    Raises:
        FileNotFoundError: if there is no .index file.
        ValueError: if it is damaged or not whole.
    """
    entries = {key.decode("utf-8", "replace"): parse_message(value)
               for key, value in read_table(io.BytesIO(read_bytes(f"{prefix}.index", _MAX_INDEX)))}
    header = entries.pop("", {})
    shards = get_number(header, 1)
    if not 0 < shards <= _MAX_SHARDS:
        raise ValueError(f"its header says {shards:,} files of data")
    if get_number(header, 2) != 0:
        raise ValueError("its numbers are big-endian, as another kind of processor wrote them")

    files: dict[int, IO[bytes]] = {}
    for number in {get_number(entry, 3) for entry in entries.values()}:
        part = f"{prefix}.data-{number:05}-of-{shards:05}"
        if number >= shards or not os.path.exists(part):
            raise ValueError(f"its part {part} does not exist")
        files[number] = stack.enter_context(open_regular_file(part))
    found: Found = {}
    graph: dict[str, str] = {}
    for name, entry in entries.items():
        file = files[get_number(entry, 3)]
        if name == GRAPH:
            graph = _read_graph(_read_text(file, entry))
        elif get_number(entry, 1) != _STRING:
            found[name] = _describe_entry(name, file, entry)
    return TensorFlowCheckpoint(found, graph)


def open_old_checkpoint(name: str, stack: contextlib.ExitStack, max_bytes: int) -> TensorFlowCheckpoint:
    """Opens a checkpoint of one file, as tf.train.Saver wrote before TensorFlow 1.0.

    Args:
        name: the file.
        stack: closes it.
        max_bytes: a larger file is an error.

    Raises:
        ValueError: if it is damaged, too large, or no checkpoint.
    """
    stream = stack.enter_context(open_regular_file(name))
    if (size := os.fstat(stream.fileno()).st_size) > max_bytes:
        raise ValueError(f"it has {size:,} bytes; at most {max_bytes:,} are expected for this net")
    key, value = next(read_table(stream), (b"x", b""))
    if key:
        raise ValueError("it has no list of its tensors")
    types: dict[str, int] = {}
    found: Found = {}

    @functools.cache
    def read_values() -> dict[str, np.ndarray]:
        return _read_old_values(stream, types)

    for message in get_messages(parse_message(value), 1):
        for tensor in get_messages(parse_message(message), 1):
            fields = parse_message(tensor)
            tensor_name = b"".join(get_messages(fields, 1)[-1:]).decode("utf-8", "replace")
            types[tensor_name] = get_number(fields, 3)
            shape = _read_shape(b"".join(get_messages(fields, 2)[-1:]))
            dtype = np.dtype(_TYPES.get(types[tensor_name], "V1"))
            _check_size(tensor_name, shape, dtype.itemsize, size)

            def load(tensor_name: str = tensor_name, shape: tuple[int, ...] = shape) -> np.ndarray:
                if tensor_name not in read_values():
                    raise ValueError(f"{tensor_name} has no values, or they are in several parts")
                return read_values()[tensor_name].reshape(shape)

            found[tensor_name] = shape, dtype, load
    return TensorFlowCheckpoint(found, {})


def _read_old_values(stream: IO[bytes], types: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The values of all tensors of float32 and float64 that are in one part."""
    values: dict[str, np.ndarray] = {}
    for key, value in read_table(stream):
        for part in get_messages(parse_message(value), 2) if key else ():
            fields = parse_message(part)
            name = b"".join(get_messages(fields, 1)[-1:]).decode("utf-8", "replace")
            field = _VALUE_FIELDS.get(types.get(name, 0))
            if field:
                data = b"".join(get_messages(parse_message(b"".join(get_messages(fields, 3)[-1:])), field))
                dtype = np.dtype(_TYPES[types[name]]).newbyteorder("<")
                if name in values:
                    raise ValueError(f"{name} has its values in several parts")
                values[name] = np.frombuffer(data, dtype)
    return values


# ---- entries of an .index file


def _describe_entry(name: str, file: IO[bytes],
                    entry: Fields) -> tuple[tuple[int, ...], Any, Callable[[], Any]]:
    shape = _read_shape(b"".join(get_messages(entry, 2)[-1:]))
    dtype = np.dtype(_TYPES.get(get_number(entry, 1), "V1"))
    start, size = get_number(entry, 4), get_number(entry, 5)
    if dtype.kind != "V" or dtype == ml_dtypes.bfloat16:
        _check_size(name, shape, dtype.itemsize, os.fstat(file.fileno()).st_size - start)

    def load() -> np.ndarray:
        if get_messages(entry, 7):
            raise ValueError(f"{name} is in several parts (a partitioned variable)")
        if size != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} has {size:,} bytes, which does not fit its shape {shape}")
        data = _read_data(file, start, size)
        _compare_checksum(name, data, entry)
        array: np.ndarray = np.frombuffer(data, dtype.newbyteorder("<") if dtype.kind in "iufc" else dtype)
        return array.reshape(shape).astype(dtype, copy=False)

    return shape, dtype, load


def _read_data(file: IO[bytes], start: int, size: int) -> bytes:
    if start + size > os.fstat(file.fileno()).st_size:
        raise ValueError(f"its file of data ends before byte {start + size:,}")
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ValueError("its file of data ends too early")
    return data


def _compare_checksum(name: str, data: bytes, entry: Fields) -> None:
    expected = b"".join(get_messages(entry, 6)[-1:])
    if compute_masked_crc32c(data).to_bytes(4, "little") != expected:
        raise ValueError(f"{name} does not have its checksum: the file is damaged, or of another checkpoint")


def _read_text(file: IO[bytes], entry: Fields) -> bytes:
    """The value of a tensor that is one text: its length, the checksum of the length, the text."""
    size = get_number(entry, 5)
    if size > _MAX_INDEX:
        raise ValueError(f"a text has {size:,} bytes")
    data = _read_data(file, get_number(entry, 4), size)
    length, place = read_varint(data, 0)
    if place + 4 + length != size:
        raise ValueError("its list of objects is damaged, or of another checkpoint")
    _compare_checksum(GRAPH, struct.pack("<I", length) + data[place:], entry)
    return data[place + 4:]


def _read_graph(data: bytes) -> dict[str, str]:
    """For each variable's place in a checkpoint its own name: "conv1_conv/kernel"."""
    names: dict[str, str] = {}
    for node in get_messages(parse_message(data), 1):
        for attribute in get_messages(parse_message(node), 2):
            fields = parse_message(attribute)
            own, place = (b"".join(get_messages(fields, number)[-1:]).decode("utf-8", "replace")
                          for number in (2, 3))
            names[place] = own
    return names


def _read_shape(data: bytes) -> tuple[int, ...]:
    return tuple(get_number(parse_message(dim), 1) for dim in get_messages(parse_message(data), 2))


def _check_size(name: str, shape: tuple[int, ...], itemsize: int, available: int) -> None:
    if len(shape) > 8 or math.prod(shape) * itemsize > max(0, available) or max(shape, default=0) >= 2 ** 40:
        raise ValueError(f"{name[:200]} of shape {shape[:8]} does not fit into the file")
