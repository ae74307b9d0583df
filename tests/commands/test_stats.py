"""Intervals against scipy.stats, and what they say of values that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gdcli.commands.stats import Interval, interval, paired

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_interval_is_scipys(count: int, scale: float) -> None:
    values = (RNG.normal(1, 0.5, count) * scale).tolist()
    found = interval(values)
    low, high = stats.t.interval(0.95, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.count == count
    assert found.mean == math.fsum(values) / count
    assert found.low == pytest.approx(low, rel=1e-12)
    assert found.high == pytest.approx(high, rel=1e-12)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_paired_is_scipys(count: int) -> None:
    values, reference = RNG.normal(5, 1, count), RNG.normal(2, 1, count)
    found = paired(values.tolist(), reference.tolist())
    expected = stats.ttest_rel(values, reference).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low, rel=1e-12)
    assert found.high == pytest.approx(expected.high, rel=1e-12)


def test_equal_values_have_an_interval_without_width() -> None:
    assert interval([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)
    assert interval([0.0, 0.0]) == Interval(0.0, 0.0, 0.0, 2)


def test_one_value_has_no_interval() -> None:
    found = interval([2.0])
    assert (found.mean, found.count) == (2.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("others", [[], [1.0, 2.0]])
def test_a_run_that_diverged_makes_the_mean_infinite(bad: float, others: list[float]) -> None:
    found = interval([*others, bad])
    assert found.mean == math.inf
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_a_pair_of_which_one_diverged_makes_the_mean_infinite() -> None:
    assert paired([1.0, 2.0], [1.0, math.inf]).mean == math.inf
    assert paired([math.inf, 2.0], [math.inf, 2.0]).mean == math.inf


@pytest.mark.parametrize("value", [1e308, 1e-300, 5e-324])
def test_neither_large_nor_small_values_leave_the_range_of_a_float64(value: float) -> None:
    found = interval([value, value, value])
    assert (found.mean, found.low, found.high) == (value, value, value)


def test_the_sum_is_rounded_once() -> None:
    assert interval([0.1] * 10).mean == 0.1
    assert interval([1e16, 1.0, -1e16]).mean == pytest.approx(1 / 3, rel=1e-15)


def test_no_values_and_unequal_lengths_are_errors_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one"):
        interval([])
    with pytest.raises(ValueError, match="zip"):
        paired([1.0], [1.0, 2.0])
