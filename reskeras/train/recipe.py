"""A recipe: the fields of a net, the fields of its training, and for every value its source.  Imports no framework."""
from __future__ import annotations

import ast
import dataclasses
import math
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Iterable, Mapping

from ..errors import ArgumentError, check_choice, check_number, unknown_argument
from ..spec import AnySpec, Spec
from ..spec import override as override_spec

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "nesterov", "adam", "adamw", "lamb"),
    "schedule": ("constant", "step", "plateau", "cosine"),
    "loss": ("softmax", "binary"),
    "learning_rate_scaling": ("linear", "sqrt", "none"),
}
EXPECTED = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a word",
            "tuple[float, ...]": "numbers in parentheses, such as (30, 60)"}
FieldValues = Mapping[str, Any]
Overrides = FieldValues | Iterable[str]         # {"epochs": 10}, or ["epochs=10"]


def _setting(default: Any, text: str) -> Any:
    """A dataclass field with a sentence of help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Training:
    """How a net is trained.  0, "" and False mean "not used".

    `milestones` and `warmup` are in epochs, or in steps (updates of the weights) where `steps` is set.
    The help of each field, for the command line and the documentation, is in `training_fields()`.

    Raises:
        ArgumentError: where a value is outside of its range or is not one of the choices.
    """

    epochs: int = _setting(0, "Length of the training, in epochs.")
    steps: int = _setting(0, "Length of the training in updates of the weights, instead of epochs.")
    batch_size: int = _setting(256, "Images per update of the weights, on all devices together.")
    optimizer: str = _setting("sgd", "The optimizer: sgd, nesterov, adam, adamw or lamb.")
    momentum: float = _setting(0.0, "Momentum of sgd and nesterov.")
    learning_rate: float = _setting(0.1, "Learning rate after the warm-up, for a batch of base_batch_size images.")
    base_batch_size: int = _setting(256, "The batch size, in images, that learning_rate is meant for.")
    learning_rate_scaling: str = _setting(
        "linear", "How the learning rate grows with batch_size / base_batch_size: linear, sqrt or none.")
    schedule: str = _setting("step", "Learning-rate schedule: constant, step, plateau or cosine.")
    milestones: tuple[float, ...] = _setting(
        (), "When the step schedule multiplies the learning rate by decay_factor, in epochs (or in steps).")
    decay_factor: float = _setting(0.1, "Factor of the learning rate at each milestone or plateau.")
    patience: int = _setting(0, "Epochs without progress that make a plateau.")
    warmup: float = _setting(0, "Length of the linear warm-up of the learning rate, in epochs (or in steps).")
    warmup_start: float = _setting(0.0, "Learning rate at the start of the warm-up, as a fraction of the full one.")
    weight_decay: float = _setting(0.0, "Weight decay, as the paper of the optimizer defines it.")
    decay_all_weights: bool = _setting(
        True, "Whether biases and the weights of normalization decay too, not only kernels.")
    loss: str = _setting("softmax", "The loss: softmax (one class per image) or binary (a sigmoid for each class).")
    label_smoothing: float = _setting(0.0, "Fraction of each label that is spread over all classes.")
    size: int = _setting(224, "Height and width of the training images, in pixels.")
    augmentation: str = _setting(
        "inception_crop(224)|flip", "Operations on each training image, separated by |.")
    augmentation_repeats: int = _setting(
        1, "How often an epoch contains each image that it draws, augmented differently each time.")
    ema_momentum: float = _setting(0.0, "Decay per update of the exponential moving average of the weights.")
    head_epochs: int = _setting(0, "Epochs before the others in which only the classifier is trained.")
    head_learning_rate: float = _setting(0.0, "Learning rate in these epochs.")
    freeze_statistics: bool = _setting(
        False, "Whether batch normalization keeps its moving mean and variance unchanged.")
    test_size: int = _setting(224, "Height and width of the validation images, in pixels.")
    test_crop_pct: float = _setting(0.875, "Fraction of the shorter side of a validation image that its center crop keeps.")

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                check_number(name, value, minimum=0, expected="a number of at least 0")
        for name in ("batch_size", "base_batch_size", "augmentation_repeats", "size", "test_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "a whole number of at least 1")
        if bool(self.epochs) == bool(self.steps):
            raise ArgumentError("epochs", self.epochs, f"either epochs or steps (now {self.steps}) above 0, not both")
        if self.warmup >= (length := self.epochs or self.steps):
            raise ArgumentError("warmup", self.warmup, "a warm-up that is shorter than the training, which has "
                                f"{self.unit}={length}", hint="set both")
        if self.schedule == "plateau" and self.patience < 1:
            raise ArgumentError("patience", self.patience, "at least 1, because schedule='plateau' needs the number of "
                                "epochs without progress that make a plateau, such as 5")

    @property
    def unit(self) -> str:
        """What `milestones` and `warmup` count: "steps" or "epochs"."""
        return "steps" if self.steps else "epochs"


@dataclass(frozen=True)
class TrainingField:
    """A field of `Training`, as the command line and the documentation show it.

    Attributes:
        type: the annotation: "int", "float", "bool", "str" or "tuple[float, ...]".
        choices: the values that are allowed, where they are words; else empty.
    """

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


def training_fields() -> list[TrainingField]:
    """The fields of `Training` in their order; each is also a keyword of `reskeras.fit`."""
    return [TrainingField(f.name, str(f.type), f.default, f.metadata["help"], CHOICES.get(f.name, ()))
            for f in dataclasses.fields(Training)]


@dataclass(frozen=True)
class Recipe:
    """A way to train a net, as a paper describes it.

    Args:
        name: such as "wrn".
        description: one line: the paper and the data set.
        training: how to train.
        model: fields of the net's Spec, such as {"drop_path_rate": 0.1}.
        sources: where each value comes from, by its name: "epochs", "model.drop_path_rate".
    """

    name: str
    description: str
    training: Training
    model: FieldValues = field(default_factory=dict, hash=False)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("model", "sources"):
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

        Where epochs replace steps, or steps replace epochs, milestones and warm-up keep their share of the training.
        Another `size` also changes the crops in `augmentation`, where that is not given, and an equal `test_size`.

        Args:
            training: fields of `Training`, as {"epochs": 10} or ["epochs=10"].
            model: fields of the net's Spec, in the same way.
            spec: the Spec of the net; the model fields are checked together with it.
        Returns: a new recipe, whose sources call the new values "given".
        Raises:
            TypeError: for a field that does not exist; the message names the nearest one.
            ArgumentError: for a value of another type or outside of its range.
        Example:
            >>> reskeras.get_recipe("wrn").override({"epochs": 10}, ["block_dropout_rate=0.1"])
        """
        training, model = parse_overrides(training), parse_overrides(model)
        new = _convert_fields(training)
        other_unit = {"epochs": "steps", "steps": "epochs"}
        new |= {other_unit[name]: 0 for name in new
                if name in other_unit and new[name] and other_unit[name] not in new}
        for consequences in (_rescale_times(self.training, new), _resize_crops(self.training, new.get("size", 0))):
            new |= {name: value for name, value in consequences.items() if name not in new}

        changed_spec = override_spec(spec, model)
        new_model = {name: getattr(changed_spec, name) for name in model}
        sources = {**self.sources, **dict.fromkeys(new, "given"), **{f"model.{name}": "given" for name in new_model}}
        return dataclasses.replace(self, training=dataclasses.replace(self.training, **new),
                                   model={**self.model, **new_model}, sources=sources)

    def as_dict(self) -> dict[str, Any]:
        """The recipe for a JSON file; values that are neither text nor numbers become the text of their `repr`."""
        model = {n: v if isinstance(v, (str, int, float, type(None))) else repr(v) for n, v in self.model.items()}
        return {"name": self.name, "training": dataclasses.asdict(self.training), "model": model,
                "sources": dict(self.sources)}

    def with_sources(self, sources: Mapping[str, str]) -> Recipe:
        """The same values with other sources."""
        return dataclasses.replace(self, sources=sources)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """The values in which two recipes differ, as (here, there); "-" where one of them does not have the value."""
        here, there = self.values, other.values
        return {name: (here.get(name, "-"), there.get(name, "-")) for name in {**here, **there}
                if here.get(name, "-") != there.get(name, "-")}

    def as_text(self) -> str:
        """One line for each value that the recipe sets, with its source."""
        defaults = vars(Training(epochs=1))
        lines = [f"{self.name}: {self.description}"]
        lines += [f"{name:24} {value!s:44} {self.sources.get(name, '')}".rstrip() for name, value in self.values.items()
                  if name in self.sources or value != defaults.get(name)]
        return "\n".join(lines)


