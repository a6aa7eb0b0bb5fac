"""The report of an export: what was measured, the thresholds, whether it passed.  Needs NumPy only."""
from __future__ import annotations

import math
import pathlib
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import list_names
from ..file_reading import read_bytes
from ..files import write_text
from ..json_reader import MAX_BYTES, parse_json, read_json, to_dataclass
from ..json_writer import to_json
from .comparison import COMPARED_VALUES, RuntimeResult, SimulationResult
from .named.interface import Interface
from .tflite.ethos_u import EthosUResult
from .thresholds import Threshold, find_fault, find_simulation_fault

# Field -> its key in the JSON file, if they differ: the file format keeps its original keys.
JSON_KEYS = {"batch_size": "batch", "compared_values": "measure", "metadata": "memory",
        "float32_error": "rounding", "precision": "kind"}

_MAY_BE_INFINITE = ("max_relative_difference", "mean_relative_difference")   # null in JSON


@dataclass(frozen=True)
class ExportReport:
    """What was measured in one export; `<file>.json` beside the file holds it, with the keys of JSON_KEYS."""

    file: str
    format: str                         # "TFLite", "SavedModel", "Keras", "ONNX", "OpenVINO"
    quantize: str | None                # as it was given to `reskeras.export`
    passed: bool
    fault: str                          # why it did not pass; "" if it passed
    variant: str                        # "resnet50v1_5"
    tag: str                            # of its checkpoint, "a1_in1k"; "" if it is not known
    weights_sha256: str                 # of the model's weights
    bytes: int
    sha256: str                         # of the file; for several files, of all names and contents in order
    batch_size: int                     # images per call, in the comparison and in the timing
    images: int                         # how many were compared
    compared_values: str                # which values are compared: a key of comparison.COMPARED_VALUES
    scale: float | None                 # divides the differences: the largest logit of Keras before a softmax
    threads: int
    runtimes: dict[str, RuntimeResult]
    keras: dict[str, Any]               # "latency_ms" (median, p90) of the model as a graph, "accuracy"
    operators: dict[str, int]           # how many of each the file has
    left_to_cpu: dict[str, dict[str, int]]      # delegate -> operators of a .tflite that it leaves to the CPU
    thresholds: dict[str, Threshold]    # by runtime
    versions: dict[str, str]            # of the packages that wrote and ran the file
    metadata: dict[str, Any] | None = None      # the model's preprocessing and class names, if it has them
    calibration_method: str | None = None       # of an int8 file
    outside_ranges: float | None = None         # share of an int8 file's values outside the calibrated ranges
    float32_error: float | None = None  # of Keras, against float64; None if no threshold was widened
    simulation: dict[str, SimulationResult] | None = None   # by kernels, of a model with fake quantization
    target: str | None = None           # what it was made for, if the format has several targets
    ethos_u: EthosUResult | None = None         # what an Ethos-U does, if that is the target
    beyond_half: tuple[str, ...] | None = None      # tensors that do not fit into float16
    interface: Interface | None = None  # names and shapes of a model of several inputs or outputs
    file_faults: tuple[str, ...] = ()   # why runtimes would not take the file, if it is kept anyway
    reference_sha256: str | None = None     # of `<file>.npz`; None in the reports of older versions

    @property
    def first_result(self) -> RuntimeResult:
        """What was measured in the format's first runtime."""
        return next(iter(self.runtimes.values()))

    @property
    def max_relative_difference(self) -> float:
        """The largest relative difference from Keras, in the first runtime."""
        return self.first_result.max_relative_difference

    @property
    def top1_agreement(self) -> float | None:
        """The share of images that get the same class as in Keras, in the first runtime."""
        return self.first_result.top1_agreement

    @property
    def latency_ms(self) -> float:
        """The median of one call in the first runtime, in milliseconds."""
        return self.first_result.latency_ms["median"]

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.bytes:,} bytes, " + ("passed" if self.passed else f"NOT passed: {self.fault}")]
        for name, result in self.runtimes.items():
            agreement = "" if result.top1_agreement is None else (
                f", {result.top1_agreement:.1%} of {self.images} images get the same class")
            if len(result.outputs or {}) > 1:
                agreement += "; by output " + ", ".join(
                    f"{output} {measured.max_relative_difference:.1e}"
                    for output, measured in (result.outputs or {}).items())
            lines.append(f"  {name}: differs from Keras by {result.max_relative_difference:.1e}{agreement}; "
                         f"{result.latency_ms['median']:.2f} ms "
                         f"(Keras {self.keras['latency_ms']['median']:.2f})")
        if self.float32_error is not None:
            differences = [t.difference for t in self.thresholds.values() if t.difference is not None]
            allowed = ", ".join(f"{difference:.0e}" for difference in differences)
            lines.append(f"  Keras in float32 differs from float64 by {self.float32_error:.1e} on this net; "
                         f"allowed: {allowed}")
        if self.outside_ranges is not None:
            lines.append(f"  {self.outside_ranges:.2%} of the values on these images are outside the "
                         "calibrated ranges")
        if self.beyond_half:
            lines.append(f"  do not fit into float16, in which GPU delegates compute: "
                         f"{list_names(self.beyond_half)}")
        for name, steps in (self.simulation or {}).items():
            lines.append(f"  {name} kernels: {steps.within_one_step:.1%} of the scores within one step of "
                         f"the fake-quantized model's, on {steps.images} images")
        if self.ethos_u is not None:
            lines.append(f"  {self.ethos_u.summary()}")
        for name, operators in self.left_to_cpu.items():
            left = ", ".join(f"{count} {operator}" for operator, count in operators.items()) or "nothing"
            lines.append(f"  {name} would leave to the CPU: {left}")
        return "\n".join(lines)

    def judge(self) -> ExportReport:
        """Returns the report with `passed` and `fault` as its results and thresholds decide."""
        faults = [*self.file_faults]
        faults += [f"in {name} {fault}" for name, result in self.runtimes.items() if not result.outputs
                   if (fault := find_fault(result, self.thresholds[name]))]
        faults += [f"in {name}, output {output!r}: {fault}" for name, result in self.runtimes.items()
                   for output, measured in (result.outputs or {}).items()
                   if (fault := find_fault(measured, Threshold(measured.allowed_difference,
                                                               measured.least_agreement)))]
        if self.simulation and (fault := find_simulation_fault(self.simulation)):
            faults.append(fault)
        return replace(self, passed=not faults, fault="; ".join(faults))

    def write(self, path: pathlib.Path) -> None:
        """Writes the report as JSON."""
        write_text(path, to_json(to_dict(self)) + "\n")

    @classmethod
    def read(cls, path: pathlib.Path) -> ExportReport:
        """Reads what `write` wrote.

        Raises:
            ValueError: the file is not a report, or has nothing that can be checked.
            OSError: it cannot be read.
        """
        data = read_bytes(path, MAX_BYTES)
        try:
            values = parse_json(data, "the file")
            _restore_infinite(values)
            report = to_dataclass(cls, values, "the file", JSON_KEYS)
            report._check()
            return report
        except ValueError as error:
            raise ValueError(f"{path} is not the report of an export ({error})") from error

    def _check(self) -> None:
        """Raises: ValueError if the report is too incomplete to reject a file."""
        limits = [limit for t in self.thresholds.values() for limit in (t.difference, t.agreement)]
        if self.compared_values not in COMPARED_VALUES:
            raise ValueError("it does not say what was compared")
        if not self.runtimes or self.runtimes.keys() - self.thresholds.keys():
            raise ValueError("it does not say in which runtime the file ran, or which thresholds applied")
        if not all(number is None or number >= 0 for number in (self.scale, *limits)):
            raise ValueError("a threshold or the scale is below zero")


def is_report(path: pathlib.Path) -> bool:
    """Whether a file says that it is the report of an export; it may be damaged."""
    try:
        return has_keys_of_report(read_json(path))
    except (OSError, ValueError):
        return False


def has_keys_of_report(values: Any) -> bool:
    """Whether values from a JSON file are those of a report, or of a damaged one."""
    return isinstance(values, dict) and {"file", "sha256", "runtimes"} <= set(values)


def _restore_infinite(values: Any) -> None:
    """Puts infinity where JSON has null instead."""
    runtimes = values.get("runtimes") if isinstance(values, dict) else None
    results = [*runtimes.values()] if isinstance(runtimes, dict) else []
    for result in results:
        outputs = result.get("outputs") if isinstance(result, dict) else None
        results += outputs.values() if isinstance(outputs, dict) else []
        for name in _MAY_BE_INFINITE:
            if isinstance(result, dict) and name in result and result[name] is None:
                result[name] = math.inf


def to_dict(report: Any) -> dict[str, Any]:
    """The fields of a dataclass, and of those inside it, with the keys of the JSON file."""
    return asdict(report, dict_factory=lambda pairs: {JSON_KEYS.get(name, name): value
                                                      for name, value in pairs})
