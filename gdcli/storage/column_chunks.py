"""Tables that are no text, NPZ, Parquet and IDX files, as the chunks that a CSV comes in: read whole, within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import IO

import numpy as np

from gdcli.errors import SpecError
from gdcli.storage.table_stream import places_of
from gdcli.zoo.columns import Column, Words, as_words, by_number, taken
from gdcli.zoo.data_files import read_open
from gdcli.zoo.idx_files import IMAGES, LABELS, read_array
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, brief, numbered

ENDINGS = (".npz", ".parquet")
IDX_HEADS = (b"\0\0", b"\x1f\x8b")
"""What an IDX file begins with, and a gzipped one."""


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """Rows that follow each other, from the table's row ``first`` on, counted from 0: columns of numbers or words."""

    first: int
    columns: Mapping[str, Column]

    def where(self, row: int) -> str:
        """Return where a row stands in the file."""
        return by_number(self.first + row)

    def words(self, name: str) -> Words:
        """Return a column as words."""
        return as_words(self.columns[name], name)

    def numbers(self, name: str) -> Floats:
        """Return a column of numbers [n], NaN for missing cells. Raises ArgumentError for words."""
        column = self.columns[name]
        if isinstance(column, Words):
            if not (column.codes >= 0).any():
                return np.full(len(column), np.nan)
            row = int((column.codes >= 0).argmax())
            what = f"{brief(column.values[column.codes[row]])} is not a number"
            raise ArgumentError((), f"{self.where(row)}, column {brief(name)}: {what}")
        return column


def column_chunks(
    stream: IO[bytes], name: str, wanted: Sequence[str], rows: int, labels: IO[bytes] | None = None
) -> Iterator[ColumnChunk] | None:
    """Return the wanted columns of an NPZ, Parquet or IDX file, so many rows at a time; None for other files.

    An array [n, d] is d columns: x[0], x[1], .... ``name`` is the file's for messages; ``labels`` is an IDX file beside
    one of images. The iterator raises SpecError for a file that is no such table, MachineError for Parquet without
    pyarrow.
    """
    if not isinstance(stream, BufferedReader) or not stream.seekable():
        return None
    ending = next((each for each in ENDINGS if name.lower().endswith(each)), None)
    if ending is not None:
        return _of_file(stream, name, ending, wanted, rows)
    return _of_idx(stream, name, wanted, rows, labels) if stream.peek(2)[:2] in IDX_HEADS else None


def _of_file(stream: BufferedReader, name: str, ending: str, wanted: Sequence[str], rows: int) -> Iterator[ColumnChunk]:
    def choose(known: list[str]) -> list[str]:
        arrays = {column: column.rpartition("[")[0] for column in wanted if column not in known}  # x of x[0]
        there = [column for column, array in arrays.items() if array in known]
        try:
            places_of([*known, *there], wanted, name)  # before a row is read
            return [each for each in known if each in wanted or any(arrays[column] == each for column in there)]
        except SpecError as error:
            raise ArgumentError((), str(error).removeprefix(f"{name}: ")) from None

    try:
        yield from _cut(_flat(read_open(stream, ending, choose)), name, wanted, rows)
    except ArgumentError as error:
        raise SpecError(f"{name}: {error.message}") from None


def _of_idx(
    stream: IO[bytes], name: str, wanted: Sequence[str], rows: int, labels: IO[bytes] | None
) -> Iterator[ColumnChunk]:
    if labels is None and LABELS in wanted:
        raise SpecError(f"{name}: has images alone: --labels names the file of their labels")
    try:
        images = read_array(stream)
        if images.ndim < 2:
            raise ArgumentError((), f"has shape {brief(list(images.shape))}, not [n, height, width]")
        columns: dict[str, Column] = {IMAGES: images.reshape(len(images), -1).astype(np.float64)}
        if labels is not None:
            found = read_array(labels)
            if found.shape != (len(images),):
                raise ArgumentError((), f"{len(images):,} images, and labels of shape {list(found.shape)}")
            columns[LABELS] = found.astype(np.float64)
        yield from _cut(_flat(columns), name, wanted, rows)
    except ArgumentError as error:
        raise SpecError(f"{name}: {error.message}") from None


def _flat(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return columns [n], arrays [n, d] as d of them."""
    found: dict[str, Column] = {}
    for name, column in columns.items():
        if isinstance(column, Words) or column.ndim == 1:
            found[name] = column
        else:
            found |= zip(numbered(name, column.shape[1]), column.T, strict=True)
    return found


def _cut(columns: Mapping[str, Column], name: str, wanted: Sequence[str], rows: int) -> Iterator[ColumnChunk]:
    places_of(list(columns), wanted, name)
    chosen = {each: columns[each] for each in wanted}
    lengths = set(map(len, chosen.values()))
    if len(lengths) > 1:
        raise ArgumentError((), f"columns of different length: {', '.join(map(str, sorted(lengths)[:10]))}")
    for first in range(0, max(lengths), rows):
        part = np.arange(first, min(first + rows, max(lengths)))
        yield ColumnChunk(first, {each: taken(column, part) for each, column in chosen.items()})