def _convert_fields(values: FieldValues) -> dict[str, Any]:
    """The values with the types of their fields.  Raises: TypeError, ArgumentError; see `Recipe.override`."""
    types = {f.name: f.type for f in training_fields()}
    for name, value in values.items():
        if name not in types and name in vars(Spec()):
            raise TypeError(f"unknown argument {name}={value!r}: it is a field of the net, not of the training; "
                            "give it in model_overrides")
        if name not in types:
            raise unknown_argument(name, value, types, "the training part of a recipe")
    return {name: convert_value(name, value, types[name]) for name, value in values.items()}


def _rescale_times(training: Training, new: FieldValues) -> dict[str, Any]:
    """Milestones and warm-up in the new unit, where epochs replace steps or steps replace epochs."""
    before = training.unit
    after = "steps" if new.get("steps") else "epochs" if new.get("epochs") else before
    if after == before:
        return {}
    ratio = new[after] / getattr(training, before)
    return {"milestones": tuple(m * ratio for m in training.milestones), "warmup": training.warmup * ratio}


def _resize_crops(training: Training, size: int) -> dict[str, Any]:
    """The augmentation with crops of the new size, and the test size if it was the same as the old one."""
    if not size or size == training.size:
        return {}
    crops = rf"\b((?:inception_|pad_)?crop|resize)\({training.size}\b"
    augmentation = re.sub(crops, lambda match: f"{match[1]}({size}", training.augmentation)
    return {"augmentation": augmentation} | ({"test_size": size} if training.test_size == training.size else {})


