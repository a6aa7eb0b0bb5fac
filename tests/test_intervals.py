"""Intervals of a few runs, beside SciPy and NumPy."""
import math

import numpy as np
import pytest
from scipy import stats

from reskeras.intervals import (confidence_interval, paired_difference, standard_deviation,
                                student_t_quantile)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 31])
def test_quantiles_of_student_t(degrees):
    for probability in (0.5, 0.8, 0.975, 0.9995):
        expected = stats.t.ppf(probability, degrees)
        assert student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(3, 2, 6).tolist()
    low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    found = confidence_interval(values, 0.9)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert standard_deviation(values) == pytest.approx(np.std(values, ddof=1))


def test_pairs_have_the_same_seed():
    first, second = {0: 1.0, 1: 5.0, 2: 9.0, 3: 0.0}, {2: 9.5, 0: 1.7, 1: 5.3, 4: 100.0}
    found = paired_difference(first, second)
    expected = stats.ttest_rel([1.7, 5.3, 9.5], [1.0, 5.0, 9.0]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(0.5) and found.count == 3 and not found.excludes_zero ^ (found.low > 0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_one_value_decides_nothing():
    found = confidence_interval([2.0])
    assert (found.low, found.high) == (-math.inf, math.inf) and not found.excludes_zero
    assert math.isnan(standard_deviation([2.0]))
