"""Checks an exported file again on the machine that will run it; needs only NumPy and the file's runtime."""
from __future__ import annotations

import os
import pathlib
import re
import time
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ArgumentError, check_whole_number, name_damaged_file, short_repr
from ..json_writer import to_json
from .comparison import RuntimeResult, compare_outputs, compute_relative_difference
from .formats import BatchRunner, Format, find_format, open_file
from .measurements import compute_size_and_hash, identify_files, measure_latency
from .named.verify import verify_named
from .reference_outputs import ReferenceOutputs, read_reference_outputs
from .report import ExportReport, to_dict
from .thresholds import find_fault
from .tflite.runtime import load_logits_function

TOLERANCE = 0.05    # integer kernels of two machines may round differently, and a net amplifies this
# If a writer replaces the three files meanwhile: how often they are read again, and the seconds in between
_MAX_ATTEMPTS, _PAUSE = 20, 0.1
_HINT = "if an export was killed, export again"


@dataclass(frozen=True)
class VerificationReport:
    """What a file does on this machine."""

    file: str
    passed: bool
    faults: tuple[str, ...]             # why it did not pass, () if it passed
    images: int                         # the number of images that were compared
    runtimes: dict[str, RuntimeResult]  # compared with Keras' outputs
    # relative difference between the first runtime's outputs here and on the machine that exported the file
    difference_from_export: float
    operators: dict[str, int]
    versions: dict[str, str]

    def summary(self) -> str:
        """One line for people."""
        results = "".join(f"; {name} {r.latency_ms['median']:.2f} ms, "
                          f"{r.max_relative_difference:.1e} from Keras"
                          for name, r in self.runtimes.items())
        verdict = "passed" if self.passed else f"FAILED: {', '.join(self.faults)}"
        return f"{self.file}: {verdict} ({self.images} images{results})"

    def to_json(self) -> str:
        """Returns JSON with the keys of an export's report; null if a difference is not finite."""
        return to_json(to_dict(self))


