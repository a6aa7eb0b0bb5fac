"""The thresholds that an exported file must meet, by the precision that it computes in."""
from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType
from typing import Mapping

import numpy as np

from ..errors import ArgumentError, nearest
from .comparison import EXACT, OutputResult, RuntimeResult, SimulationResult


@dataclass(frozen=True)
class Threshold:
    """What one runtime must hold; None requires nothing."""

    difference: float | None = None     # the largest relative difference from Keras that passes
    agreement: float | None = None      # the least share of images that keep the class that Keras gives them
    mean_difference: float | None = None    # the largest mean relative difference from Keras that passes


# A few images may keep their class though a part of the net computes nonsense.
_AGREEMENT = Threshold(agreement=0.95, mean_difference=0.5)


# Precision -> threshold.
THRESHOLDS = {
    "float32": Threshold(difference=1e-4),
    "float16": Threshold(difference=1e-2),
    "bfloat16": Threshold(difference=5e-2),
    "dynamic": _AGREEMENT,
    "int8": _AGREEMENT,
    "int16x8": replace(_AGREEMENT, agreement=0.98),
}

MIN_WITHIN_ONE_STEP = 0.99      # of the scores of a model with fake quantization

# Where no agreement can be measured: the outputs are no classes (a map, one value), no image has a clear
# class, or the model has not learned its classes, so that its scores are too close together.
DIFFERENCE_THRESHOLD = Threshold(difference=0.1)


def choose_threshold(precision: str, is_trained: bool, thresholds: Mapping[str, float] | None = None, *,
                     has_agreement: bool = True) -> Threshold:
    """The threshold of a file.

    Args:
        precision: a key of THRESHOLDS.
        is_trained: whether the model has learned anything.
        thresholds: fields of `Threshold` with their values; the default thresholds are then
            not used: a field that is left out is not checked.
        has_agreement: whether the agreement of classes could be measured.

    Raises:
        ArgumentError: `thresholds` is not a dictionary, or names an unknown field.
    """
    rule = THRESHOLDS[precision]
    if rule.agreement is not None and not (is_trained and has_agreement):
        rule = DIFFERENCE_THRESHOLD
    if not isinstance(thresholds, (Mapping, NoneType)):
        raise ArgumentError("thresholds", thresholds, "a dictionary, such as {'difference': 0.01}")

    known = [*vars(rule)]
    for name, value in (thresholds or {}).items():
        if name not in known or not isinstance(value, (int, float)) or not 0 <= value:
            spelling = "" if name in known else nearest(name, known)
            raise ArgumentError("thresholds", {name: value},
                                f"{' or '.join(known)} with a number of at least 0{spelling}")
    return Threshold(**thresholds) if thresholds else rule


def find_fault(result: RuntimeResult | OutputResult, threshold: Threshold) -> str:
    """Says why the file does not pass in one runtime; "" if it passes."""
    # decided: images whose two best classes are clearly apart
    largest, least, decided = threshold.difference, threshold.agreement, result.decided_agreement
    difference = result.max_relative_difference
    if not np.isfinite(difference):
        return "the outputs are not finite, or of a different shape"
    if largest is not None and not difference <= largest:
        return f"the outputs differ from Keras by {difference:.2g} relative, more than {largest:g}"
    mean = result.mean_relative_difference
    if threshold.mean_difference is not None and not mean <= threshold.mean_difference:
        return (f"the outputs differ from Keras by {mean:.2g} relative on average, more than "
                f"{threshold.mean_difference:g}: a part of the net computes nonsense there")
    if least and decided is None:
        return ("there is no image whose class in Keras is clear, so that no agreement can be measured; give "
                "'difference' in `thresholds`")
    if least is not None and decided is not None and decided < least:
        return (f"only {decided:.1%} of the images keep the class that Keras gives them "
                f"({least:.0%} expected); calibrate on more images, or on images like those of the training")
    return ""


def find_simulation_fault(results: Mapping[str, SimulationResult]) -> str:
    """Says why a file does not compute what its fake-quantized model computes; "" if it does.

    Args:
        results: the results by kernels.
    """
    exact = results.get(EXACT)
    if exact is None:
        return ""
    if exact.within_one_step < MIN_WITHIN_ONE_STEP:
        return (f"only {exact.within_one_step:.1%} of the scores in the reference kernels are within one "
                f"step of those of the fake-quantized model ({MIN_WITHIN_ONE_STEP:.0%} expected)")
    if exact.decided_agreement is not None and exact.decided_agreement < 1:
        return (f"only {exact.decided_agreement:.1%} of the images that are decided in the fake-quantized "
                "model get the same class in the reference kernels")
    return ""
