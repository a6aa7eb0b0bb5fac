"""The state of a training in one file: weights, optimizer, averages, seeds, metrics, and where in the data it is."""
from __future__ import annotations

import json
import os
import pathlib
import zipfile
from typing import Any, Callable, Mapping, Sequence

import keras
import numpy as np

Groups = Mapping[str, Sequence[Any]]            # "model", "optimizer", "metrics" -> variables


def atomic(path: pathlib.Path, write: Callable[[Any], None]) -> None:
    """Writes a file whole or not at all, and only then calls it by its name.  Raises: OSError."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(new, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())     # a name for bytes that are on the disk
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def values(groups: Groups) -> dict[str, np.ndarray]:
    """The variables' values; of several workers each must ask, for they may have to talk about it."""
    found = {f"{group}/{i}": np.asarray(keras.ops.convert_to_numpy(v))
             for group, own in groups.items() for i, v in enumerate(own)}
    # NumPy's files know no bfloat16
    return {name: value.view("uint16") if value.dtype.name == "bfloat16" else value for name, value in found.items()}


def said(groups: Groups) -> dict[str, list[list[Any]]]:
    """What the variables are: name, shape and type of each."""
    return {group: [[v.name, list(v.shape), keras.backend.standardize_dtype(v.dtype)] for v in own]
            for group, own in groups.items()}


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes what `load` reads.  Raises: OSError, and what was there stays."""
    text = np.frombuffer(json.dumps(about).encode(), "uint8")
    atomic(path, lambda file: np.savez(file, about=text, **arrays))    # type: ignore[arg-type]


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, and what is said about them.

    Raises: FileNotFoundError; ValueError for a file that is not whole, each byte of which is checked.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; the training has none to go on from")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes())
        if not isinstance(about, dict):
            raise ValueError("it does not say what it holds")
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): it cannot be gone on from; last.keras and "
                         "best.keras beside it are files of their own") from error
    return arrays, about


def restore(groups: Groups, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], path: pathlib.Path) -> None:
    """Assigns the variables, all or none.  Raises: ValueError where they are not those of the checkpoint."""
    for group, own in said(groups).items():
        theirs = about["variables"].get(group, [])
        differ = [f"{a} here, {b} there" for a, b in zip(own, theirs) if a != b]
        if differ or len(own) != len(theirs):
            raise ValueError(f"{path} is of another training: its {group} has {len(theirs)} variables, and here are {len(own)}"
                             + (f"; {differ[0]}" if differ else ""))
    for group, variables in groups.items():
        for i, variable in enumerate(variables):
            value = arrays[f"{group}/{i}"]
            kind = keras.backend.standardize_dtype(variable.dtype)
            variable.assign(value.view(keras.ops.convert_to_numpy(variable).dtype) if kind == "bfloat16" else value)
