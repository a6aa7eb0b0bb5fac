"""A recipe: the fields of a net and of its training, each with its source.  Imports no framework."""
from __future__ import annotations

import ast
import dataclasses
import math
import struct
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Iterable, Mapping

from ..errors import unknown_argument
from ..spec import AnySpec, Spec
from ..spec import override as override_spec
from .augmentation_text import join_operations
from .epoch_sizes import replace_crop_size, split_sizes
from .keras_objects import describe_object, is_serialized
from .image_size import Sides
from .training import Training, convert_value, to_python, training_fields
from .training_checks import OPTIMIZER_FIELDS, SCHEDULE_FIELDS

OWN = "no paper: this package's choice"
_NO_SOURCES = ("", "given", "from scratch", OWN)      # said of a value that was not taken from a source

FieldValues = Mapping[str, Any]
Overrides = FieldValues | Iterable[str]         # {"epochs": 10}, or ["epochs=10"]


@dataclass(frozen=True)
class Recipe:
    """A way to train a net, as a paper describes it.

    Args:
        name: such as "wrn".
        description: one line: the paper and the data set.
        training: how to train.
        model: fields of the net's Spec, such as {"drop_path_rate": 0.1}.
        sources: where each value comes from, by its name: "epochs", "model.drop_path_rate".
        differs_from_source: in the same way, a sentence for each value that is not what its source does.
        starts_from_weights: whether it is for a net that is trained already.
    """

    name: str
    description: str
    training: Training
    model: FieldValues = field(default_factory=dict, hash=False)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    differs_from_source: Mapping[str, str] = field(default_factory=dict, hash=False)
    starts_from_weights: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "sources", "differs_from_source"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def values(self) -> dict[str, Any]:
        """The fields of the training, then those of the model as "model.NAME"."""
        return {**vars(self.training), **{f"model.{name}": value for name, value in self.model.items()}}

    def count_steps(self, images: int, batch_size: int | None = None) -> int:
        """Updates of the weights over the whole training.

        Args:
            images: images in the training set.
            batch_size: images per update; the recipe's by default.
        """
        training = self.training
        return training.steps or math.ceil(training.epochs * images / (batch_size or training.batch_size))

    def override(self, training: Overrides = (), model: Overrides = (), spec: AnySpec = Spec()) -> Recipe:
        """The recipe with some values replaced.

        If epochs replace steps, or steps replace epochs, milestones and warm-up keep their share of the
        training. A new `size` also changes the crops in `augmentation` (if that is not given), and
        `test_size` if it was equal to the old `size`.

        Args:
            training: fields of `Training`, as {"epochs": 10} or ["epochs=10"].
            model: fields of the net's Spec, in the same way.
            spec: the Spec of the net; the model fields are checked together with it.

        Returns:
            A new recipe, whose sources call the new values "given".

        Raises:
            TypeError: for a field that does not exist; the message suggests the nearest name.
            ArgumentError: for a value of a wrong type or outside of its range.

        Example:
            >>> reskeras.get_recipe("wrn").override({"epochs": 10}, ["block_dropout_rate=0.1"])
        """
        training, model = split_sizes(parse_overrides(training)), parse_overrides(model)
        new = _convert_fields(training)
        other_unit = {"epochs": "steps", "steps": "epochs"}
        new |= {other_unit[name]: 0 for name in new
                if name in other_unit and new[name] and other_unit[name] not in new}
        for consequences in (_make_room_for_objects(new), _rescale_times(self.training, new),
                             _resize_crops(self.training, new.get("size", 0))):
            new |= {name: value for name, value in consequences.items() if name not in new}

        changed_spec = override_spec(spec, model)
        new_model = {name: getattr(changed_spec, name) for name in model}
        sources = {**self.sources, **dict.fromkeys(new, "given"),
                   **{f"model.{name}": "given" for name in new_model}}
        return dataclasses.replace(self, training=dataclasses.replace(self.training, **new),
                                   model={**self.model, **new_model}, sources=sources)

    def as_dict(self) -> dict[str, Any]:
        """The recipe for a JSON file; other values than text and numbers are replaced by their `repr`."""
        plain_types = (str, int, float, type(None))
        model = {name: v if isinstance(v, plain_types) else getattr(v, "__qualname__", repr(v))
                 for name, v in self.model.items()}
        return {"name": self.name, "training": dataclasses.asdict(self.training), "model": model,
                "sources": dict(self.sources)}

    def with_sources(self, sources: Mapping[str, str]) -> Recipe:
        """The same values with other sources."""
        return dataclasses.replace(self, sources=sources)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """The values in which two recipes differ, as (here, there); "-" if a recipe does not have one."""
        here, there = self.values, other.values
        return {name: (here.get(name, "-"), there.get(name, "-")) for name in {**here, **there}
                if here.get(name, "-") != there.get(name, "-")}

    def as_text(self) -> str:
        """One line for each value that the recipe sets, with its source, and what differs from it."""
        defaults = vars(Training(epochs=1))
        lines = [f"{self.name}: {self.description}"]
        lines += [f"{name:26} {describe_object(value):44} {self._describe_source(name)}".rstrip()
                  for name, value in self.values.items()
                  if name in self.sources or value != defaults.get(name)]
        return "\n".join(lines)

    def _describe_source(self, name: str) -> str:
        source = self.sources.get(name, "")
        if source in _NO_SOURCES:
            return source
        return f"{source} | {self.differs_from_source.get(name, 'as the source')}"


