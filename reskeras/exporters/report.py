"""What an exported file is worth: its size and hash, how far it is from Keras, how long it takes.  NumPy only."""
from __future__ import annotations

import hashlib
import json
import pathlib
import time
from dataclasses import asdict, dataclass, field, replace
from types import NoneType
from typing import Any, Callable, Mapping

import numpy as np

from ..spec import nearest

Run = Callable[[np.ndarray], np.ndarray]

# Images whose two best classes lie closer than this are undecided: 8 bits over the output's range cannot tell.
MARGIN = 0.02
NOT_FINITE = ("max_relative_difference", "mean_relative_difference")     # of a Measured, where they are null in its JSON
LEAST = 1e-30           # probabilities below it say nothing: runtimes flush them to zero at different places


@dataclass(frozen=True)
class Threshold:
    """What a file must hold: a largest relative difference, a smallest share of images of the same class, or either."""
    difference: float | None = None
    agreement: float | None = None


# By the numbers that the file computes with.
THRESHOLDS = {"float32": Threshold(difference=1e-4), "float16": Threshold(difference=1e-2),
              "bfloat16": Threshold(difference=5e-2), "dynamic": Threshold(agreement=0.95), "int8": Threshold(agreement=0.95)}
UNTRAINED = Threshold(difference=0.1)       # of integers, where the net has learned no classes yet


@dataclass(frozen=True)
class Measured:
    """A file in one runtime."""
    kind: str                           # a key of THRESHOLDS
    max_relative_difference: float      # largest |file - Keras| over largest |Keras|
    mean_relative_difference: float     # mean |file - Keras| over largest |Keras|
    top1_agreement: float | None        # share of images of the same class; None where the net has no classifier
    decided_agreement: float | None     # the same of the images whose two best classes are not within MARGIN
    accuracy: float | None = None       # share of images of the true class, where that was given
    latency_ms: Mapping[str, float] = field(default_factory=dict)   # "median" and "p90" of one call

    def fault(self, threshold: Threshold) -> str:
        """Why it falls short, "" where it does not."""
        worst, least, decided = threshold.difference, threshold.agreement, self.decided_agreement
        if not np.isfinite(self.max_relative_difference):
            return "the outputs are not finite, or of another shape"
        if worst is not None and not self.max_relative_difference <= worst:
            return f"the outputs differ from Keras by {self.max_relative_difference:.2g} relative, more than {worst:g}"
        if least is not None and decided is not None and decided < least:
            return (f"only {decided:.1%} of the images keep the class that Keras gives them ({least:.0%} expected); calibrate "
                    "on more images, or on images like those of the training")
        return ""


