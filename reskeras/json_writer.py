"""JSON for files and other programs: numbers that are not finite, which JSON does not have, become null."""
from __future__ import annotations

import json
import math
from typing import Any


def to_json(data: Any, **options: Any) -> str:
    """The text of a value in JSON.

    Args:
        data: dictionaries, lists, texts and numbers; NaN and the infinities become null.
        **options: of `json.dumps`; by default `indent=2`.

    Raises:
        TypeError: for a value that JSON does not have.

    Example:
        >>> to_json({"loss": float("nan")}, indent=None)
        '{"loss": null}'
    """
    return json.dumps(_replace_infinite(data), allow_nan=False, **{"indent": 2, **options})


def _replace_infinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replace_infinite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_infinite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
