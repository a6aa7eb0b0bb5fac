"""Damages bytes at random, each time in the same way for the same seed; knows no format.

`mutate_bytes` changes any file, `mutate_text` the tokens of JSON and XML.  What knows a format is in
damaged_formats.py.
"""
from __future__ import annotations

import json
import random
import re
from typing import Callable

# What numbers of 1, 2, 4 and 8 bytes are set to: none, one, the largest and smallest of each sign, near those
_EXTREMES = (0, 1, -1, -2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
             0x7FFFFFFFFFFFFFFF, 0x10000, 0x1000000, 0x40000000)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|\btrue\b|\bfalse\b|\bnull\b|[\[\]{}:,<>/]')
# Values in the place of another one: of other types, too large, too deep, not finite, not for a terminal
_VALUES = (b"null", b"true", b"0", b"-1", b"1e999", b"-1e999", b"NaN", b"1" + b"0" * 400,
           b"18446744073709551616", b"9223372036854775807", b"2147483648", b"0.5", b'""', b'"x"',
           b'"\\u001b[2J"', b'"\\ud800"', b'"../../etc/passwd"', b'"/dev/zero"',
           b"[]", b"{}", b"[[]]", b'[1, "a", null]',
           b'{"a": 1}', b"[" * 50_000, b'"' + b"a" * 100_000 + b'"', b"\x00", b"\xff\xfe", b'"%s%n{}"')
_PLACE = re.compile(rb"[\x20-\x7e]{4,}")        # near names and tokens there are sizes, offsets and types

Change = Callable[[bytes, random.Random], bytes]


def mutate_bytes(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damages the bytes of any file.  Returns: what was done, and the new bytes."""
    return _choose(_BYTE_CHANGES, data, rng)


def mutate_text(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damages the tokens of JSON or XML, one time in four its bytes.  Returns: as `mutate_bytes`."""
    return _choose(_TEXT_CHANGES if rng.random() < 0.75 else _BYTE_CHANGES, data, rng)


def mutate_json_value(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Replaces one value, anywhere in a JSON text, so that the text is still JSON."""
    content = json.loads(data)
    places = list(_iterate_places(content))
    (owner, key), (other, other_key) = rng.choice(places), rng.choice(places)
    kinds: list[Callable[[], object]] = [
        lambda: rng.choice([None, True, False, 0, -1, 1, 2 ** 31, 2 ** 63, 2 ** 70, 1e300, -1e300, 0.5, "",
                            "x", "\x1b[2J\n", "/dev/zero", [], {}, [[]], [1, "a", None], {"a": 1},
                            float("nan"), float("inf")]),
        lambda: other[other_key],
        lambda: owner[key] * 1000 if isinstance(owner[key], (str, list, int)) else [owner[key]]]
    owner[key] = rng.choice(kinds)()
    return f"value of {key!r}", json.dumps(content).encode("utf-8", "surrogatepass")


def _iterate_places(content):
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, (dict, list)) and value:
            yield from _iterate_places(value)


def choose_integer(rng: random.Random, size: int = 4) -> bytes:
    """An extreme number in that many bytes, in one of the two orders."""
    value = rng.choice(_EXTREMES) & (256 ** size - 1)
    return value.to_bytes(size, rng.choice(("little", "little", "big")))


def _choose(changes: dict[str, Change], data: bytes, rng: random.Random) -> tuple[str, bytes]:
    for _ in range(20):
        name = rng.choice(list(changes))
        changed = changes[name](data, rng)
        if changed != data:
            return name, changed
    return "empty", b""


# ---- bytes


def _find_place(data: bytes, rng: random.Random) -> int:
    """An offset: anywhere, near one of the ends, or near a name, where the numbers are that describe data."""
    kind, size = rng.random(), max(1, len(data))
    if kind < 0.2:
        return rng.randrange(min(size, 512))
    if kind < 0.3:
        return size - 1 - rng.randrange(min(size, 512))
    if kind < 0.7:
        start = rng.randrange(size)
        near = _PLACE.search(data, start) or _PLACE.search(data)
        if near:
            return min(size - 1, max(0, rng.randint(near.start() - 64, near.end() + 64)))
    return rng.randrange(size)


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if changed else 0):
        changed[_find_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set_bytes(data: bytes, rng: random.Random) -> bytes:
    place, count = _find_place(data, rng), rng.choice((1, 4, 16, 256))
    fill = bytes([rng.choice((0, 0xFF, 0x41, rng.randrange(256)))]) * count
    return data[:place] + fill[:len(data) - place] + data[place + count:]


def _set_integer(data: bytes, rng: random.Random) -> bytes:
    size, place = rng.choice((2, 4, 4, 8)), _find_place(data, rng)
    if rng.random() < 0.8:
        place -= place % size
    return data[:place] + choose_integer(rng, size)[:len(data) - place] + data[place + size:]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[:_find_place(data, rng)]


def _cut_out(data: bytes, rng: random.Random) -> bytes:
    place = _find_place(data, rng)
    return data[:place] + data[place + rng.choice((1, 4, 8, 64, 4096)):]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    place = _find_place(data, rng)
    part = data[place:place + rng.choice((1, 4, 8, 64, 4096, len(data)))]
    return data[:place] + part * rng.choice((2, 2, 10)) + data[place + len(part):]


def _splice(data: bytes, rng: random.Random) -> bytes:
    """Puts one part of the file over another one."""
    source, place, count = _find_place(data, rng), _find_place(data, rng), rng.choice((4, 8, 64, 1024))
    part = data[source:source + count]
    return data[:place] + part[:len(data) - place] + data[place + len(part):]


def _append(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.choice((1, 8, 1000)))


_BYTE_CHANGES: dict[str, Change] = {
    "flip bits": _flip_bits, "set bytes": _set_bytes, "set an integer": _set_integer,
    "set integers": lambda data, rng: _set_integer(_set_integer(_set_integer(data, rng), rng), rng),
    "truncate": _truncate, "cut out": _cut_out, "duplicate": _duplicate, "splice": _splice, "append": _append}


# ---- tokens


def _find_token(data: bytes, rng: random.Random) -> tuple[int, int]:
    tokens = list(_TOKEN.finditer(data))
    return rng.choice(tokens).span() if tokens else (0, len(data))


def _replace_token(data: bytes, rng: random.Random) -> bytes:
    start, end = _find_token(data, rng)
    value = rng.choice(_VALUES)
    is_quoted = data[start:start + 1] == b'"'
    if is_quoted and rng.random() < 0.5:        # the values of XML's attributes stay in quotes
        value = b'"' + value.strip(b'"') + b'"'
    return data[:start] + value + data[end:]


def _swap_tokens(data: bytes, rng: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_find_token(data, rng), _find_token(data, rng)))
    return data if c < b else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _copy_token(data: bytes, rng: random.Random) -> bytes:
    (a, b), (c, d) = _find_token(data, rng), _find_token(data, rng)
    return data[:a] + data[c:d] + data[b:]


def _drop_token(data: bytes, rng: random.Random) -> bytes:
    start, end = _find_token(data, rng)
    return data[:start] + data[end:]


def _change_number(data: bytes, rng: random.Random) -> bytes:
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data
    start, end = rng.choice(numbers).span()
    old = int(data[start:end][:18])
    new = rng.choice((0, -1, 1, old + 1, old - 1, old * 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 63))
    return data[:start] + str(new).encode() + data[end:]


_TEXT_CHANGES: dict[str, Change] = {
    "replace a token": _replace_token, "swap tokens": _swap_tokens, "copy a token": _copy_token,
    "drop a token": _drop_token, "change a number": _change_number}
