"""Checks that an export may be written to a path: it may replace only what an earlier export has written."""
from __future__ import annotations

import os
import pathlib

from .formats import Format
from .gpu_server import BATCHING_FILE, TRITON_FILE, find_folder
from .report import is_report

_SAVED_MODEL_FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra",
                      BATCHING_FILE, TRITON_FILE}


def check_output_path(path: pathlib.Path, file_format: Format) -> None:
    """Checks the path before anything is computed.

    Args:
        path: where the file or the SavedModel folder will be written.
        file_format: format of the export.
    Raises:
        ValueError: there is something else at the path, or beside it, that would be lost.
    """
    if not path.name:
        raise ValueError(f"{os.fspath(path)!r}: expected the name of a file or of a new folder")
    for file in file_format.files(path):
        if file.exists() and not file.is_file() and not file.is_dir():
            raise ValueError(f"{file} is a pipe or a device; give the path of a file")
    _check_files_beside(path, file_format)

    is_folder = file_format.name == "SavedModel"
    known = _SAVED_MODEL_FILES | ({"1"} if find_folder(path) != path else set())     # a layout of servers
    if path.is_dir() and (not is_folder or {file.name for file in path.iterdir()} - known):
        raise ValueError(f"{path} is a folder of other files; give the path of a new one")
    if is_folder and path.is_file():
        raise ValueError(f"{path} is a file, and without a suffix a SavedModel folder would be written")


def _check_files_beside(path: pathlib.Path, file_format: Format) -> None:
    """Checks the files beside the path, which the export would replace.

    Raises: ValueError for one that no earlier export has written.
    """
    report, reference_outputs = (path.with_name(path.name + suffix) for suffix in (".json", ".npz"))
    foreign = [] if is_report(report) else [report, reference_outputs]
    if not path.exists():
        foreign += file_format.files(path)[1:]
    for file in foreign:
        if file.exists():
            raise ValueError(f"{file} is not of an earlier export to {path}, and would be lost; "
                             "give a different path")
