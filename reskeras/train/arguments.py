"""What a training was asked for."""
from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, Mapping

OBJECT = "not in a file"


@dataclass(frozen=True)
class Asked:
    """What decides about the weights in the end; a training that goes on keeps to it."""
    model: Any
    data: Any
    recipe: Any = "finetune"
    validation: Any = None
    validation_split: float = 0.0
    policy: str | None = None
    jit: bool = False
    accumulate: int = 1
    deterministic: bool = False
    seed: int = 0
    set: Any = ()
    model_set: Any = ()
    classes: int | None = None
    preprocess: Any = None
    limit: int = 100

    def __post_init__(self):
        for name in ("accumulate", "seed", "limit"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < (name == "accumulate"):
                raise ValueError(f"{name}={value!r}: expected a whole number of at least {int(name == 'accumulate')}")
        if self.seed >= 2 ** 31:
            raise ValueError(f"seed={self.seed}: expected a whole number below {2 ** 31}")
        if not 0 <= self.validation_split < 1:
            raise ValueError(f"validation_split={self.validation_split!r}: expected a share of the images, in [0, 1)")
        if self.validation_split and self.validation is not None:
            raise ValueError(f"validation={called(self.validation)} and validation_split={self.validation_split}: give one")

    def as_dict(self) -> dict[str, Any]:
        """For a file; what is neither text nor numbers is called by its type there, and must be given again."""
        return {f.name: written(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @property
    def said(self) -> str:
        """The arguments that are not as they are without being given."""
        unsaid = Asked(None, None)
        given = [f.name for f in dataclasses.fields(self)
                 if written(getattr(self, f.name)) not in (written(getattr(unsaid, f.name)), {}, [])]
        return ", ".join(f"{name}={called(getattr(self, name))}" for name in given)

    def resumed(self, before: Mapping[str, Any], folder: Any) -> Asked:
        """As before, with what a file cannot hold.  Raises: ValueError where something else was given, or is missing."""
        unsaid, found = Asked(None, None), {}
        for f in dataclasses.fields(self):
            given, default = getattr(self, f.name), getattr(unsaid, f.name)
            there = before.get(f.name, written(default))
            if isinstance(there, dict) and OBJECT in there:
                if f.name in ("data", "validation") and given is None:
                    raise ValueError(f"resume={os.fspath(folder)!r}: {f.name} was a {there[OBJECT]}, which no file holds; "
                                     "give it again")
                found[f.name] = given
            elif written(given) not in (there, written(default)):
                raise ValueError(f"{f.name}={called(given)}: the training in {os.fspath(folder)} was begun with {there!r}; begin "
                                 "anew in another folder, or leave it out")
            else:
                found[f.name] = there
        return Asked(**found)


def written(value: Any) -> Any:
    """As JSON has it."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: written(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)) and all(isinstance(v, (str, int, float, list, tuple)) for v in value):
        return [written(v) for v in value]
    return {OBJECT: type(value).__name__}


def called(value: Any) -> str:
    text = written(value)
    return text[OBJECT] if isinstance(text, dict) and OBJECT in text else repr(text)
