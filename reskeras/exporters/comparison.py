"""The outputs of an exported file beside those of Keras: how far apart they are, how often they agree.

NumPy only: `verify` needs no more than this and the file's own runtime.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

import numpy as np

# Two best classes closer than this are undecided: 8 bits over the output's range cannot tell them apart.
MARGIN = 0.02
EXACT = "reference, rounded alike"    # the key of the comparison in which nothing but the last bit differs
DECIDED_STEPS = 2.0     # between the two best scores of a fake-quantized model, above which they are decided
TINIEST = 1e-30     # runtimes flush smaller probabilities to zero, each at a different place

# What is compared, by its name in the report -> how to get it from the outputs.
COMPARED_VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "outputs": lambda scores: scores,
    # Of int8 files: read from inside the file, before its softmax.
    "logits": lambda scores: scores,
    # A saturated softmax agrees with anything; its logarithm is the logits less their sum.  0 * nan is nan.
    "log-probabilities": lambda scores: np.log(np.maximum(scores.astype("float64"), TINIEST)) + 0 * scores,
}


@dataclass(frozen=True)
class OutputResult:
    """What was measured of one output of a model of several, and what was allowed."""

    compared_values: str                # a key of COMPARED_VALUES
    scale: float | None                 # divides the differences: the largest magnitude in Keras
    max_relative_difference: float
    mean_relative_difference: float
    top1_agreement: float | None        # None: its numbers are no classes
    decided_agreement: float | None
    allowed_difference: float | None = None     # None requires nothing
    least_agreement: float | None = None


@dataclass(frozen=True)
class RuntimeResult:
    """What was measured of a file in one runtime."""

    precision: str                      # that it computes in: a key of `thresholds.THRESHOLDS`
    max_relative_difference: float      # largest |file - Keras| over largest |Keras|
    mean_relative_difference: float     # mean |file - Keras| over largest |Keras|
    top1_agreement: float | None        # share of images that both give the same class; None: no classifier
    decided_agreement: float | None     # of images with the two best classes farther apart than MARGIN
    accuracy: float | None = None       # share of images that get their true class, if that was given
    latency_ms: Mapping[str, float] = field(default_factory=dict)   # "median" and "p90" of one call
    outputs: dict[str, OutputResult] | None = None  # of a model of several; the numbers above are the worst


def compare_outputs(outputs: np.ndarray, expected: np.ndarray, precision: str, compared_values: str, *,
                    classes: np.ndarray | None = None, latency_ms: Mapping[str, float] | None = None,
                    logits: tuple[np.ndarray, np.ndarray] | None = None,
                    scale: float | None = None) -> RuntimeResult:
    """Compares the outputs of a file with those of Keras, and with the true classes.

    Args:
        outputs: outputs of the file, (N, ...).
        expected: outputs of Keras, of the same shape.
        precision: that the file computes in, such as "int8".
        compared_values: a key of COMPARED_VALUES, which says what the differences are of.
        classes: the N true classes, if they are known.
        latency_ms: "median" and "p90" of one call of the file.
        logits: logits of the file and of Keras, on some of the images; if given, they are compared.
        scale: what differences are relative to; the largest magnitude of the expected values if not given.
    """
    transform = COMPARED_VALUES[compared_values]
    ours, keras = logits or (transform(outputs), transform(expected))
    return RuntimeResult(
        precision=precision,
        max_relative_difference=compute_relative_difference(ours, keras, np.max, scale),
        mean_relative_difference=compute_relative_difference(ours, keras, np.mean, scale),
        top1_agreement=compute_agreement(outputs, expected),
        decided_agreement=compute_agreement(outputs, expected, MARGIN),
        accuracy=None if classes is None else float((outputs.argmax(1) == classes).mean()),
        latency_ms=latency_ms or {})


def compute_relative_difference(outputs: np.ndarray, expected: np.ndarray,
                                reduction: Callable[[np.ndarray], Any] = np.max,
                                scale: float | None = None) -> float:
    """The largest difference over the largest expected magnitude.

    It is infinity if an output is not finite, or the shapes differ.

    Args:
        outputs: what is compared.
        expected: what it is compared with, of the same shape.
        reduction: reduces all differences to one number; `np.mean` gives the mean difference.
        scale: what differences are divided by; the largest magnitude in `expected` if not given.
    """
    is_finite = np.isfinite(outputs).all() and np.isfinite(expected).all()
    if outputs.shape != expected.shape or not outputs.size or not is_finite:
        return float("inf")
    largest = scale or float(np.abs(expected).max())
    difference = float(reduction(np.abs(outputs.astype("float64") - expected)))
    return difference / largest if largest else difference


def compute_agreement(outputs: np.ndarray, expected: np.ndarray, margin: float = 0.0) -> float | None:
    """The share of images that get the same class, from 0 to 1.

    Args:
        outputs: scores, (N, classes).
        expected: the scores that they are compared with, (N, classes).
        margin: only images count whose two largest expected scores differ by more than this, relative to the
            largest magnitude of all scores.
    Returns:
        None if there are no classes, or no such image.
    """
    if outputs.shape != expected.shape or expected.ndim != 2 or expected.shape[1] < 2:
        return None
    second, first = np.sort(expected, axis=1)[:, -2:].T
    is_decided = first - second > margin * np.abs(expected).max() if margin else np.ones(len(expected), bool)
    if not is_decided.any():
        return None
    return float((outputs.argmax(1) == expected.argmax(1))[is_decided].mean())


@dataclass(frozen=True)
class SimulationResult:
    """The scores of a file in some kernels, beside those of the fake-quantized model in Keras.

    Args:
        images: how many were compared.
        within_one_step: the share of the scores that differ by at most one step.
        max_steps: the largest difference in steps.
        decided: the number of images whose two best scores are more than two steps apart in Keras.
        decided_agreement: the share of these that get the same class; None if there are none.
    """

    images: int
    within_one_step: float
    max_steps: float
    decided: int
    decided_agreement: float | None


def measure_steps(scores: np.ndarray, expected: np.ndarray, scale: float) -> SimulationResult:
    """The differences of scores in steps.

    Args:
        scores: of the file, (N, ...).
        expected: of the model in Keras, for these images and perhaps more.
        scale: the size of a step.
    """
    expected = expected[:len(scores)]
    steps = np.abs(scores - expected) / scale
    decided, agreement = 0, None
    if expected.ndim == 2 and expected.shape[1] > 1:
        best = np.sort(expected, axis=1)
        is_decided = (best[:, -1] - best[:, -2]) / scale > DECIDED_STEPS + 0.01     # of whole steps
        decided = int(is_decided.sum())
        same = scores.argmax(1) == expected.argmax(1)
        agreement = float(same[is_decided].mean()) if decided else None
    return SimulationResult(len(scores), float((steps < 1.01).mean()), float(steps.max()), decided, agreement)
