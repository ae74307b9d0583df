"""Runs that differ in their seed or fold alone: a row of a table and one curve, each a mean with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan, nan

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.stats import Interval, are_identical, interval, paired, quantile
from gdcli.records import Effort, Ranking, Result
from gdcli.report import plots

BY_LOSS = Ranking()


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its results over the seeds, in the order of the seeds."""

    label: str
    lr: float | None
    lr_from: str
    results: tuple[Result, ...]
    effort: Effort
    drawn: bool = False  # whether the steps of its runs depend on their seed

    @property
    def is_certain(self) -> bool:
        """Whether its runs are the same for all seeds."""
        return are_identical(self.results, drawn=self.drawn)

    def final(self) -> Interval:
        """Return mean and interval of the final loss; infinite when a run diverged, no interval without chance."""
        return self._without_chance(interval([result.rank for result in self.results]))

    def ranked(self, by: Ranking) -> Interval:
        """Return mean and interval of what rows are ranked by; of a metric NaN where a run has none."""
        if by.name == "final_loss":
            return self.final()
        values = [by.value(result) for result in self.results]
        if not all(map(isfinite, values)):
            return Interval(self.metric(by.name), nan, nan, len(values))
        return self._without_chance(interval(values))

    def _without_chance(self, found: Interval) -> Interval:
        return replace(found, low=nan, high=nan) if self.is_certain else found

    def best(self) -> float:
        """Return the mean of the best losses."""
        return interval([result.best_loss if isfinite(result.best_loss) else inf for result in self.results]).mean

    def metric(self, name: str) -> float:
        """Return the mean of a metric; nan where a run failed, diverged or has none, inf where one is infinite."""
        values = [result.metrics.get(name, nan) for result in self.results]
        return nan if any(map(isnan, values)) else interval(values).mean

    def reached(self) -> int:
        """Return how many runs reached the target."""
        return sum(result.to_target is not None for result in self.results)

    def to_target(self) -> tuple[Interval, Interval, Interval]:
        """Return steps, epochs and gradient evaluations to the target; infinite where a run missed it."""
        found = [self.effort.of(result.to_target) for result in self.results]
        columns = [[inf if value is None else float(value) for value in column] for column in zip(*found, strict=True)]
        steps, epochs, evaluations = map(interval, columns)
        return steps, epochs, evaluations

    def difference(self, first: Line, by: Ranking = BY_LOSS) -> Interval:
        """Return mean and interval of the paired differences of what is ranked by, over the seeds of both rows."""
        of_first = {result.values[3:]: by.value(result) for result in first.results}  # by seed
        pairs = [(by.value(r), of_first[r.values[3:]]) for r in self.results if r.values[3:] in of_first]
        ours, theirs = [value for value, _ in pairs], [value for _, value in pairs]
        if not pairs or not all(map(isfinite, [*ours, *theirs])):
            return Interval(nan, nan, nan, len(pairs))
        found = paired(ours, theirs)
        return replace(found, low=nan, high=nan) if self.is_certain and first.is_certain else found


def mean_curve(
    label: str, places: NDArray[np.float64], series: Sequence[NDArray[np.float64]], ends: Sequence[str]
) -> plots.Curve:
    """Return the mean of losses over seeds or folds, with its 95 % interval; ``ends`` says where each diverged."""
    table = np.full((len(series), len(places)), np.nan)  # [S, K]; a run that ended earlier keeps its last loss
    for row, values, gone in zip(table, series, ends, strict=True):
        row[: len(values)] = values
        row[len(values) :] = values[-1] if len(values) and not gone else np.nan
    if all(np.array_equal(row, table[0], equal_nan=True) for row in table):  # one run, or seeds without chance
        return plots.Curve(label, places, table[0], diverged=ends[0])
    mean, half = _interval(table)
    return plots.Curve(label, places, mean, mean - half, mean + half, diverged=max(ends))


def _interval(table: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and half the 95 % interval of each column [S, K], as `gdcli.commands.stats.interval` has them."""
    count = len(table)
    with np.errstate(all="ignore"):
        mean, deviation = table.mean(axis=0), table.std(axis=0, ddof=1)
    return mean, quantile(count - 1) * deviation / np.sqrt(count)
