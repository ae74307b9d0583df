"""Means with their 95 % intervals, for results over several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gdcli.records import Result
from gdcli.report import tables

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its interval; nan for ends that the values do not give."""

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of n values and Student's 95 % interval of the mean they were drawn from.

        x̄ = Σxᵢ / n        s² = Σ(xᵢ − x̄)² / (n − 1)        x̄ ± t · s / √n

    t is the 0.975 quantile of Student's distribution with n − 1 degrees of freedom. It holds for values drawn
    independently from one normal distribution. One value has no interval. A value that is not finite is a run that
    diverged: the mean is inf, and there is no interval. Raises ValueError without values.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 4), round(found.high, 4)
    (2.0, -0.4841, 4.4841)

    Source: Student 1908, The probable error of a mean; the quantile is scipy.special.stdtrit.
    """
    count = len(values)
    if count == 0:
        raise ValueError("an interval needs at least one value")
    if not all(map(math.isfinite, values)):
        return Interval(math.inf, math.nan, math.nan, count)
    if count == 1:
        return Interval(float(values[0]), math.nan, math.nan, 1)
    # divided by a power of two, which is exact: no sum and no square overflows or vanishes
    scale = math.ldexp(1.0, min(math.frexp(max(map(abs, values)))[1], 1000))
    scaled = [value / scale for value in values]
    mean = math.fsum(scaled) / count
    variance = math.fsum((value - mean) ** 2 for value in scaled) / (count - 1)
    half = quantile(count - 1) * math.sqrt(variance / count)
    return Interval(mean * scale, (mean - half) * scale, (mean + half) * scale, count)


def paired(values: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return :func:`interval` of the differences dᵢ = valueᵢ − referenceᵢ of two rows that share their seeds.

        d̄ ± t · s_d / √n

    What a seed does to both of them falls out of the differences, so that the interval of d̄ tells rows apart whose own
    intervals overlap. A difference with a run that diverged is not finite. Raises ValueError for unequal lengths.

    >>> paired([1.0, 2.0, 3.0], [0.5, 1.5, 2.5])
    Interval(mean=0.5, low=0.5, high=0.5, count=3)

    Source: Student 1908; the paired t test of scipy.stats.ttest_rel.
    """
    return interval([value - other for value, other in zip(values, reference, strict=True)])


def mean_text(value: float) -> str:
    """Return a mean as tables show it."""
    return "∞" if value == math.inf else tables.number(value)


def with_half(found: Interval) -> str:
    """Return a mean with half its interval, where it has one."""
    half = f" ± {(found.high - found.low) / 2:.2g}" if math.isfinite(found.low) else ""
    return mean_text(found.mean) + half


def are_identical(runs: Sequence[Result], *, drawn: bool) -> bool:
    """Say whether runs of several seeds are one run: nothing in them was drawn, in their steps neither."""
    if drawn or len(runs) < 2 or any(run.hashes is None for run in runs):
        return False
    return len({(run.hashes, str(run.loss), str(run.best_loss), run.steps) for run in runs}) == 1


def without_chance(labels: Sequence[str], rows: int, seeds: int) -> str:
    """Return what has to be said of those of the rows whose runs are the same for all seeds; nothing without any."""
    if not labels:
        return ""
    which = "" if len(labels) == rows else f" of {', '.join(labels)}"
    why = "start values, rows and their order do not depend on the seed"
    return f"the runs{which} are identical for all {seeds} seeds: {why}\n"


def quantile(freedom: int) -> float:
    """Return the quantile of Student's distribution that the ends of an interval lie at."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types; imported where it is used

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
