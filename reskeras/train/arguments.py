"""The arguments of a training run that change its result; a resumed run keeps them."""
from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping

import keras
import numpy as np

from ..errors import ArgumentError, check_choice, check_number, check_whole_number, unknown_argument
from .keras_objects import describe_object, is_serialized
from .labels import read_class_weight
from .metrics import read_metrics
from .recipe import Overrides, parse_overrides
from .recipes import choose_recipe
from .source import check_label_offset
from .training import to_python, training_fields

_OBJECT = "not in a file"       # the key, in run.json, of a value that a file cannot hold

# arguments of Keras' fit -> what is given here
_KERAS_ARGUMENTS = {
    "x": "give data=(images, labels)", "y": "give data=(images, labels)",
    "sample_weight": "give data=(images, labels, weights)",
    "shuffle": "the images are shuffled in each epoch",
    "steps_per_epoch": "give epochs, or steps for the length of the training"}


@dataclass(frozen=True)
class FitArguments:
    """The arguments of `reskeras.fit` that decide about the trained weights, see there.

    Numbers of NumPy become Python's own, and a dtype policy its name, so that a file can hold them.

    Raises:
        ArgumentError: for a value outside of its range.
    """

    model: Any
    data: Any
    recipe: Any = None
    validation_data: Any = None
    validation_split: float = 0.0
    dtype: Any = None
    jit_compile: bool = False
    micro_batches: int = 1
    deterministic: bool = False
    seed: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    model_overrides: Any = ()
    classes: int | None = None
    preprocessing: Any = None
    max_unreadable: int = 100
    label_offset: int | None = None
    weights: str | None = "auto"
    class_weight: Any = None
    metrics: Any = ()
    quantize: str | None = None
    teacher: Any = None

    def __post_init__(self) -> None:
        for name, minimum in (("micro_batches", 1), ("seed", 0), ("max_unreadable", 0)):
            object.__setattr__(self, name, check_whole_number(name, getattr(self, name), minimum))
        if self.classes is not None:
            object.__setattr__(self, "classes", check_whole_number("classes", self.classes))
        object.__setattr__(self, "label_offset", check_label_offset(self.label_offset))
        object.__setattr__(self, "weights", "none" if self.weights is None else self.weights)
        check_choice("weights", self.weights, ("auto", "none"))
        check_choice("quantize", self.quantize, (None, "int8"))
        for name in ("jit_compile", "deterministic"):
            object.__setattr__(self, name, _check_boolean(name, getattr(self, name)))
        if type(self.dtype) is keras.DTypePolicy:       # not a map of policies, which has no name of its own
            object.__setattr__(self, "dtype", self.dtype.name)
        object.__setattr__(self, "class_weight", read_class_weight(self.class_weight))
        object.__setattr__(self, "metrics", read_metrics(self.metrics))
        if self.seed >= 2 ** 31:
            raise ArgumentError("seed", self.seed, f"a whole number below {2 ** 31}")
        fraction = check_number("validation_split", self.validation_split, 0, 1,
                                "a fraction of the images, in [0, 1)")
        object.__setattr__(self, "validation_split", fraction)
        if self.validation_split and self.validation_data is not None:
            raise ArgumentError("validation_split", self.validation_split,
                                f"either validation_data (now {_short_text(self.validation_data)}) or "
                                "validation_split")

    def as_dict(self) -> dict[str, Any]:
        """The arguments for a JSON file.

        Values that are neither text nor numbers are replaced by the name of their type; to resume, they must
        be given again.
        """
        return {name: _to_json(value) for name, value in vars(self).items()}

    def as_text(self) -> str:
        """The arguments that differ from their defaults, as in a call."""
        defaults = vars(FitArguments(None, None, choose_recipe(None, self.quantize)))
        changed = {name: value for name, value in vars(self).items()
                   if _to_json(value) not in (_to_json(defaults[name]), {}, [])}
        return ", ".join(f"{name}={_short_text(value)}" for name, value in changed.items())

    def resume(self, saved: Mapping[str, Any], folder: Any) -> FitArguments:
        """The arguments that a run was started with, and those of now that no file can hold.

        Args:
            saved: what `as_dict` returned when the run was started.
            folder: its folder, for the errors.

        Raises:
            ArgumentError: if an argument of now differs, or one that no file can hold is missing.
        """
        defaults, arguments = vars(FitArguments(None, None)), {}
        for f in dataclasses.fields(self):
            value, default = getattr(self, f.name), defaults[f.name]
            before = saved.get(f.name, _to_json(default))
            if isinstance(before, dict) and _OBJECT in before:
                if f.name in ("data", "validation_data", "teacher") and value is None:
                    raise ArgumentError("resume", os.fspath(folder), f"{f.name} too, which was a "
                                        f"{before[_OBJECT]} that no file holds", hint="give it again")
                arguments[f.name] = value
            elif _to_json(value) not in (before, _to_json(default)):
                raise ArgumentError(f.name, value, f"{before!r}, with which the training in "
                                    f"{os.fspath(folder)} was started",
                                    hint="leave it out, or start a new training in another folder")
            else:
                arguments[f.name] = before
        return FitArguments(**arguments)


def merge_overrides(overrides: Overrides, keywords: Mapping[str, Any],
                    known: Iterable[str]) -> dict[str, Any]:
    """The overrides of the training part, from the argument and from the keywords of `fit`.

    Args:
        overrides: {field: value}, or texts such as "epochs=10".
        keywords: those of `fit` that are no arguments of their own.
        known: all keywords of `fit`.

    Raises:
        TypeError: for an unknown keyword; the message suggests the nearest name.
        ArgumentError: for a field that is given twice.
    """
    names = {field.name for field in training_fields()}
    for name, value in keywords.items():
        if name not in names:
            raise unknown_argument(name, value, known, "fit", _KERAS_ARGUMENTS.get(name, ""))
    values = parse_overrides(overrides)
    fields = parse_overrides({name: value for name, value in keywords.items() if value is not None})
    for name in fields:
        if name in values:
            raise ArgumentError(name, fields[name], f"no {name} in overrides too (there it is "
                                f"{values[name]!r})", hint="give it once")
    return values | fields


def _check_boolean(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(name, value, "True or False")
    return bool(value)


def _to_json(value: Any) -> Any:
    value = to_python(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: _to_json(v) for name, v in value.items()}
    kinds = (str, int, float, list, tuple, dict, type(None))
    if isinstance(value, (list, tuple)) and all(isinstance(v, kinds) for v in value):
        parts = [_to_json(v) for v in value]
        if not any(isinstance(part, dict) and _OBJECT in part for part in parts):
            return parts
    return {_OBJECT: type(value).__name__}


def _short_text(value: Any) -> str:
    """A value as in a call; the name of its type for an object that a file cannot hold."""
    saved = _to_json(value)
    if is_serialized(saved):
        return describe_object(saved)
    if isinstance(saved, dict) and _OBJECT in saved:
        return str(saved[_OBJECT])
    if isinstance(saved, dict):
        return "{" + ", ".join(f"{name!r}: {_short_text(v)}" for name, v in saved.items()) + "}"
    if isinstance(saved, list):
        return f"[{', '.join(map(_short_text, saved))}]"
    return repr(saved)
