"""From the cells of a table to the rows that a model takes, as preprocessing.json has it, and to its targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from gdcli.errors import DamagedError
from gdcli.storage.models import ModelSides
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, brief

Cells = Mapping[str, Sequence[str]]
"""The cells of each column, as texts."""


@dataclass(frozen=True, slots=True)
class ColumnEncoding:
    """What a model's columns are, how their cells become numbers, and the names of its classes."""

    columns: tuple[str, ...]  # that a table has to have, by their names in it
    targets: tuple[str, ...]
    classes: tuple[str, ...]  # nothing where the target is numbers
    scaling: tuple[Floats, Floats] | None = None  # mean and deviation of each feature [D]

    def encode(self, cells: Cells) -> Floats:
        """Return rows [n, D] as the model takes them.

        Raises ArgumentError for a cell that is no number, its path the column and the row from 0.
        """
        return self.scaled(np.stack([_numbers(cells[name], name) for name in self.columns], axis=1))

    def scaled(self, x: Floats) -> Floats:
        """Return rows [n, D] of numbers as the model takes them."""
        return x if self.scaling is None else (x - self.scaling[0]) / self.scaling[1]

    def encode_targets(self, cells: Cells) -> Floats | NDArray[np.int64]:
        """Return targets: class indices [n], or numbers [n, k]. Raises ArgumentError as :meth:`encode` does."""
        if not self.classes or len(self.targets) > 1:
            return np.stack([_numbers(cells[name], name) for name in self.targets], axis=1)
        (target,) = self.targets
        index = {name: k for k, name in enumerate(self.classes)}
        found = [index.get(cell.strip(), index.get(_whole(cell), -1)) for cell in cells[target]]
        for row, k in enumerate(found):
            if k < 0:
                what = f"{brief(cells[target][row])} is none of the {len(index)} classes of the model"
                raise ArgumentError((target, row), what)
        return np.array(found, dtype=np.int64)


def encoding_of(sides: ModelSides, preprocessing: bytes | None, where: str) -> ColumnEncoding:
    """Return how a record encodes its columns, by its preprocessing.json where it has one.

    Raises DamagedError for a file that is not of this model.
    """
    several = len(sides.targets) > 1
    names = sides.targets if sides.classes and several else tuple(map(str, range(sides.classes)))
    plain = ColumnEncoding(sides.features, sides.targets, names)
    if preprocessing is None:
        return plain
    try:
        found = orjson.loads(preprocessing)
        mean, deviation = (_floats(found[key], len(sides.features)) for key in ("means", "deviations"))
        if tuple(found["columns"]) != sides.features or not (deviation > 0).all():
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"{where}: does not say how the columns of this model were prepared") from None
    return ColumnEncoding(plain.columns, plain.targets, plain.classes, (mean, deviation))


def _floats(values: Any, count: int) -> Floats:
    if not isinstance(values, list) or len(values) != count or not all(type(v) in (int, float) for v in values):
        raise ValueError
    found = np.array(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError
    return found


def _numbers(cells: Sequence[str], column: str) -> Floats:
    text = "".join(cells)
    if text.isascii() and "_" not in text:  # Python's float also takes 1_000 and digits of every script
        with suppress(ValueError):
            found = np.array([float(cell) for cell in cells], dtype=np.float64)
            if np.isfinite(found).all():
                return found
    for row, cell in enumerate(cells):
        if why := _not_a_number(cell):
            raise ArgumentError((column, row), why)
    return np.array([float(cell) for cell in cells], dtype=np.float64)


def _whole(cell: str) -> str:
    """Return a number as a class index is written: 1 for 1.0, as a table of floats has it."""
    with suppress(ValueError, OverflowError):
        return str(int(value)) if (value := float(cell)).is_integer() else ""
    return ""


def _not_a_number(cell: str) -> str:
    if not cell.strip():
        return "the cell is empty"
    with suppress(ValueError):
        if cell.isascii() and "_" not in cell:
            return "" if math.isfinite(float(cell)) else f"{brief(cell)} is not a finite number"
    return f"{brief(cell)} is not a number"
