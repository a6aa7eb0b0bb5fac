"""The state of a training in one file.

It has the weights, the optimizer's variables, averages, random seeds, metrics, and the position in the data.
"""
from __future__ import annotations

import json
import math
import pathlib
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import keras
import numpy as np

from ..errors import describe_error
from ..file_reading import open_npz
from ..files import atomic_write
from ..json_reader import check_json_type, to_dataclass

VariableGroups = Mapping[str, Sequence[Any]]            # "model", "optimizer", "metrics" -> variables
Arrays = Mapping[str, np.ndarray]                       # "model/0" ... -> the value of a variable


@dataclass
class TrainState:
    """How far a training run is; a checkpoint contains it.

    Attributes:
        epoch: the number of the epoch.
        step: batches of the epoch that are done.
        logs: the results of the epoch's training, if the training of the epoch is over, but not its
            validation; otherwise None.
        best: the best validation accuracy so far; of several labels and of numbers, minus the smallest
            validation loss.
        best_raw: that of the weights themselves, if `best` is that of their averages.
        epochs: the numbers of the epochs that are done.
        history: the results of these epochs, as in Keras' History.
        unreadable: the indices of the images that could not be read.
        is_stopped: whether the run has ended before its last epoch, because there was no progress.
        continued_at: how many epochs were done each time when such a run was made longer.
    """

    epoch: int = 0
    step: int = 0
    logs: dict[str, float] | None = None
    best: float = -math.inf
    best_raw: float = -math.inf
    epochs: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    unreadable: list[int] = field(default_factory=list)
    is_stopped: bool = False
    continued_at: list[int] = field(default_factory=list)

    @classmethod
    def from_checkpoint(cls, info: dict[str, Any]) -> TrainState:
        """The state of a checkpoint, from what `load_checkpoint` returns."""
        state = to_dataclass(cls, info, "the checkpoint")
        numbers = [state.epoch, state.step, *state.epochs, *state.unreadable, *state.continued_at]
        if not all(0 <= number < 2 ** 63 for number in numbers):
            raise ValueError("the checkpoint: expected numbers of epochs, steps and images of at least 0")
        if any(len(values) > len(state.epochs) for values in state.history.values()):
            raise ValueError("the checkpoint: expected at most one value of each result for each epoch")
        return state

    def update_best(self, logs: Mapping[str, float], raw: bool = False, by_loss: bool = False) -> bool:
        """Whether an epoch's accuracy is better than all before; False if its loss is NaN or infinite.

        Args:
            logs: the results of the epoch; the better accuracy becomes the best one.
            raw: whether they are those of the weights themselves, whose averages count otherwise.
            by_loss: whether the smallest validation loss is the best, instead of the largest accuracy.
        """
        name, loss = "best_raw" if raw else "best", logs.get("val_loss", math.nan)
        if not math.isfinite(loss):
            return False
        value = -loss if by_loss else logs["val_accuracy"]
        is_best = value > getattr(self, name)
        if is_best:
            setattr(self, name, value)
        return is_best


def read_values(groups: VariableGroups) -> dict[str, np.ndarray]:
    """The values of the variables.  Every worker must call it, because they may exchange values."""
    arrays = {f"{group}/{i}": np.asarray(keras.ops.convert_to_numpy(variable))
              for group, variables in groups.items() for i, variable in enumerate(variables)}
    # NumPy's files have no bfloat16
    return {name: array.view("uint16") if array.dtype.name == "bfloat16" else array
            for name, array in arrays.items()}


def describe_variables(groups: VariableGroups) -> dict[str, list[list[Any]]]:
    """Returns [name, shape, dtype] of each variable."""
    return {group: [[v.name, list(v.shape), keras.backend.standardize_dtype(v.dtype)] for v in variables]
            for group, variables in groups.items()}


def save_checkpoint(path: pathlib.Path, arrays: Arrays, info: Mapping[str, Any]) -> None:
    """Writes a file that `load_checkpoint` reads.  Raises: OSError; the old file then stays."""
    text = np.frombuffer(json.dumps(info).encode(), "uint8")
    with atomic_write(path) as new, open(new, "wb") as file:
        np.savez(file, about=text, **arrays)    # type: ignore[arg-type]


def load_checkpoint(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the information of a checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file; every byte is checked.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; the training cannot be resumed without it")
    try:
        # a checkpoint is not compressed, so its arrays cannot be larger than the file
        with open_npz(path, max_bytes=path.stat().st_size) as file:
            arrays = {name: file[name] for name in file.files}
        # `parse_json` would refuse -Infinity, which is the best accuracy before the first validation
        info = json.loads(arrays.pop("about").tobytes())
        check_json_type(info, dict[str, Any], "the checkpoint", "about")
        check_json_type(info["variables"], dict[str, list[tuple[str, list[int], str]]], "it", "variables")
        TrainState.from_checkpoint(info)
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({describe_error(error)}): training cannot be resumed "
                         "from it; last.keras and best.keras beside it are separate files") from error
    return arrays, info


def has_rate(info: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has the learning rate; earlier versions saved none if the recipe's is constant."""
    return any(name == "learning_rate" for name, _, _ in info["variables"].get("optimizer", []))


def restore_variables(groups: VariableGroups, arrays: Arrays, info: Mapping[str, Any],
                      path: pathlib.Path) -> None:
    """Assigns the values of a checkpoint to variables, all or none.

    Args:
        groups: the variables.
        arrays: as `load_checkpoint` returns them.
        info: likewise; its "variables" is what `describe_variables` returned when the checkpoint was saved.
        path: the file, for the error.

    Raises:
        ValueError: if the variables are not those of the checkpoint, or values are missing in it.
    """
    for group, variables in describe_variables(groups).items():
        saved = [list(variable) for variable in info["variables"].get(group, [])]
        differences = [f"{a} here, {b} in the file" for a, b in zip(variables, saved) if a != b]
        if differences or len(variables) != len(saved):
            raise ValueError(f"{path} belongs to a different training: its {group} has {len(saved)} "
                             f"variables, here there are {len(variables)}"
                             + (f"; {differences[0]}" if differences else ""))
        for i, (name, shape, dtype) in enumerate(variables):
            array = arrays.get(f"{group}/{i}")
            saved_dtype = "uint16" if dtype == "bfloat16" else dtype
            if array is None or list(array.shape) != shape or array.dtype.name != saved_dtype:
                raise ValueError(f"{path} is damaged: the value of {name} in its {group} is missing, or of "
                                 "a different shape or type")
            if group == "model" and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{path}: the value of {name} is NaN or infinite; training cannot be "
                                 "resumed from it")

    for group, members in groups.items():
        for i, variable in enumerate(members):
            value = arrays[f"{group}/{i}"]
            dtype = keras.backend.standardize_dtype(variable.dtype)
            is_bfloat16 = dtype == "bfloat16"
            variable.assign(value.view(keras.ops.convert_to_numpy(variable).dtype) if is_bfloat16 else value)
