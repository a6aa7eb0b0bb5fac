"""`verify`: checks exported files again, on the machine that will run them."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Sequence

from ..errors import ArgumentError, make_printable
from ..terminal import print_text
if TYPE_CHECKING:
    from ..exporters.verify import VerificationReport

Path = str | os.PathLike[str]


def verify(file: Path, *, threads: int = 1, trust: bool = False,
           sha256: str | None = None) -> VerificationReport:
    """Checks an exported file on this machine, with its own runtime only: Keras is not needed.

    The file is run on the images that were kept beside it, and its outputs are compared with Keras' outputs
    and with its own outputs at the export.

    Args:
        file: a file that `reskeras.export` wrote; its `.json` and `.npz` files must be beside it.
        threads: number of threads of the runtime.
        trust: whether a SavedModel, which is a program, may run.
        sha256: the hash that the file must have, as in its report; a file with a different hash does not
            pass, and is not run.

    Returns:
        A report: `passed`, `faults`, and by runtime the differences and the latency.

    Raises:
        ArgumentError: for a wrong number of threads, a `sha256` that is no hash, or a SavedModel if `trust`
            is not True.
        FileNotFoundError: if one of the three files is missing.
        ValueError: if one of the three files cannot be read.

    Example:
        >>> reskeras.verify("saved_models/cifar_resnet20.digits.int8.tflite").passed
        True
    """
    from ..exporters.verify import verify_file
    return verify_file(file, threads, trust=trust, sha256=sha256)


def verify_all(files: Sequence[Path], threads: int = 1, trust: bool = False,
               sha256: str | None = None) -> list[VerificationReport]:
    """Verifies each of the files.  Raises: ArgumentError for a `sha256` with more than one file."""
    if sha256 is not None and len(files) > 1:
        raise ArgumentError("sha256", sha256, f"one file that must have it, not {len(files)}")
    return [verify(file, threads=threads, trust=trust, sha256=sha256) for file in files]


def print_result(reports: list[VerificationReport], json: bool = False) -> int:
    """Prints a line for each file, or JSON.  Returns: the exit code, 1 if a file did not pass."""
    if json:
        print_text("[" + ",\n".join(report.to_json() for report in reports) + "]")
    else:
        print_text("\n".join(make_printable(report.summary()) for report in reports))
    return int(not all(report.passed for report in reports))
