"""Reads the tables and messages of which TensorFlow's checkpoints consist: LevelDB tables, Protocol Buffers.

TensorFlow's own reader ends the process if a message in a checkpoint is malformed; a file from a stranger
must not do that.  This reader raises ValueError, and it needs no TensorFlow.
"""
from __future__ import annotations

import io
from typing import IO, Iterator

from .crc32c import compute_masked_crc32c

_MAGIC = bytes.fromhex("57fb808b247547db")      # the last bytes of a table
_FOOTER = 48
_MAX_ENTRIES = 2 ** 18      # of a table; the largest nets with their optimizer have a tenth of it
_MAX_KEY = 2000             # letters of a name
_MAX_KEYS = 2 ** 26         # letters of all names together
Fields = dict[int, list[bytes | int]]


def is_table(stream: IO[bytes]) -> bool:
    """Whether a file is a LevelDB table, by its last bytes."""
    if stream.seek(0, io.SEEK_END) < _FOOTER:
        return False
    stream.seek(-len(_MAGIC), io.SEEK_END)
    return stream.read() == _MAGIC


def read_table(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Reads the entries of a LevelDB table, block by block; every block is compared with its checksum.

    Yields:
        Key and value.

    Raises:
        ValueError: for a damaged table, or one with compressed blocks (TensorFlow does not compress).
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _FOOTER))
    footer = stream.read()
    if len(footer) < _FOOTER or not footer.endswith(_MAGIC):
        raise ValueError("it is not a table of TensorFlow, or its end is missing")
    _, _, place = _read_handle(footer, 0)       # of a block that nobody uses
    start, length, _ = _read_handle(footer, place)
    entries = letters = 0
    for _, handle in _iterate_entries(_read_block(stream, start, length, size)):
        start, length, _ = _read_handle(handle, 0)
        for key, value in _iterate_entries(_read_block(stream, start, length, size)):
            entries, letters = entries + 1, letters + len(key)
            if entries > _MAX_ENTRIES or letters > _MAX_KEYS:
                raise ValueError(f"it has more than {_MAX_ENTRIES:,} entries, or too long names")
            yield key, value


def parse_message(data: bytes) -> Fields:
    """Reads a message of Protocol Buffers, without its meaning.

    Args:
        data: the bytes of the message.

    Returns:
        The values of each field, by its number: integers, or bytes for texts, messages and fixed numbers.

    Raises:
        ValueError: if it is malformed.
    """
    fields: Fields = {}
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        value: bytes | int
        if kind == 0:
            value, place = read_varint(data, place)
        else:
            if kind == 2:
                length, place = read_varint(data, place)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError("a message has a field of an unknown kind")
            value = data[place:place + length]
            place += length
            if len(value) != length:
                raise ValueError("a message ends too early")
        fields.setdefault(number, []).append(value)
    return fields


def get_messages(fields: Fields, number: int) -> list[bytes]:
    """The values of a field that has texts or messages.  Raises: ValueError for integers."""
    values = fields.get(number, [])
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError("a message has a number in the place of a text")
    return [value for value in values if isinstance(value, bytes)]


def get_number(fields: Fields, number: int) -> int:
    """The last value of a field that has integers, 0 if there is none.  Raises: ValueError for texts."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError("a message has a text in the place of a number")
    return value


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Reads an integer of 7 bits per byte.

    Returns:
        The integer, and the place behind it.

    Raises:
        ValueError: if it does not end within ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte, place = data[place], place + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number does not end")


# ---- blocks


def _read_handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Start and length of a block, and the place behind both."""
    start, place = read_varint(data, place)
    length, place = read_varint(data, place)
    return start, length, place


def _read_block(stream: IO[bytes], start: int, length: int, size: int) -> bytes:
    if start + length + 5 > size:
        raise ValueError("a block lies behind the end of the file")
    stream.seek(start)
    data = stream.read(length + 5)
    if len(data) != length + 5:
        raise ValueError("a block ends too early")
    if compute_masked_crc32c(memoryview(data)[:length + 1]) != int.from_bytes(data[-4:], "little"):
        raise ValueError("a block does not have its checksum: the file is damaged")
    if data[length] != 0:
        raise ValueError("a block is compressed")
    return data[:length]


def _iterate_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block: a key is what it shares with the key before, and the rest."""
    restarts = int.from_bytes(block[-4:], "little") if len(block) >= 4 else -1
    end = len(block) - 4 - 4 * restarts
    if restarts < 0 or end < 0:
        raise ValueError("a block has no end")
    place, key = 0, b""
    while place < end:
        shared, place = read_varint(block, place)
        other, place = read_varint(block, place)
        length, place = read_varint(block, place)
        if shared > len(key) or shared + other > _MAX_KEY or place + other + length > end:
            raise ValueError("an entry of a block does not fit")
        key = key[:shared] + block[place:place + other]
        place += other + length
        yield key, block[place - length:place]
