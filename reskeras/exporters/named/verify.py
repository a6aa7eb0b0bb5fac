"""Checks a file of named inputs and outputs again, where it will run; needs only NumPy and its runtime."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace

import numpy as np

from ..comparison import OutputResult, RuntimeResult, compute_relative_difference
from ..measurements import measure_latency
from ..report import ExportReport
from ..thresholds import Threshold, find_fault
from .comparison import compare_output, summarize_outputs
from .files import NamedRunner, open_named_file
from .interface import Arrays
from .reference import NamedReference, pick_values, read_named_reference


@dataclass(frozen=True)
class NamedVerification:
    """What a file of named outputs does on this machine."""

    results: dict[str, RuntimeResult]       # by runtime
    faults: list[str]
    difference_from_export: float
    images: int


def verify_named(file: pathlib.Path, report: ExportReport, reference_file: pathlib.Path, threads: int,
                 trust: bool) -> NamedVerification:
    """Compares each output of a file with those that were kept.

    Args:
        file: the exported file.
        report: its report, with an `interface`.
        reference_file: the file of samples.
        threads: number of threads of the runtime.
        trust: whether a SavedModel may run.

    Raises:
        ValueError: the file or the samples cannot be read, or have other names.
    """
    assert report.interface is not None
    reference = read_named_reference(reference_file, report.interface)
    results, faults, difference = {}, [], None
    for name, exported in report.runtimes.items():
        runner = open_named_file(file, report.interface, threads, name, trust=trust)
        outputs = {output: pick_values(array) for output, array in runner(reference.inputs).items()}
        if difference is None:
            difference = max(compute_relative_difference(outputs[output], array)
                             for output, array in reference.exported.items())
        compared = {output: _compare(outputs, reference, output, result)
                    for output, result in _get_outputs(exported, report).items()}
        results[name] = summarize_outputs(compared, exported.precision, _measure(runner, reference.inputs))
        # the share of equal classes means little for a handful of samples
        faults += [f"in {name}, output {output!r}: {fault}" for output, result in compared.items()
                   if (fault := find_fault(result, Threshold(result.allowed_difference)))]
    return NamedVerification(results, faults, float("inf") if difference is None else difference,
                             len(next(iter(reference.inputs.values()))))


def _get_outputs(exported: RuntimeResult, report: ExportReport) -> dict[str, OutputResult]:
    """What the export measured of each output.  Raises: ValueError if the report lacks some."""
    assert report.interface is not None
    outputs = exported.outputs or {}
    if outputs.keys() != report.interface.outputs.keys():
        raise ValueError("the report does not say what was measured of each output")
    return outputs


def _compare(outputs: Arrays, reference: NamedReference, name: str, exported: OutputResult) -> OutputResult:
    result = compare_output(outputs[name], reference.keras[name], exported.compared_values, exported.scale,
                            has_classes=exported.top1_agreement is not None)
    return replace(result, allowed_difference=exported.allowed_difference,
                   least_agreement=exported.least_agreement)


def _measure(runner: NamedRunner, inputs: Arrays) -> dict[str, float]:
    """The latency of one call."""
    size = runner.batch_size or 1
    batch = {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}
    return measure_latency(runner.run, batch)
