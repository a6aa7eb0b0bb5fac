"""Checks the fields of a spec by the type that the dataclass declares."""
from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterable, Mapping

from .errors import ArgumentError, check_choice, check_number, check_whole_number, to_whole_number


def check_choices(spec: Any, choices: Mapping[str, tuple[Any, ...]], per_stage: Iterable[str] = (),
                  functions: Iterable[str] = ()) -> None:
    """Checks the fields that take words.

    Args:
        spec: the spec.
        choices: field -> words.
        per_stage: fields that may have a tuple of words instead; a list becomes a tuple.
        functions: fields that may have a function, or a class, instead.

    Raises:
        ArgumentError: if a field has an unknown word.
    """
    for field, known in choices.items():
        value = getattr(spec, field)
        if field in per_stage and isinstance(value, (tuple, list)):
            object.__setattr__(spec, field, tuple(value))
            for word in value:
                check_choice(field, word, known)
        elif field not in functions or not callable(value):
            check_choice(field, value, known)


def check_field_type(spec: Any, field: str, types: tuple[type, ...]) -> None:
    """Raises: ArgumentError if a field is neither an instance of one of `types` nor a function."""
    value = getattr(spec, field)
    is_function = callable(value) and not isinstance(value, type)       # SE is no function; SE() is meant
    if not isinstance(value, types) and not is_function:
        names = ", ".join("None" if t is type(None) else t.__name__ + "()" for t in types)
        raise ArgumentError(field, value, f"one of {names}, or a function that makes its layers")


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

    if not isinstance(spec.activation, str) and not callable(spec.activation):
        raise ArgumentError("activation", spec.activation, "the name of a Keras activation, such as 'relu', "
                            "or a function")
    for name, is_valid, expected in (("width", spec.width > 0, "a positive multiplier"),
                                    ("bn_epsilon", spec.bn_epsilon > 0, "a positive number"),
                                    ("bn_momentum", 0 <= spec.bn_momentum < 1, "a number in [0, 1)")):
        if not is_valid:
            raise ArgumentError(name, getattr(spec, name), expected)


def check_structure(spec: Any) -> None:
    """Raises: ValueError for fields of a `Spec` that do not fit each other: above all those with a value for
    each stage or block.
    """
    depths = spec.depths
    if spec.shortcut_kernel % 2 == 0:
        raise ArgumentError("shortcut_kernel", spec.shortcut_kernel, "an odd number")
    if not spec.final_norm and spec.order not in ("pre", "relu_only_pre"):
        raise ValueError(f"final_norm=False: with order={spec.order!r} nothing comes after the last block")
    if not len(depths) == len(spec.widths) <= len(spec.strides):
        raise ValueError(f"depths={depths}, widths={spec.widths}, strides={spec.strides}: "
                         "expected as many depths as widths, one for each stage, and a stride for each")
    if len(spec.blocks) != len(depths):
        raise ValueError(f"block={spec.block}: expected a word, or a word for each of the {len(depths)} "
                         "stages")
    if len(spec.out_widths) not in (0, len(depths)):
        raise ValueError(f"out_widths={spec.out_widths}: expected (), or one number for each of the "
                         f"{len(depths)} stages")

    numbers = sum(depth * (2 if kind == "bottleneck" else 1) for depth, kind in zip(depths, spec.blocks))
    if not spec.inner_widths:
        return
    if len(spec.inner_widths) != numbers:
        raise ValueError(f"inner_widths has {len(spec.inner_widths)} numbers: expected (), or {numbers}, two "
                         f"for each bottleneck and one for each basic block of depths={depths}")
    fixed = {"groups": 1, "base_width": 64, "reduce_first": 1, "mixer": None, "form": "grouped"}
    others = [f"{field}={getattr(spec, field)!r}" for field, value in fixed.items()
              if getattr(spec, field) != value]
    if others:
        raise ValueError(f"inner_widths cannot be combined with {', '.join(others)}")


def check_groups(spec: Any) -> None:
    """Raises: ValueError if the groups do not divide the channels of a bottleneck."""
    for planes, kind in zip(spec.stages, spec.blocks):
        inner = max(1, int(planes * spec.base_width / 64)) * spec.groups // spec.reduce_first
        if kind == "bottleneck" and inner % spec.groups:
            raise ValueError(f"width={spec.width}, widths={spec.widths}: a first convolution would have "
                             f"{inner} channels, which groups={spec.groups} does not divide")


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
