"""A learning rate for each row of a comparison: the same grid and the same seeds for all, none of them reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np

from gdcli.commands.stats import interval
from gdcli.plan import Trial, extended
from gdcli.records import Result
from gdcli.report.plots import Sensitivity

Train = Callable[[Sequence[Trial]], Sequence[Result]]
"""Trains points and returns their results in the same order."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was tried for one row: learning rates in order, the mean final loss of each, and the winner."""

    label: str
    lrs: tuple[float, ...]
    losses: tuple[float, ...]  # inf where a run diverged
    best: int

    @property
    def lr(self) -> float:
        """The learning rate with the lowest mean loss."""
        return self.lrs[self.best]

    @property
    def edge(self) -> str:
        """Where the winner lies: ``low`` or ``high`` at the end of what was tried, else nothing."""
        if not isfinite(self.losses[self.best]):
            return ""
        return "low" if self.best == 0 else "high" if self.best == len(self.lrs) - 1 else ""

    def curve(self) -> Sensitivity:
        """Return it as a curve of the picture."""
        return Sensitivity(self.label, np.array(self.lrs), np.array(self.losses), self.lr)


def tune(
    rows: Sequence[Trial], grid: Sequence[float], changes: Sequence[tuple[tuple[str, object], ...]], train: Train
) -> tuple[list[Tuned], list[Result]]:
    """Try every learning rate of the grid for every row, on every seed's ``changes``; extend it once at an edge.

    The score is the mean final loss over the seeds; a learning rate whose run diverges on any of them comes last.
    """
    tried = [list(grid) for _ in rows]
    results = list(train([point for row, lrs in zip(rows, tried, strict=True) for point in _points(row, lrs, changes)]))
    losses = _scores(results, [len(lrs) for lrs in tried], len(changes))
    found = [_best(row.label, lrs, scores) for row, lrs, scores in zip(rows, tried, losses, strict=True)]
    beyond = [_beyond(tuned) for tuned in found]
    more = list(train([p for row, lrs in zip(rows, beyond, strict=True) for p in _points(row, lrs, changes)]))
    scores = _scores(more, [len(lrs) for lrs in beyond], len(changes))
    final = [_joined(tuned, lrs, new) for tuned, lrs, new in zip(found, beyond, scores, strict=True)]
    numbered = [replace(result, number=number) for number, result in enumerate([*results, *more], 1)]
    return final, numbered


def _points(row: Trial, lrs: Sequence[float], changes: Sequence[tuple[tuple[str, object], ...]]) -> list[Trial]:
    return [
        Trial(
            f"{row.label} lr={lr:.6g} seed={dict(change)['seed']}",
            (row.label, lr, dict(change)["seed"]),
            (*row.changes, ("optimizer.lr", lr), *change),
        )
        for lr in lrs
        for change in changes
    ]


def _scores(results: Sequence[Result], lengths: Sequence[int], seeds: int) -> list[list[float]]:
    """Return the mean final loss of each learning rate, row by row."""
    losses = iter([result.rank for result in results])
    return [[interval([next(losses) for _ in range(seeds)]).mean for _ in range(length)] for length in lengths]


def _best(label: str, lrs: Sequence[float], losses: Sequence[float]) -> Tuned:
    finite = [loss if isfinite(loss) else inf for loss in losses]
    return Tuned(label, tuple(lrs), tuple(finite), min(range(len(finite)), key=finite.__getitem__))


def _beyond(tuned: Tuned) -> list[float]:
    """Return the learning rates beyond the edge at which the winner lies."""
    if tuned.edge == "low":
        return extended(list(tuned.lrs), "low")[: -len(tuned.lrs)]
    return extended(list(tuned.lrs), "high")[len(tuned.lrs) :] if tuned.edge == "high" else []


def _joined(tuned: Tuned, lrs: Sequence[float], losses: Sequence[float]) -> Tuned:
    if not lrs:
        return tuned
    if lrs[0] < tuned.lrs[0]:
        return _best(tuned.label, [*lrs, *tuned.lrs], [*losses, *tuned.losses])
    return _best(tuned.label, [*tuned.lrs, *lrs], [*tuned.losses, *losses])
