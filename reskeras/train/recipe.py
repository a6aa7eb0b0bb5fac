"""What a recipe is: a model part and a training part, every value with its source.  No framework is imported here."""
from __future__ import annotations

import ast
import dataclasses
import difflib
import math
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Iterable, Mapping

from ..spec import AnySpec, Spec, nearest
from ..spec import override as spec_override

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "nesterov", "adam", "adamw", "lamb"),
    "schedule": ("constant", "step", "plateau", "cosine"),
    "loss": ("softmax", "binary"),
    "scaling": ("linear", "sqrt", "none"),
}
EXPECTED = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a word",
            "tuple[float, ...]": "numbers in parentheses, such as (30, 60)"}
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """How a net is trained; 0, "" and False are "not done".

    Times are in epochs, or in steps (updates of the weights) where `steps` is given.  `batch` is of all devices together.
    Raises: ValueError where a value is not one of its field; the message names the nearest.
    """
    epochs: int = 0
    steps: int = 0                          # instead of epochs
    batch: int = 256
    optimizer: str = "sgd"
    momentum: float = 0.0
    rate: float = 0.1                       # learning rate at the paper's batch, after the warm-up
    rate_batch: int = 256                   # the batch that `rate` is for
    scaling: str = "linear"                 # of the rate with the batch
    schedule: str = "step"
    milestones: tuple[float, ...] = ()
    factor: float = 0.1                     # of the rate at each milestone or plateau
    patience: int = 0                       # epochs without progress that make a plateau
    warmup: float = 0
    warmup_rate: float = 0.0                # where the linear warm-up begins, as a share of the rate
    weight_decay: float = 0.0
    decay_all: bool = True                  # False: kernels only, neither biases nor normalization
    loss: str = "softmax"                   # binary: a sigmoid for each class
    label_smoothing: float = 0.0
    size: int = 224                         # pixels, of the training images
    augment: str = "inception_crop(224)|flip"
    repeats: int = 1                        # repeated augmentation, arXiv:1901.09335
    ema: float = 0.0                        # decay per step of the averaged weights
    head_epochs: int = 0                    # before the others: the classifier alone
    head_rate: float = 0.0                  # learning rate meanwhile
    freeze_statistics: bool = False         # batch normalization stays in inference mode
    test_size: int = 224
    test_crop_pct: float = 0.875

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(known)}"
                                 f"{nearest(getattr(self, name), known)}")
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (int, float)) and (value < 0 or not math.isfinite(value)):
                raise ValueError(f"{f.name}={value!r}: expected a number of at least 0")
        for name in ("batch", "rate_batch", "repeats", "size", "test_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a whole number of at least 1")
        if bool(self.epochs) == bool(self.steps):
            raise ValueError(f"epochs={self.epochs}, steps={self.steps}: expected one of the two, and 0 for the other")
        if self.warmup >= (length := self.epochs or self.steps):
            raise ValueError(f"warmup={self.warmup:g}, {self.unit}={length}: expected a warm-up that is shorter than the "
                             "training; set both")
        if self.schedule == "plateau" and self.patience < 1:
            raise ValueError(f"patience={self.patience}: schedule='plateau' needs the epochs without progress that make one, "
                             "such as 5")

    @property
    def unit(self) -> str:
        return "steps" if self.steps else "epochs"


