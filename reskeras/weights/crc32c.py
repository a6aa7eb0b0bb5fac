"""CRC-32C, the checksum of TensorFlow's files.  Python's zlib has only CRC-32, another polynomial.

The checksum is linear: the one of two parts is the first one's, moved past as many bytes as the second part
has, XOR the second one's.  So NumPy reads many parts of the data at the same time, and combines them then.
"""
from __future__ import annotations

import functools
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78        # with its bits in reverse
_MASK_DELTA = 0xA282EAD8
_WORDS_PER_PART = 512


def compute_masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of some bytes, masked as TensorFlow stores it.

    TensorFlow's mask rotates the checksum and adds a constant.

    Args:
        data: any bytes.
    """
    crc = _compute_crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _compute_crc32c(data: bytes | memoryview) -> int:
    whole = len(data) // 4 * 4
    words = np.frombuffer(data, "<u4", whole // 4).astype(np.uint32)
    register = 0xFFFFFFFF
    if len(words):
        words[0] ^= register
        register = _read_words(words)
    for byte in bytes(data[whole:]):
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def _read_words(words: np.ndarray) -> int:
    """The register after it has read these words, if it was 0 before."""
    parts = 1
    while parts * _WORDS_PER_PART < len(words):
        parts *= 2
    length = -(-len(words) // parts)
    padded = np.zeros(parts * length, np.uint32)        # zeros in front do not change a register of 0
    padded[len(padded) - len(words):] = words
    columns = np.ascontiguousarray(padded.reshape(parts, length).T)

    registers = np.zeros(parts, np.uint32)
    step = _move_past_one_word()
    for column in columns:
        registers = _move(step, registers ^ column)

    move = _repeat(step, length)
    while len(registers) > 1:
        registers = _move(move, registers[::2]) ^ registers[1::2]
        move = _repeat(move, 2)
    return int(registers[0])


# ---- how a register moves past zeros: a linear function, as its values for all lower and all upper halves


def _move(tables: np.ndarray, registers: Any) -> Any:
    return tables[0][registers & 0xFFFF] ^ tables[1][registers >> 16]


@functools.cache
def _move_past_one_word() -> np.ndarray:
    values = []
    for bit in range(32):
        register = 1 << bit
        for _ in range(32):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        values.append(register)
    return _make_tables(np.array(values, np.uint32))


def _make_tables(values: np.ndarray) -> np.ndarray:
    """The tables of a linear function with these values for the registers of one bit."""
    tables = np.zeros((2, 1 << 16), np.uint32)
    for half in (0, 1):
        for bit in range(16):
            tables[half, 1 << bit:2 << bit] = tables[half, :1 << bit] ^ values[16 * half + bit]
    return tables


def _repeat(tables: np.ndarray, times: int) -> np.ndarray:
    """The function, applied so many times."""
    single = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
    values, square = single, tables
    while times:
        if times & 1:
            values = _move(square, values)
        times >>= 1
        if times:
            square = _make_tables(_move(square, _move(square, single)))
    return _make_tables(values)
