"""`verify`: checks exported files again, on the machine that will run them."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterable

if TYPE_CHECKING:
    from ..exporters.verify import VerificationReport

Path = str | os.PathLike[str]


def verify(file: Path, *, threads: int = 1) -> VerificationReport:
    """Checks an exported file on this machine, with its own runtime alone: Keras is not needed.

    The file is run on the images that were kept beside it, and its outputs are compared with Keras' outputs
    and with its own outputs at the export.

    Args:
        file: a file that `reskeras.export` wrote; its `.json` and `.npz` files must be beside it.
        threads: number of threads of the runtime.

    Returns:
        A report: `passed`, `faults`, and by runtime the differences and the latency.

    Raises:
        ArgumentError: for a wrong number of threads.
        FileNotFoundError: if one of the three files is missing.
        ValueError: if one of the three files cannot be read.

    Example:
        >>> reskeras.verify("saved_models/cifar_resnet20.digits.int8.tflite").passed
        True
    """
    from ..exporters.verify import verify_file
    return verify_file(file, threads)


def verify_all(files: Iterable[Path], threads: int = 1) -> list[VerificationReport]:
    """Verifies each of the files."""
    return [verify(file, threads=threads) for file in files]


def print_result(reports: list[VerificationReport], json: bool = False) -> int:
    """Prints a line for each file, or JSON.  Returns: the exit code, 1 if a file did not pass."""
    if json:
        print("[" + ",\n".join(report.to_json() for report in reports) + "]")
    else:
        print("\n".join(report.summary() for report in reports))
    return int(not all(report.passed for report in reports))
