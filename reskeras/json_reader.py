"""JSON from files, which may be damaged or made to harm: values are used only after their types are checked.

`read_json` and `parse_json` read the text; `to_dataclass` checks the values and makes a dataclass of them.
Bad text and bad values are always a ValueError, which names the file and the value.
"""
from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from typing import Any, Mapping, TypeVar

from .errors import describe_error, short_repr
from .file_reading import read_bytes

MAX_BYTES = 64 * 2 ** 20        # far more than any JSON file that we write
_Class = TypeVar("_Class")

# How a message calls a value of each type
_WORDS: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false",
                          types.NoneType: "null"}


def read_json(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Any:
    """Reads a JSON file.

    Args:
        path: the file, in UTF-8.
        max_bytes: a larger file is an error, and nothing is read.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read.
        ValueError: if it is too large, not a regular file, or not JSON.
    """
    return parse_json(read_bytes(path, max_bytes), os.fspath(path))


def parse_json(data: bytes | str, source: str, allows_infinity: bool = False) -> Any:
    """Makes values of JSON text.

    Args:
        data: the text; bytes are UTF-8.
        source: what the text comes from, such as the file's name, for an error.
        allows_infinity: whether NaN, infinity and numbers beyond the range of a float are allowed.  They are
            not JSON, but Python's `json` writes them.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        parse = float if allows_infinity else _parse_float
        return json.loads(text, parse_float=parse, parse_constant=parse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not JSON ({describe_error(error)})") from error


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def to_dataclass(kind: type[_Class], values: Any, source: str,
                 keys: Mapping[str, str] | None = None) -> _Class:
    """Makes a dataclass of values from JSON, and checks that each value has the type of its field.

    Where the field is a tuple, a list becomes a tuple; where it is a float, a whole number becomes a float;
    where it is a dataclass, a dictionary becomes that dataclass.  Unknown keys are ignored, because a later
    version may have added them.

    Args:
        kind: the dataclass.
        values: what `parse_json` returned: a dictionary.
        source: what the values come from, such as the file's name, for an error.
        keys: field -> key in the file, where the two differ; also for the fields of inner dataclasses.

    Raises:
        ValueError: for a value of a wrong type, a missing key, or a value that the dataclass rejects.

    Example:
        >>> to_dataclass(Threshold, {"difference": "small"}, "net.tflite.json")
        ValueError: net.tflite.json: 'difference' is 'small': expected a number or null
    """
    return typing.cast(_Class, _to_dataclass(kind, values, source, "", keys or {}))


def check_json_type(value: Any, kind: Any, source: str, name: str) -> Any:
    """Checks a single value from JSON, and converts it as `to_dataclass` does.

    Args:
        value: what `parse_json` returned, or a part of it.
        kind: the expected type, such as `dict[str, int]` or `tuple[str, ...] | None`.
        source: what the value comes from, such as the file's name, for an error.
        name: the key of the value, for an error.

    Raises:
        ValueError: for a value of a wrong type.
    """
    return _convert(value, kind, source, name, {})


def _to_dataclass(kind: Any, values: Any, source: str, name: str, keys: Mapping[str, str]) -> Any:
    if not isinstance(values, dict):
        raise _make_error(values, dict, source, name)
    hints, arguments = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        key = keys.get(field.name, field.name)
        if key in values:
            path = f"{name}.{key}" if name else key
            arguments[field.name] = _convert(values[key], hints[field.name], source, path, keys)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{source}: {key!r} is missing" + (f" in {name!r}" if name else ""))
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _convert(value: Any, kind: Any, source: str, name: str, keys: Mapping[str, str]) -> Any:
    """The value, converted to the type `kind`.  Raises: ValueError if it has a different type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value

    if origin in (typing.Union, types.UnionType):
        for alternative in arguments:
            if _matches(value, alternative):
                return _convert(value, alternative, source, name, keys)
    elif not _matches(value, kind):
        pass
    elif dataclasses.is_dataclass(kind):
        return _to_dataclass(kind, value, source, name, keys)
    elif isinstance(value, dict) and arguments:
        return {key: _convert(part, arguments[1], source, f"{name}.{key}", keys)
                for key, part in value.items()}
    elif isinstance(value, (list, tuple)):
        fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
        if not fixed or len(arguments) == len(value):
            inner = arguments if fixed else [arguments[0] if arguments else Any] * len(value)
            parts = [_convert(part, part_kind, source, f"{name}[{i}]", keys)
                     for i, (part, part_kind) in enumerate(zip(value, inner))]
            return tuple(parts) if (origin or kind) is tuple else parts
    elif kind is float:
        if not isinstance(value, int) or abs(value) < 2 ** 1023:    # a larger number is no float
            return float(value)
    else:
        return value
    raise _make_error(value, kind, source, name)


def _matches(value: Any, kind: Any) -> bool:
    """Whether a value has the type `kind`; does not check the values inside.  True is no number."""
    origin = typing.get_origin(kind) or kind
    if kind is Any or kind is object:
        return True
    if origin is typing.Literal:
        return any(value == word and type(value) is type(word) for word in typing.get_args(kind))
    if origin in (int, float):
        return not isinstance(value, bool) and isinstance(value, (int, float) if origin is float else int)
    if origin in (tuple, list):
        return isinstance(value, (list, tuple))
    if dataclasses.is_dataclass(origin) or isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict)
    return isinstance(value, origin)


def _make_error(value: Any, kind: Any, source: str, name: str) -> ValueError:
    subject = f"{name!r} is " if name else ""
    return ValueError(f"{source}: {subject}{short_repr(value)}: expected {_describe(kind)}")


def _describe(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_describe, arguments)))
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (tuple, list):
        is_fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
        return f"a list of {len(arguments)} values" if is_fixed else "a list"
    return _WORDS.get(origin, "a dictionary")