@dataclass(frozen=True)
class Recipe:
    """A way to train: fields of the net's Spec, the training, and for each value where it is from."""
    name: str
    about: str
    training: Training
    model: Fields = field(default_factory=dict, hash=False)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)    # "epochs", "model.drop_path_rate" -> where it says so

    def __post_init__(self):
        for name in ("model", "sources"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def values(self) -> dict[str, Any]:
        """The training's fields, then the model's as "model.NAME"."""
        return {**vars(self.training), **{f"model.{name}": value for name, value in self.model.items()}}

    def steps(self, images: int, batch: int | None = None) -> int:
        """Updates of the weights over the whole training, for a training set of so many images; epochs may end within a batch."""
        return self.training.steps or math.ceil(self.training.epochs * images / (batch or self.training.batch))

    def override(self, training: Fields | Iterable[str] = (), model: Fields | Iterable[str] = (),
                 net: AnySpec = Spec()) -> Recipe:
        """The recipe with some values replaced.

        Arguments:
            training: fields of `Training`, as a dict or as "epochs=10" each.
            model: fields of the net's Spec, in the same way.
            net: the Spec that they must fit to.
        Epochs in the place of steps, or steps of epochs, leave milestones and warm-up at their share of the training.
        Another `size` changes the crops of `augment` too, where that is not given, and an equal `test_size`.
        Raises: TypeError for a field that there is none, ValueError for a value of another type; both say what was expected.
        """
        given, fields = pairs(training), pairs(model)
        types = {f.name: str(f.type) for f in dataclasses.fields(Training)}
        for name in given:
            if name not in types:
                place = "; it is of the net: --model-set, model=" if name in vars(Spec()) else nearest(name, types)
                raise TypeError(f"unknown field {name}={given[name]!r}{place}; the fields are {', '.join(types)}")
        new = {name: typed(name, value, types[name]) for name, value in given.items()}
        other = {"epochs": "steps", "steps": "epochs"}
        new |= {other[name]: 0 for name in new if name in other and new[name] and other[name] not in new}
        new |= {name: value for name, value in converted(self.training, new).items() if name not in new}
        new |= {name: value for name, value in resized(self.training, new.get("size", 0)).items() if name not in new}
        spec = spec_override(net, fields)
        new_model = {name: getattr(spec, name) for name in fields}
        told = {**dict.fromkeys(new, "given"), **{f"model.{name}": "given" for name in new_model}}
        return dataclasses.replace(self, training=dataclasses.replace(self.training, **new),
                                   model={**self.model, **new_model}, sources={**self.sources, **told})

    def as_dict(self) -> dict[str, Any]:
        """For a file; values that are neither text nor numbers as the text of their Python."""
        plain = {n: v if isinstance(v, (str, int, float, type(None))) else repr(v) for n, v in self.model.items()}
        return {"name": self.name, "training": dataclasses.asdict(self.training), "model": plain, "sources": dict(self.sources)}

    def sourced(self, sources: Mapping[str, str]) -> Recipe:
        """The recipe with other words for where its values are from."""
        return dataclasses.replace(self, sources=sources)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """The values in which two recipes differ; "-" where the other does not say."""
        mine, theirs = self.values, other.values
        return {n: (mine.get(n, "-"), theirs.get(n, "-")) for n in {**mine, **theirs} if mine.get(n, "-") != theirs.get(n, "-")}

    def text(self) -> str:
        """What it says, a line for each value that it has, with its source."""
        silent = vars(Training(epochs=1))
        lines = [f"{self.name}: {self.about}"]
        lines += [f"{name:24} {value!s:44} {self.sources.get(name, '')}".rstrip() for name, value in self.values.items()
                  if name in self.sources or value != silent.get(name)]
        return "\n".join(lines)


def converted(training: Training, new: Fields) -> dict[str, Any]:
    """The times that would else be taken for epochs where they are steps, or the other way round."""
    before, after = training.unit, "steps" if new.get("steps") else "epochs" if new.get("epochs") else training.unit
    if after == before:
        return {}
    share = new[after] / getattr(training, before)
    return {"milestones": tuple(m * share for m in training.milestones), "warmup": training.warmup * share}


def resized(training: Training, size: int) -> dict[str, Any]:
    """What follows from another size of the images: that of the crops in the augmentation, and of the test if it was the same."""
    if not size or size == training.size:
        return {}
    crops = rf"\b((?:inception_|pad_)?crop|resize)\({training.size}\b"
    augment = re.sub(crops, lambda found: f"{found[1]}({size}", training.augment)
    return {"augment": augment} | ({"test_size": size} if training.test_size == training.size else {})


def pairs(given: Fields | Iterable[str]) -> dict[str, Any]:
    """A dict of fields, from one or from strings such as "epochs=10".  Raises: ValueError for a string without a "="."""
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, Any] = {}
    for text in [given] if isinstance(given, str) else given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: expected NAME=VALUE, such as epochs=10")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            found[name.strip()] = value.strip()     # a word without quotes
    return found


def typed(name: str, value: Any, kind: str) -> Any:
    """`value` as a field of that type.  Raises: ValueError, see `Recipe.override`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "tuple[float, ...]" and isinstance(value, (tuple, list)):
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return tuple(value)
    elif kind == "float" and number:
        return float(value)
    elif kind == "int" and number and math.isfinite(value) and value == int(value):
        return int(value)
    elif kind == "bool" and isinstance(value, bool) or kind == "str" and isinstance(value, str):
        return value
    raise ValueError(f"{name}={value!r}: expected {EXPECTED[kind]}")


@dataclass(frozen=True)
class Rate:
    """A learning rate, and how it came about."""
    value: float
    reason: str


def learning_rate(training: Training, batch: int | None = None) -> Rate:
    """The rate at a global batch, by the recipe's rule: linear (arXiv:1706.02677), square root (arXiv:1904.00962) or none."""
    batch = batch or training.batch
    share = batch / training.rate_batch
    factor = {"linear": share, "sqrt": math.sqrt(share), "none": 1.0}[training.scaling]
    value = training.rate * factor
    if factor == 1:
        why = "the recipe's batch" if share == 1 else "this recipe does not scale it"
        return Rate(value, f"learning rate {value:g} at batch {batch}: {why}")
    rule = "" if training.scaling == "linear" else "the square root of "
    return Rate(value, f"learning rate {value:g} at batch {batch}: {training.rate:g} at {training.rate_batch}, times {rule}"
                       f"{batch}/{training.rate_batch}")


def closest(name: str, known: Iterable[str]) -> str:
    """As `nearest`, without regard of case, "-" and "_"."""
    plain = {k.lower().replace("_", ""): k for k in known}
    found = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=0.5)
    return f"; did you mean {plain[found[0]]!r}?" if found else ""