def verify_file(path: str | os.PathLike[str], threads: int = 1, *, trust: bool = False,
                sha256: str | None = None) -> VerificationReport:
    """Runs an exported file on the images beside it, and compares the outputs with those saved at the export.

    Outputs of Keras and of the exported file were saved.  The report has the hashes of the file and of the
    images; if one of them is different, the file does not pass.  An export replaces the three files one after
    the other; if one of them is replaced during the check, all are read again.

    Args:
        path: path of a file that `reskeras.export` wrote, with its `.json` and `.npz` beside it.
        threads: number of threads of the runtime.
        trust: whether a SavedModel, which is a program, may run.
        sha256: the hash that the file must have; a file with a different hash does not pass, and is not run.
    Returns:
        What was compared, and whether it passed.
    Raises:
        ArgumentError: `path` is no path, `sha256` is not a hash, or the file is a SavedModel and `trust`
            is not True.
        FileNotFoundError: one of the three files is missing.
        ValueError: one of the three files cannot be read.
        ImportError: the file's runtime is not installed.
    Example:
        >>> reskeras.verify("net.tflite").passed
        True
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("path", path, "the path of an exported file",
                            hint="write a model to a file first, with reskeras.export")
    file = pathlib.Path(path)
    file_format = find_format(file)
    threads = check_whole_number("threads", threads)
    if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
        raise ArgumentError("sha256", sha256, "64 hexadecimal digits")
    report_file, reference_file = (file.with_name(file.name + suffix) for suffix in (".json", ".npz"))
    paths = (*file_format.files(file), report_file, reference_file)

    result: VerificationReport | ValueError | OSError
    for _ in range(_MAX_ATTEMPTS):
        before = identify_files(*paths)
        try:
            result = _verify_once(file, file_format, report_file, reference_file, threads, trust, sha256)
        except (ValueError, OSError) as error:
            result = error
        if not isinstance(result, VerificationReport) or not result.runtimes:
            time.sleep(_PAUSE)      # a writer may have replaced one file, and not yet the next
        if identify_files(*paths) == before:
            if isinstance(result, VerificationReport):
                return result
            raise result
    return _refuse(file, file_format, "it was replaced again and again while it was read")


def _verify_once(file: pathlib.Path, file_format: Format, report_file: pathlib.Path,
                 reference_file: pathlib.Path, threads: int, trust: bool,
                 sha256: str | None) -> VerificationReport:
    for needed in (file, report_file, reference_file):
        if not needed.exists():
            raise FileNotFoundError(f"{needed}: no such file; reskeras.export writes it beside the net")
    report = ExportReport.read(report_file)
    reference = read_reference_outputs(reference_file) if report.interface is None else None
    size_and_hash = compute_size_and_hash(*file_format.files(file))
    if sha256 is not None and size_and_hash[1] != sha256.lower():
        return _refuse(file, file_format, f"its sha256 is {size_and_hash[1]}, not {sha256.lower()}")
    if size_and_hash != (report.bytes, report.sha256):      # do not run it: it may crash its runtime
        return _refuse(file, file_format,
                       f"it is not the file of the report: its sha256 is different; {_HINT}")
    reference_hash = compute_size_and_hash(reference_file)[1]
    if report.reference_sha256 not in (None, reference_hash):
        return _refuse(file, file_format, f"{reference_file.name} is not that of the report: its sha256 is "
                       f"different; {_HINT}")
    if unknown := sorted(report.runtimes.keys() - file_format.module.RUNTIMES.keys()):
        raise ValueError(f"{report_file} names {', '.join(map(short_repr, unknown))}, which is no runtime of "
                         f"{file_format.name} files")

    if reference is None:
        return _verify_named(file, file_format, report, reference_file, threads, trust)
    runners = {name: open_file(file, threads, name, trust=trust) for name in report.runtimes}
    _check_shapes(runners, reference, reference_file)
    outputs = {name: runner(reference.images) for name, runner in runners.items()}
    with name_damaged_file(file, f"a {file_format.name} file"):
        results = {name: _compare(file, runner, outputs[name], report, report.runtimes[name], reference)
                   for name, runner in runners.items()}
        operators = file_format.module.count_operators(file)
    difference = compute_relative_difference(next(iter(outputs.values())), reference.exported)
    faults = _find_faults(report, results, difference, operators)
    return VerificationReport(file=file.name, passed=not faults, faults=tuple(faults),
                              images=len(reference.images), runtimes=results,
                              difference_from_export=difference, operators=operators,
                              versions=file_format.module.get_versions())


def _verify_named(file: pathlib.Path, file_format: Format, report: ExportReport, reference_file: pathlib.Path,
                  threads: int, trust: bool) -> VerificationReport:
    """Verifies a file of several inputs or outputs."""
    found = verify_named(file, report, reference_file, threads, trust)
    operators = file_format.module.count_operators(file)
    faults = _find_faults(report, {}, found.difference_from_export, operators) + found.faults
    return VerificationReport(file=file.name, passed=not faults, faults=tuple(faults), images=found.images,
                              runtimes=found.results, difference_from_export=found.difference_from_export,
                              operators=operators, versions=file_format.module.get_versions())


def _refuse(file: pathlib.Path, file_format: Format, fault: str) -> VerificationReport:
    """The report of a file that was not run."""
    return VerificationReport(file=file.name, passed=False, faults=(fault,), images=0, runtimes={},
                              difference_from_export=float("inf"), operators={},
                              versions=file_format.module.get_versions())


def _check_shapes(runners: dict[str, BatchRunner], reference: ReferenceOutputs,
                  reference_file: pathlib.Path) -> None:
    """Raises: ValueError if the images are not of the shape that the file takes."""
    shape = reference.images.shape[1:]
    for runner in runners.values():
        if any(side not in (None, given) for side, given in zip(runner.shape[1:], shape)):
            raise ValueError(f"{reference_file} holds no images to compare: they are of the shape {shape}, "
                             f"the file takes {runner.shape[1:]}")


def _compare(file: pathlib.Path, runner: BatchRunner, outputs: np.ndarray, report: ExportReport,
             exported: RuntimeResult, reference: ReferenceOutputs) -> RuntimeResult:
    """Compares the outputs of one runtime with those of Keras."""
    images = reference.images
    batch = np.resize(images, (runner.shape[0] or 1, *images.shape[1:]))
    logits = None
    if reference.logits is not None:
        logits = BatchRunner(load_logits_function(file), runner.shape)(images), reference.logits
    return compare_outputs(outputs, reference.keras, exported.precision, report.compared_values,
                           latency_ms=measure_latency(runner.run, batch), logits=logits, scale=report.scale)


def _find_faults(report: ExportReport, results: dict[str, RuntimeResult], difference: float,
                 operators: dict[str, int]) -> list[str]:
    """Says why the file does not pass on this machine."""
    faults = [] if report.passed else [f"at its export {report.fault or 'it did not pass'}"]
    for name, result in results.items():
        # The share of equal classes means little for a handful of images.  The difference from the outputs at
        # the export says more, so neither the share nor the mean is checked.
        threshold = replace(report.thresholds[name], agreement=None, mean_difference=None)
        if fault := find_fault(result, threshold):
            faults.append(f"in {name} {fault}")
    if not difference <= TOLERANCE:
        faults.append(f"the outputs differ by {difference:.2g} from those on the machine that exported it")
    if operators != report.operators:
        faults.append("its operators are not those of the report")
    return faults
