"""From the cells of a table to the rows that a model takes, as preprocessing.json has it, and to its targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson

from gdcli.errors import DamagedError
from gdcli.storage.column_chunks import ColumnChunk
from gdcli.storage.models import ModelSides
from gdcli.storage.table_stream import TableChunk
from gdcli.zoo.columns import is_missing
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Feature, Preprocessing
from gdcli.zoo.table import Floats, Indices, brief
from gdcli.zoo.targets import targets_of


@dataclass(frozen=True, slots=True)
class ColumnEncoding:
    """What a model's columns are, how their cells become numbers, and what its outputs stand for."""

    fitted: Preprocessing
    targets: tuple[str, ...]
    count: int  # of classes; 0 where the targets are none
    kind: str  # of targets that the loss takes: values, probabilities or classes

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table has to have: an array [n, d] of an NPZ file is d of them."""
        names = [(each.name,) if each.categories is not None else each.columns for each in self.fitted.features]
        return tuple(name for several in names for name in several)

    def encode(self, chunk: TableChunk | ColumnChunk) -> Floats:
        """Return rows [n, D] as the model takes them.

        Raises ArgumentError for a cell that cannot be used, with its line and column.
        """
        columns = {
            feature.name: chunk.words(feature.name)
            if feature.categories is not None
            else np.stack([chunk.numbers(name) for name in feature.columns], axis=1)
            for feature in self.fitted.features
        }
        return self.fitted.encode(columns, chunk.where).astype(np.float64, copy=False)

    def encode_targets(self, chunk: TableChunk | ColumnChunk) -> Floats | Indices:
        """Return targets as the model learns them: class indices [n], or numbers [n, k].

        Raises ArgumentError as :meth:`encode` does, and for a class that the model has not.
        """
        classes = self.fitted.classes
        columns = {name: chunk.words(name) if classes else chunk.numbers(name) for name in self.targets}
        for name, column in columns.items():
            if (missing := is_missing(column)).any():
                raise _at(chunk, name, int(missing.argmax()), "the cell is missing")
        y = targets_of(columns, self.targets, self.kind, maps=False, classes=classes, where=chunk.where).y
        if y.ndim == 1 and y.max() >= self.count:
            (name,), row = self.targets, int(y.argmax())
            what = f"'{y[row]}' is none of the {self.count} classes of the model"
            raise _at(chunk, name, row, what)
        return self.fitted.target_scaled(y)

    def names(self, outputs: int) -> list[str]:
        """Return what the classes of so many outputs are called."""
        return [self.fitted.class_name(k) for k in range(outputs)]


def encoding_of(sides: ModelSides, kind: str, preprocessing: bytes | None, where: str) -> ColumnEncoding:
    """Return how a record encodes its columns, by its preprocessing.json where it has one.

    Raises DamagedError for a file that is not of this model.
    """
    if preprocessing is None:
        fitted = Preprocessing(tuple(map(Feature, sides.features)))
    else:
        try:
            fitted = Preprocessing.from_json(orjson.loads(preprocessing))
            if not fitted.is_of(sides.features, sides.targets, sides.classes, kind):
                raise ValueError
        except ValueError:  # also what from_json and orjson raise
            raise DamagedError(f"{where}: does not say how the columns of this model were prepared") from None
    return ColumnEncoding(fitted, sides.targets, sides.classes, kind)


def _at(chunk: TableChunk | ColumnChunk, name: str, row: int, what: str) -> ArgumentError:
    return ArgumentError((), f"{chunk.where(row)}, column {brief(name)}: {what}")
