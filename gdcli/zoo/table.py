"""Tables: rows of features and their targets, and their preparation; numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gdcli.zoo.naming import ArgumentError

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

MAX_INDEX = 2**53
"""Above it a float64 is no longer one whole number."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of features and their targets.

    ``x`` is ``[n, d]``. ``y`` is ``[n, k]`` numbers, or ``[n]`` class indices. ``classes`` is 0 unless y stands for
    classes: indices below it, or probabilities ``[n, classes]``.
    """

    x: Floats
    y: Floats | Indices
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: int = 0
    sha256: str = ""  # of the file that it was read from


def as_numbers(table: Table) -> Table:
    """Return class indices as a column of numbers ``[n, 1]``, for the losses that compare numbers (mse, bce)."""
    return replace(table, y=table.y.reshape(len(table.y), -1).astype(np.float64), classes=0)


def scale(training: Table) -> tuple[Floats, Floats]:
    """Return mean and deviation of each feature, both ``[d]``, with divisor n; a constant feature has deviation 1.

    A constant's mean is the constant itself, since a rounded mean would leave a remainder where 0 belongs.
    """
    x = training.x
    constant = x.min(axis=0) == x.max(axis=0)
    mean = np.where(constant, x[0], x.mean(axis=0))
    return mean, np.where(constant, 1.0, x.std(axis=0))


def standardize(table: Table, mean: Floats, deviation: Floats) -> Table:
    """Return the table with x' = (x - mean) / deviation; y stays. Validation rows take the training rows' scale."""
    return replace(table, x=(table.x - mean) / deviation)


def split(table: Table, fraction: float, rng: Generator) -> tuple[Table, Table]:
    """Divide the rows at random into training and validation, ``fraction`` of them for validation.

    Both keep the order of the table, so that training in document order still is.

    Raises:
        ArgumentError: either part would have no row.
    """
    n = len(table.x)
    count = round(fraction * n)
    if not 1 <= count < n:
        raise ArgumentError(
            ("validation",), f"{fraction} of {n} rows leaves no row for training or none for validation"
        )
    order = rng.permutation(n)
    return _rows(table, np.sort(order[count:])), _rows(table, np.sort(order[:count]))


def _rows(table: Table, rows: NDArray[np.intp]) -> Table:
    return replace(table, x=table.x[rows], y=table.y[rows])


def brief(value: Any) -> str:
    """Return a value as messages show it, in ASCII and cut."""
    text = ascii(value)  # no byte of a file may reach the terminal as a control character
    return text if len(text) <= 40 else text[:37] + "..."


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Return a name for each of that many columns."""
    return (name,) if count == 1 else tuple(f"{name}[{column}]" for column in range(count))
