"""What run.json says of a training, and the types that its values must have."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..errors import check_whole_number
from ..json_reader import to_dataclass
from .arguments import FitArguments
from .augment import parse_augmentation
from .training import Training


@dataclass(frozen=True)
class _Data:
    name: str
    images: int
    classes: tuple[str, ...] | int
    label_offset: int | None = None
    labels: int | None = None       # their checksum


@dataclass(frozen=True)
class _Recipe:
    name: str
    training: Training
    model: dict[str, Any]
    sources: dict[str, str]


@dataclass(frozen=True)
class Continuation:
    """A change of the length of a training that is resumed.

    Attributes:
        unit: "epochs" or "steps".
        before: the length until then, in this unit.
        after: the new length.
        epochs_done: epochs of the whole training that were done or begun.
        steps_done: batches that the phase of all layers had done when it ended amid an epoch, else 0.
        learning_rate: a sentence: the rate that follows, and why.
    """

    unit: str
    before: int
    after: int
    epochs_done: int
    steps_done: int = 0
    learning_rate: str = ""

    def __post_init__(self) -> None:
        for name in ("before", "after", "epochs_done", "steps_done"):
            check_whole_number(name, getattr(self, name), 0, 2 ** 62)


@dataclass(frozen=True)
class _RunInfo:
    arguments: FitArguments
    strategy_argument: str | None
    net: str
    data: _Data
    recipe: _Recipe
    learning_rate: str
    seed: int
    strategy: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    resume: str = ""
    continued: tuple[Continuation, ...] = ()
    loggers: tuple[str, ...] = ()
    data_service: str | None = None


def check_run_info(info: Mapping[str, Any], source: str) -> None:
    """Checks all values in run.json, from which a training is resumed or described.

    Args:
        info: the content of run.json, with the code's names as keys.
        source: the name of the file, for an error.

    Raises:
        ValueError: for a missing value, or a value that a training cannot have.
        TypeError: for such a value inside a recipe.
    """
    run = to_dataclass(_RunInfo, dict(info), source)
    parse_augmentation(run.recipe.training.augmentation)