def _convert_fields(values: FieldValues) -> dict[str, Any]:
    """The values with the types of their fields.  Raises: TypeError, ArgumentError; see `Recipe.override`."""
    types = {f.name: f.type for f in training_fields()}
    for name, value in values.items():
        if name not in types and name in vars(Spec()):
            raise TypeError(f"unknown argument {name}={value!r}: it is a field of the net, not of the "
                            "training; give it in model_overrides")
        if name not in types:
            raise unknown_argument(name, value, types, "the training part of a recipe")
    return {name: convert_value(name, value, types[name]) for name, value in values.items()}


def _rescale_times(training: Training, new: FieldValues) -> dict[str, Any]:
    """Milestones and warm-up in the new unit, if epochs replace steps or steps replace epochs."""
    before = training.unit
    after = "steps" if new.get("steps") else "epochs" if new.get("epochs") else before
    if after == before:
        return {}
    ratio = new[after] / getattr(training, before)
    return {"milestones": tuple(m * ratio for m in training.milestones), "warmup": training.warmup * ratio}


def _make_room_for_objects(new: FieldValues) -> dict[str, Any]:
    """What an optimizer or a schedule that is an object has of its own, in place of the recipe's values."""
    values: dict[str, Any] = {}
    optimizer = new.get("optimizer")
    if isinstance(optimizer, dict):
        values = {**OPTIMIZER_FIELDS, **SCHEDULE_FIELDS, "head_learning_rate": 0.0,
                  "learning_rate": _shorten(optimizer["config"].get("learning_rate", 0.0))}
    return values | (SCHEDULE_FIELDS if is_serialized(new.get("learning_rate")) else {})


def _shorten(value: Any) -> Any:
    """0.0001 instead of 9.999999747378752e-05, which is the same float32; other values as they are."""
    if not isinstance(value, float):
        return value
    short = float(f"{value:.7g}")
    return short if struct.unpack("f", struct.pack("f", short))[0] == value else value


def _resize_crops(training: Training, size: Sides) -> dict[str, Any]:
    """The augmentation with crops of the new size, and the test size if it was the same as the old one."""
    if not size or size == training.size:
        return {}
    augmentation = replace_crop_size(training.augmentation, training.size, size)
    has_same_test_size = training.test_size == training.size
    return {"augmentation": augmentation} | ({"test_size": size} if has_same_test_size else {})


def parse_overrides(overrides: Overrides) -> dict[str, Any]:
    """Fields as a dict, from a dict or from strings such as "epochs=10".

    Raises:
        ValueError: for a string without "=".
    """
    if isinstance(overrides, Mapping):
        return {name: to_python(join_operations(value) if name == "augmentation" else value, name)
                for name, value in overrides.items()}
    values: dict[str, Any] = {}
    for text in [overrides] if isinstance(overrides, str) else overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: expected NAME=VALUE, such as epochs=10")
        try:
            values[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            values[name.strip()] = value.strip()        # a word without quotes
    return values