@dataclass(frozen=True)
class Certificate:
    """The measured facts of one export; `<file>.json` beside the file holds the same."""
    file: str
    format: str                         # "TFLite", "SavedModel", "Keras", "ONNX", "OpenVINO"
    quantize: str | None
    passed: bool
    fault: str                          # "" where it passed
    variant: str                        # the net: "resnet50v1_5"
    tag: str                            # its weights: "a1_in1k", "" where the net does not know
    weights_sha256: str                 # of the model's numbers
    bytes: int
    sha256: str                         # of a folder or of several files: of their names and contents, in order
    batch: int                          # images per call, in the comparison and the timing
    images: int                         # compared with Keras
    measure: str                        # whose difference counts: a key of MEASURES
    scale: float | None                 # what it is relative to: Keras' largest logit, where there is a softmax
    threads: int
    runtimes: dict[str, Measured]
    keras: dict[str, Any]               # "latency_ms" (median, p90) of the model as a graph, "accuracy"
    operators: dict[str, int]           # how many of each
    left_to_cpu: dict[str, dict[str, int]]      # delegate -> operators of a .tflite that it would not take
    thresholds: dict[str, Threshold]            # by runtime
    versions: dict[str, str]
    memory: dict[str, Any] | None = None    # the net's preprocessing and class names, where it remembers them
    calibration_method: str | None = None   # of an int8 file
    rounding: float | None = None           # of Keras in float32 against float64, where the thresholds rest on it

    @property
    def first(self) -> Measured:
        return next(iter(self.runtimes.values()))

    @property
    def max_relative_difference(self) -> float:
        return self.first.max_relative_difference

    @property
    def top1_agreement(self) -> float | None:
        return self.first.top1_agreement

    @property
    def latency_ms(self) -> float:
        return self.first.latency_ms["median"]

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.bytes:,} bytes, " + ("passed" if self.passed else f"NOT passed: {self.fault}")]
        for name, m in self.runtimes.items():
            same = "" if m.top1_agreement is None else f", {m.top1_agreement:.1%} of {self.images} images of the same class"
            lines.append(f"  {name}: differs from Keras by {m.max_relative_difference:.1e}{same}; "
                         f"{m.latency_ms['median']:.2f} ms (Keras {self.keras['latency_ms']['median']:.2f})")
        if self.rounding is not None:
            allowed = ", ".join(f"{t.difference:.0e}" for t in self.thresholds.values() if t.difference is not None)
            lines.append(f"  float32 itself is {self.rounding:.1e} off this net in float64: {allowed} allowed")
        for name, left in self.left_to_cpu.items():
            lines.append(f"  {name} would leave to the CPU: " + (", ".join(f"{n} {op}" for op, n in left.items()) or "nothing"))
        return "\n".join(lines)

    def judged(self) -> Certificate:
        """With the verdict of its thresholds."""
        faults = [f"in {name} {fault}" for name, m in self.runtimes.items() if (fault := m.fault(self.thresholds[name]))]
        return replace(self, passed=not faults, fault="; ".join(faults))

    def write(self, path: pathlib.Path) -> None:
        path.write_text(as_json(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: pathlib.Path) -> Certificate:
        """Raises: ValueError for a file that is no certificate."""
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            for m in held["runtimes"].values():
                m |= {name: float("inf") for name in NOT_FINITE if m[name] is None}
            held["runtimes"] = {name: Measured(**m) for name, m in held["runtimes"].items()}
            held["thresholds"] = {name: Threshold(**t) for name, t in held["thresholds"].items()}
            numbers = [held["scale"], *(n for t in held["thresholds"].values() for n in (t.difference, t.agreement))]
            if not held["runtimes"] or held["runtimes"].keys() - held["thresholds"].keys() or held["measure"] not in MEASURES \
                    or not all(n is None or n >= 0 for n in numbers):
                raise ValueError("it says not what was measured, or in which runtime, or what was asked")
            return cls(**held)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is no certificate ({type(error).__name__}: {error})") from error


def as_json(facts: Any) -> str:
    """With null for numbers that are not finite, which JSON does not have."""
    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(part) for part in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value
    return json.dumps(finite(facts), indent=2, allow_nan=False)


def threshold(kind: str, trained: bool, asked: Mapping[str, float] | None = None) -> Threshold:
    """The rule for files that compute in `kind`; `asked` overrides its fields.  Raises: ValueError for another field."""
    own = THRESHOLDS[kind]
    if not isinstance(asked, (Mapping, NoneType)):
        raise ValueError(f"thresholds={asked!r}: expected a dictionary, such as {{'difference': 0.01}}")
    if own.agreement is not None and not trained:
        own = UNTRAINED
    for name, value in (asked or {}).items():
        known = [*vars(own)]
        if name not in known or not isinstance(value, (int, float)) or not 0 <= value:
            raise ValueError(f"thresholds={{{name!r}: {value!r}}}: expected {' or '.join(known)} with a number of at least 0"
                             f"{nearest(name, known)}")
    return Threshold(**asked) if asked else own


def compared(found: np.ndarray, expected: np.ndarray, kind: str, measure: str, truth: np.ndarray | None = None,
             latency: Mapping[str, float] | None = None, logits: tuple[np.ndarray, np.ndarray] | None = None,
             scale: float | None = None) -> Measured:
    """The outputs of a file against those of Keras, and both against the true classes.

    Arguments:
        logits: of the file and of Keras, on some of the images; where they are known, their differences count.
        scale: what differences are relative to; the largest magnitude in `expected` if not given.
    """
    mine, keras = logits or (MEASURES[measure](found), MEASURES[measure](expected))
    right = None if truth is None else float((found.argmax(1) == truth).mean())
    return Measured(kind, relative(mine, keras, np.max, scale), relative(mine, keras, np.mean, scale),
                    agreement(found, expected), agreement(found, expected, MARGIN), right, latency or {})


# A saturated softmax agrees with anything: its logarithm is the net's logits less their sum.
MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "outputs": lambda scores: scores,
    "logits": lambda scores: scores,        # of int8: what is before the softmax
    "log-probabilities": lambda scores: np.log(np.maximum(scores.astype("float64"), LEAST)) + 0 * scores,   # 0 * nan is nan
}


def max_relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude; infinity where either is not finite or the shapes differ."""
    return relative(found, expected, np.max)


def relative(found: np.ndarray, expected: np.ndarray, summary: Callable[[np.ndarray], Any], scale: float | None = None) -> float:
    """A summary of the differences over `scale`, which is the largest magnitude in `expected` if not given."""
    if found.shape != expected.shape or not found.size or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    largest = scale or float(np.abs(expected).max())
    difference = float(summary(np.abs(found.astype("float64") - expected)))
    return difference / largest if largest else difference


def agreement(found: np.ndarray, expected: np.ndarray, margin: float = 0.0) -> float | None:
    """Share of the rows of equal argmax, among those whose two largest expected values differ by more than `margin`.

    `margin` is relative to the largest magnitude of all.  None where there are no classes or no such row.
    """
    if found.shape != expected.shape or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    second, first = np.sort(expected, axis=1)[:, -2:].T
    decided = first - second > margin * np.abs(expected).max() if margin else np.ones(len(expected), bool)
    return float((found.argmax(1) == expected.argmax(1))[decided].mean()) if decided.any() else None


def size_and_hash(*paths: pathlib.Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, or of all files of a folder, or of several files."""
    files = sorted(f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file())
    digest = hashlib.sha256()
    for file in files:
        if len(paths) > 1 or paths[0].is_dir():
            digest.update(file.relative_to(paths[0] if paths[0].is_dir() else paths[0].parent).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return sum(f.stat().st_size for f in files), digest.hexdigest()


def latency(run: Run, images: np.ndarray, calls: int = 30, seconds: float = 1.0) -> dict[str, float]:
    """Median and 90th percentile of one call in milliseconds: of `calls`, or of as many as `seconds` allow (at least three)."""
    run(images)                         # the first call plans memory, or traces
    times: list[float] = []
    while len(times) < 3 or (len(times) < calls and sum(times) < seconds):
        start = time.perf_counter()
        run(images)
        times.append(1000 * (time.perf_counter() - start))
    return {"median": float(np.median(times)), "p90": float(np.percentile(times, 90))}
