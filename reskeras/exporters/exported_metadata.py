"""What an exported file says of its images and classes: in a .tflite itself, otherwise in its report."""
from __future__ import annotations

import pathlib
from typing import Any

from ..json_reader import read_json
from ..model_metadata import METADATA_KEY, ModelMetadata
from .formats import find_format
from .measurements import compute_size_and_hash
from .report import has_keys_of_report
from .tflite.flatbuffer import read_metadata


def read_exported_metadata(file: pathlib.Path) -> ModelMetadata:
    """Reads the metadata of an exported file.

    Args:
        file: an exported file, or a SavedModel folder.

    Returns:
        The metadata; without preprocessing and labels if nothing is known.

    Raises:
        ValueError: if the file or its report is damaged, or the report belongs to a different file.
        OSError: if they cannot be read.
    """
    values: dict[str, Any] = read_metadata(file) if file.suffix == ".tflite" else {}
    source, report = file, file.with_name(f"{file.name}.json")
    if not values and report.exists():
        found = read_json(report)
        if has_keys_of_report(found):       # otherwise another program wrote it
            values, source = found, report
            if compute_size_and_hash(*find_format(file).files(file))[1] != values["sha256"]:
                raise ValueError(f"{report} is not the report of {file.name}: its sha256 is different; if an "
                                 "export was killed, export again")
    return ModelMetadata.from_config(values.get(METADATA_KEY) or {}, f"{source}: {METADATA_KEY}")