def parse_overrides(overrides: Overrides) -> dict[str, Any]:
    """Fields as a dict, from a dict or from strings such as "epochs=10".

    Raises: ValueError for a string without "=".
    """
    if isinstance(overrides, Mapping):
        return dict(overrides)
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


def convert_value(name: str, value: Any, annotation: str) -> Any:
    """`value` with the type of its field.

    Args:
        name: the field, for the error.
        annotation: its type, one of `EXPECTED`.
    Raises: ArgumentError for a value that is not of this type.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation == "tuple[float, ...]" and isinstance(value, (tuple, list)):
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return tuple(value)
    elif annotation == "float" and is_number:
        return float(value)
    elif annotation == "int" and is_number and math.isfinite(value) and value == int(value):
        return int(value)
    elif annotation == "bool" and isinstance(value, bool) or annotation == "str" and isinstance(value, str):
        return value
    raise ArgumentError(name, value, EXPECTED[annotation])


@dataclass(frozen=True)
class ScaledLearningRate:
    """A learning rate, and a sentence that says how it was computed."""

    value: float
    reason: str


def scale_learning_rate(training: Training, batch_size: int | None = None) -> ScaledLearningRate:
    """The learning rate for a batch size, by the rule of the recipe.

    The rules: linear (arXiv:1706.02677), square root (arXiv:1904.00962) or none.

    Args:
        batch_size: images per update on all devices together; the recipe's by default.
    """
    batch_size = batch_size or training.batch_size
    base = training.base_batch_size
    ratio = batch_size / base
    factor = {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[training.learning_rate_scaling]
    value = training.learning_rate * factor
    if factor == 1:
        why = "the recipe's batch size" if ratio == 1 else "this recipe does not scale it"
        return ScaledLearningRate(value, f"learning rate {value:g} at batch size {batch_size}: {why}")
    rule = "" if training.learning_rate_scaling == "linear" else "the square root of "
    return ScaledLearningRate(value, f"learning rate {value:g} at batch size {batch_size}: {training.learning_rate:g} "
                                     f"at {base}, times {rule}{batch_size}/{base}")
