"""Mean, deviation, and paired differences of a few runs with their confidence interval (Student's t)."""
from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Mapping, Sequence, TypeVar

CONFIDENCE = 0.95

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean: the mean.
        low: the lower end of the interval; minus infinity for fewer than two values.
        high: the upper end.
        count: of how many values.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval is above zero, or all of it below."""
        return self.low > 0 or self.high < 0


def standard_deviation(values: Sequence[float]) -> float:
    """The deviation of a sample, divided by n - 1; NaN for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def confidence_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The interval for the mean of values from a normal distribution.

    Args:
        values: at least one.
        confidence: how often such an interval has the true mean, between 0 and 1.
    """
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    half = student_t_quantile((1 + confidence) / 2, count - 1) * standard_deviation(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def paired_difference(first: Mapping[_Key, float], second: Mapping[_Key, float],
                      confidence: float = CONFIDENCE) -> Interval | None:
    """By how much the second of two is larger, in pairs: what the seeds have in common cancels.

    Args:
        first: key of the pair, such as a seed -> value.
        second: likewise; pairs that are not in both are left out.
        confidence: of the interval.

    Returns:
        The interval of the mean difference; None if there is no pair.

    Example:
        >>> paired_difference({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.5}).mean
        1.25
    """
    differences = [second[key] - first[key] for key in first if key in second]
    return confidence_interval(differences, confidence) if differences else None


def student_t_quantile(probability: float, degrees: int) -> float:
    """The value below which Student's t lies with a probability of at least 1/2.

    SciPy, which has it too, is not needed otherwise.  For whole degrees of freedom the distribution is a
    finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """
    low, high = 0.0, 1.0
    while _student_t_within(high, degrees) < 2 * probability - 1:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        is_below = _student_t_within(middle, degrees) < 2 * probability - 1
        low, high = (middle, high) if is_below else (low, middle)
    return high


def _student_t_within(t: float, degrees: int) -> float:
    """The probability that Student's t lies between -t and t."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2
    term, total = (cosine if is_odd else 1.0), 0.0
    for k in range(1 + is_odd, degrees, 2):         # the k-th power of the cosine follows
        total += term
        term *= cosine ** 2 * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
