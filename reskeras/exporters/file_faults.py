"""What is wrong with a file that was just written: before it is compared, and why it did not pass then."""
from __future__ import annotations

import contextlib
import pathlib
from typing import Iterator

import keras

from ..errors import ExportError
from .formats import Format
from .options import ExportOptions
from .report import ExportReport

_MAX_FAULTS = 3
# If a larger share of the values lies outside the calibrated ranges, an error gives that as the reason
_MAX_OUTSIDE = 0.05


def find_file_faults(file: pathlib.Path, path: pathlib.Path, file_format: Format, options: ExportOptions,
                     strict: bool) -> list[str]:
    """Why the format's runtimes would not take a file.

    Args:
        file: the file, at its temporary path.
        path: the final path, for an error.
        file_format: its format.
        options: its options.
        strict: whether a fault is an error.

    Returns:
        A phrase for each fault, at most a few.

    Raises:
        ExportError: there is a fault, and `strict` is True.
    """
    faults = file_format.module.find_faults(file, options)[:_MAX_FAULTS]
    if faults and strict:
        raise ExportError(f"{path}: {'; '.join(faults)}; nothing was written")
    return faults


@contextlib.contextmanager
def name_rejected_file(temporary_path: pathlib.Path, path: pathlib.Path) -> Iterator[None]:
    """Makes an error about the temporary file name the final path.

    Args:
        temporary_path: where the file is.
        path: where it would have been.

    Raises:
        ExportError: the runtime rejects the file.
    """
    try:
        yield
    except ValueError as error:
        if str(temporary_path) not in str(error):
            raise
        message = str(error).replace(str(temporary_path), str(path))
        raise ExportError(f"{message}; nothing was written") from error


def explain_failure(model: keras.Model, report: ExportReport) -> str:
    """A hint for what is known to fail, and what to do instead.

    Args:
        model: that was exported.
        report: of its file, which did not pass.
    """
    if (report.outside_ranges or 0) > _MAX_OUTSIDE:
        return (f" ({report.outside_ranges:.0%} of the values are outside the ranges of the calibration; "
                "calibrate on images like those that are compared)")
    has_groups = any(isinstance(layer, keras.layers.GroupNormalization) for layer in model.layers)
    if report.quantize == "int8" and has_groups:
        return (" (group normalization divides each group of channels by its deviation in the image, and a "
                "group of small values has only a few of the 256 levels of its tensor; give 'int16x8', "
                "'dynamic' or 'float16' as `quantize` for such nets)")
    return ""
