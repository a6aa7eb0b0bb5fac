"""Compares a file with Keras output by output, and judges each.  NumPy only."""
from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Mapping

import numpy as np

from ..comparison import (COMPARED_VALUES, MARGIN, OutputResult, RuntimeResult, compute_agreement,
                          compute_relative_difference)
from ..thresholds import choose_threshold
from .interface import Arrays


def compare_named_outputs(outputs: Arrays, expected: Arrays, precision: str, probabilities: Iterable[str],
                          latency_ms: Mapping[str, float], *, is_trained: bool,
                          thresholds: Mapping[str, float] | None) -> RuntimeResult:
    """Compares each output of a file with that of Keras.

    Args:
        outputs: of the file in one runtime, by name.
        expected: of Keras, by name.
        precision: that the file computes in, such as "int8".
        probabilities: the names of the outputs that a softmax makes.
        latency_ms: "median" and "p90" of one call.
        is_trained: whether the model has learned anything.
        thresholds: as `export` takes them.
    """
    results = {}
    for name, keras in expected.items():
        is_probability = name in set(probabilities)
        # of integers a probability has 256 levels: its logarithm would say nothing
        is_logarithm = is_probability and precision in ("float32", "float16", "bfloat16")
        values = "log-probabilities" if is_logarithm else "outputs"
        scale = float(np.abs(COMPARED_VALUES[values](keras)).max(initial=0))
        result = compare_output(outputs[name], keras, values, scale, has_classes=is_probability)
        threshold = choose_threshold(precision, is_trained, thresholds,
                                     has_agreement=result.decided_agreement is not None)
        results[name] = replace(
            result, allowed_difference=threshold.difference,
            least_agreement=None if result.decided_agreement is None else threshold.agreement)
    return summarize_outputs(results, precision, latency_ms)


def compare_output(output: np.ndarray, expected: np.ndarray, compared_values: str, scale: float | None, *,
                   has_classes: bool) -> OutputResult:
    """Compares one output; it is not judged yet.

    Args:
        output: of the file, (N, ...).
        expected: of Keras.
        compared_values: a key of COMPARED_VALUES.
        scale: what differences are divided by.
        has_classes: whether its largest number is that of a class.
    """
    transform = COMPARED_VALUES[compared_values]
    ours, keras = transform(output), transform(expected)
    return OutputResult(
        compared_values=compared_values, scale=scale,
        max_relative_difference=compute_relative_difference(ours, keras, np.max, scale),
        mean_relative_difference=compute_relative_difference(ours, keras, np.mean, scale),
        top1_agreement=compute_agreement(output, expected) if has_classes else None,
        decided_agreement=compute_agreement(output, expected, MARGIN) if has_classes else None)


def summarize_outputs(results: Mapping[str, OutputResult], precision: str,
                      latency_ms: Mapping[str, float]) -> RuntimeResult:
    """The result of a runtime: of each number the worst output's.

    Args:
        results: by the name of the output.
        precision: that the file computes in.
        latency_ms: "median" and "p90" of one call.
    """
    def find_least(values: Iterable[float | None]) -> float | None:
        return min((value for value in values if value is not None), default=None)
    return RuntimeResult(
        precision=precision,
        max_relative_difference=max(result.max_relative_difference for result in results.values()),
        mean_relative_difference=max(result.mean_relative_difference for result in results.values()),
        top1_agreement=find_least(result.top1_agreement for result in results.values()),
        decided_agreement=find_least(result.decided_agreement for result in results.values()),
        latency_ms=latency_ms, outputs=dict(results))
