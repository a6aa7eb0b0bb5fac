"""Augmentation as a list of operations and functions, written as the one string that a file can hold."""
from __future__ import annotations

from typing import Any, Sequence

from ..errors import ArgumentError


def join_operations(value: Any) -> Any:
    """The string of a list such as ["pad_crop(32, 4)", my_package.invert, "flip"]; any other value as it is.

    Args:
        value: strings, and functions that `keras.saving.register_keras_serializable` has registered.

    Raises:
        ArgumentError: for a function that is not registered, which no file could name.
    """
    if not isinstance(value, (list, tuple)):
        return value
    return "|".join(part if isinstance(part, str) else _name_function(part, value) for part in value)


def _name_function(function: Any, value: Sequence[Any]) -> str:
    import keras        # the fields of a recipe need no framework; a function here has already imported it
    name = keras.saving.get_registered_name(function) if callable(function) else ""
    if keras.saving.get_registered_object(name) is not function:
        raise ArgumentError("augmentation", function, "operations such as 'flip', and functions that are "
                            "registered by @keras.saving.register_keras_serializable(\"your_package\"), so "
                            "that a run that is resumed finds them again")
    return name.replace(">", ".")
