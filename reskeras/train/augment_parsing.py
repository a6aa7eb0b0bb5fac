"""One operation of an augmentation's string: a name, and literal arguments."""
from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import Any, Callable

import keras
import tensorflow as tf

from ..errors import nearest
from .augment_ops import OPERATIONS
from .training import convert_value

# what an operation is given besides its arguments in the string
_NOT_IN_STRING = ("x", "y", "seed", "mean", "has_values", "indices", "epoch")
_ABOVE_ZERO = {"size", "low", "high", "number", "alpha", "smallest_ratio", "largest_ratio", "largest"}
_CHOICES = {"mode": ("constant", "reflect"), "interpolation": ("bilinear", "bicubic")}


@dataclass(frozen=True)
class Operation:
    """One operation of the string, with its arguments."""

    name: str
    arguments: dict[str, Any]

    def __call__(self, *tensors: tf.Tensor, **more: Any) -> Any:
        function = _find_operation(self.name)
        parameters = inspect.signature(function).parameters
        more = {name: value for name, value in more.items() if name in parameters}
        return function(*tensors, **self.arguments, **more)


def split_at_bars(node: ast.expr) -> list[ast.expr]:
    """The operations of "a|b|c"."""
    is_bar = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
    return [*split_at_bars(node.left), node.right] if is_bar else [node]       # type: ignore[attr-defined]


def parse_operation(node: ast.expr, text: str) -> Operation:
    """Parses an operation from its name or call."""
    call = node if isinstance(node, ast.Call) else None
    name = call.func if call else node
    if not isinstance(name, (ast.Name, ast.Attribute)):
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is no operation with literal arguments, such as "
                         "crop(224)")
    operation = ast.unparse(name)
    parameters = dict(inspect.signature(_find_operation(operation)).parameters)
    if operation not in OPERATIONS:
        own = dict(list(parameters.items())[2:])        # all but the image and the seed
        return Operation(operation, _parse_arguments(call, node, operation, own))
    parameters = {name: p for name, p in parameters.items() if name not in _NOT_IN_STRING}
    arguments = _parse_arguments(call, node, operation, parameters)
    for argument, value in arguments.items():
        where = f"{operation}: {argument}"
        value = convert_value(where, value, str(parameters[argument].annotation))
        _check_argument(where, argument, value)
        arguments[argument] = value
    return Operation(operation, arguments)


def _find_operation(name: str) -> Callable[..., Any]:
    """The function of an operation, ours or one that is registered with Keras.

    Raises:
        ValueError: for an unknown one.
    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    package, dot, function = name.rpartition(".")
    if not dot:
        raise ValueError(f"unknown operation {name!r}{nearest(name, OPERATIONS)}; the operations are "
                         f"{', '.join(OPERATIONS)}")
    found: Any = keras.saving.get_registered_object(f"{package}>{function}")
    if found is None:
        raise ValueError(f"unknown operation {name!r}: no function {function} is registered by "
                         f"@keras.saving.register_keras_serializable({package!r}); import its module first")
    return found


def _parse_arguments(call: ast.Call | None, node: ast.expr, name: str,
                     parameters: dict[str, inspect.Parameter]) -> dict[str, Any]:
    """The arguments of a call by their names.

    Raises:
        ValueError: for unknown, missing or superfluous ones.
    """
    try:
        positional = [ast.literal_eval(a) for a in call.args] if call else []
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except ValueError as error:
        raise ValueError(f"{ast.unparse(node)}: expected literal arguments, such as crop(224)") from error
    usage = f"expected {name}({', '.join(_describe_parameter(p) for p in parameters.values())})"
    for keyword in keywords:
        if keyword not in parameters:
            raise ValueError(f"{ast.unparse(node)}: unknown argument "
                             f"{keyword!r}{nearest(keyword, parameters)}; {usage}")
    arguments = dict(zip(parameters, positional))
    missing = [parameter for parameter, p in parameters.items()
               if p.default is p.empty and parameter not in {*arguments, *keywords}]
    if missing or len(positional) > len(parameters) or set(arguments) & set(keywords):
        raise ValueError(f"{ast.unparse(node)}: {usage}")
    return arguments | keywords


def _describe_parameter(parameter: inspect.Parameter) -> str:
    return parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}")


def _check_argument(where: str, argument: str, value: Any) -> None:
    """Raises: ValueError for a value outside of its range."""
    is_fraction = argument in ("probability", "area")
    sides = value if isinstance(value, tuple) else (value,)
    if argument in _ABOVE_ZERO and not all(side > 0 for side in sides):
        raise ValueError(f"{where}={value!r}: expected a number above 0")
    if is_fraction and not 0 <= value <= 1:
        raise ValueError(f"{where}={value!r}: expected a number of 0 to 1")
    if isinstance(value, (int, float)) and value < 0:
        raise ValueError(f"{where}={value!r}: expected a number of at least 0")
    choices = _CHOICES.get(argument, (value,))
    if value not in choices:
        raise ValueError(f"{where}={value!r}: expected {' or '.join(choices)}{nearest(value, choices)}")
