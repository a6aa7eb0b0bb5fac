"""Checks the fields of a spec by the type that the dataclass declares."""
from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterable, Mapping

from .errors import ArgumentError, check_choice, check_number, check_whole_number, to_whole_number


def check_choices(spec: Any, choices: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises: ArgumentError if a field has an unknown word; `choices` is field -> words."""
    for field, known in choices.items():
        check_choice(field, getattr(spec, field), known)


def check_field_type(spec: Any, field: str, types: tuple[type, ...]) -> None:
    """Raises: ArgumentError if a field is not an instance of one of `types`."""
    value = getattr(spec, field)
    if not isinstance(value, types):
        names = ", ".join("None" if t is type(None) else t.__name__ + "()" for t in types)
        raise ArgumentError(field, value, f"one of {names}")


def check_numbers(spec: Any) -> None:
    """Checks rates, numbers and tuples of numbers, and converts them to Python types (from NumPy's too).

    Raises:
        ArgumentError: for a value out of range or of a wrong type.
    """
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        check = _CHECKS_BY_TYPE.get(str(field.type))
        if field.name.endswith("_rate"):
            check = _check_probability
        if check:
            object.__setattr__(spec, field.name, check(field.name, value))

    if not isinstance(spec.activation, str):
        raise ArgumentError("activation", spec.activation, "the name of a Keras activation, such as 'relu'")
    for name, is_valid, expected in (("width", spec.width > 0, "a positive multiplier"),
                                    ("bn_epsilon", spec.bn_epsilon > 0, "a positive number"),
                                    ("bn_momentum", 0 <= spec.bn_momentum < 1, "a number in [0, 1)")):
        if not is_valid:
            raise ArgumentError(name, getattr(spec, name), expected)


def _check_probability(name: str, value: Any) -> float:
    return check_number(name, value, minimum=0, below=1, expected="a probability in [0, 1)")


def _check_whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [None]
    numbers = [to_whole_number(item) for item in items]
    if any(number is None or number < 1 for number in numbers):
        raise ArgumentError(name, value, "whole numbers of at least 1, such as (3, 4, 6, 3)")
    return tuple(number for number in numbers if number is not None)


def _check_boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(name, value, "True or False")
    return value


_CHECKS_BY_TYPE: dict[str, Callable[[str, Any], Any]] = {
    "int": check_whole_number, "float": check_number, "bool": _check_boolean,
    "tuple[int, ...]": _check_whole_numbers}
