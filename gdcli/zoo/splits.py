"""Which rows train, which validate and which test: positions in the table, drawn from one permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gdcli.zoo.columns import Rows
from gdcli.zoo.naming import ArgumentError

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many rows are held out: a share below 1, or a number; or one of several folds for validation."""

    validation: float | int | None = None
    test: float | int | None = None
    folds: int | None = None
    fold: int = 0

    @property
    def draws(self) -> bool:
        """Whether any row is held out at random."""
        return self.validation is not None or self.test is not None or self.folds is not None


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Positions in the table, in its order, so that training in document order still is."""

    training: Rows
    validation: Rows | None
    test: Rows | None


def parts_of(n: int, wanted: Wanted, rng: Generator, labels: Labels | None = None) -> Parts:
    """Divide n rows: of one permutation the first validate, the last test, the rest train.

    So the test rows stay the same whatever is held out for validation. The folds are equal stretches, within a row, of
    those that do not test. With ``labels`` [n] each class has its share of every part, within a row.

    Raises ArgumentError where a part that is asked for, or training, would have no row.
    """
    order = rng.permutation(n)
    test = _count(wanted.test, n, "test")
    validation = 0 if wanted.folds else _count(wanted.validation, n, "validation")
    for key, count, given in (("test", test, wanted.test), ("validation", validation, wanted.validation)):
        if given is not None and not (count >= 1 and test + validation < n):
            raise ArgumentError((key,), f"{given} of {n} rows leaves no row for training or none for {key}")
    if labels is not None:  # stable: within a class the order of the permutation
        order = _interleaved(order, labels)
    rest, tested = order[: n - test], order[n - test :]
    if wanted.folds:
        if wanted.folds > len(rest):
            raise ArgumentError(("folds",), f"{wanted.folds} folds of {len(rest)} rows leave some without a row")
        folds = np.array_split(rest, wanted.folds)
        held_out, trained = folds[wanted.fold], np.concatenate(folds[: wanted.fold] + folds[wanted.fold + 1 :])
    else:
        held_out, trained = rest[:validation], rest[validation:]
    return Parts(
        np.sort(trained),
        np.sort(held_out) if validation or wanted.folds else None,
        np.sort(tested) if test else None,
    )


def _count(given: float | int | None, n: int, key: str) -> int:
    if given is None:
        return 0
    return round(given * n) if isinstance(given, float) else given


def _interleaved(order: Rows, labels: Labels) -> Rows:
    """Return rows so that any stretch of them has each class's share, within a row.

    Row j of the m of a class stands at (j + ½) / m of the way.
    """
    classes = labels[order]
    by_class = np.argsort(classes, kind="stable")
    _, starts, counts = np.unique(classes[by_class], return_index=True, return_counts=True)
    place = (np.arange(len(order)) - np.repeat(starts, counts) + 0.5) / np.repeat(counts, counts)
    way = np.empty(len(order))
    way[by_class] = place
    found: Rows = order[np.argsort(way, kind="stable")]
    return found
