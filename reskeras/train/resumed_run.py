"""A training run that is resumed: what its folder says about it."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..build import load
from ..errors import ArgumentError
from ..model_metadata import get_metadata
from ..model_with_metadata import set_metadata
from .checkpoint import TrainState, load_checkpoint
from .run_folder import CHECKPOINT_FILE, LAST_MODEL, RunFolder
from .source import DataSource
from .training import Training


@dataclass
class ResumedRun:
    """A training run that is resumed: its folder, its run.json, and its checkpoint.

    Attributes:
        is_changed: whether run.json must be written again.
    """

    run: RunFolder
    info: dict[str, Any]
    checkpoint: tuple[dict[str, Any], dict[str, Any]]
    state: TrainState
    is_changed: bool = False

    @classmethod
    def open(cls, folder: str | os.PathLike[str], output: Any) -> ResumedRun:
        """Opens a run folder.  Raises: ArgumentError if `output` is another one; as `RunFolder.open`."""
        if output is not None and os.fspath(output) != os.fspath(folder):
            raise ArgumentError("output", os.fspath(output), f"the same folder as `resume`, "
                                f"{os.fspath(folder)!r}: a training run is resumed in its own folder")
        run, info = RunFolder.open(folder)
        checkpoint = load_checkpoint(run.path(CHECKPOINT_FILE))
        return cls(run, info, checkpoint, TrainState.from_checkpoint(checkpoint[1]))

    @property
    def training(self) -> Training:
        """The recipe's training part, with the overrides."""
        fields: dict[str, Any] = self.info["recipe"]["training"]
        tuples = {name: tuple(fields.get(name, ())) for name in ("milestones", "size_epochs")}
        return Training(**{**fields, **tuples})

    def find_preprocessing(self, argument: Any) -> Any:
        """The preprocessing that the run was started with.  Raises: ArgumentError for another `argument`."""
        model = load(self.run.path(LAST_MODEL))
        before = get_metadata(model).preprocessing
        if argument is not None and get_metadata(set_metadata(model, argument)).preprocessing != before:
            raise ArgumentError("preprocessing", argument, f"{before}, with which the training in "
                                f"{self.run.folder} was started", hint="leave it out")
        return before

    def check_data(self, images: DataSource, name: str, value: Any) -> None:
        """Raises: ValueError if the data are not those that the run was started with."""
        # earlier versions took the first label of TFRecord files for 1, and did not write it down
        before = self.info["data"].get(name, 1 if name == "label_offset" and value is not None else None)
        if before != value:
            raise ValueError(f"{images.name}: {name} are {value}, but the training was started with "
                             f"{before}; start a new training in another folder than {self.run.folder}")

    def check_labels(self, images: DataSource) -> None:
        """Raises: ValueError if images have other labels, or another order, than those of the start."""
        before, now = self.info["data"].get("labels"), images.sum_labels()
        if None not in (before, now) and before != now:
            raise ValueError(f"{images.name}: labels or their order are not those that the training was "
                             f"started with; start a new training in another folder than {self.run.folder}")
