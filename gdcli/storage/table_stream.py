"""A table as a stream: the wanted columns of a CSV, some rows at a time, however long the file is."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import IO

from gdcli.errors import SpecError, nearest
from gdcli.spec.scalars import shown
from gdcli.storage import files

MAX_LINE = 2**24  # characters; a header of 10,000 columns has a hundredth of it
SEPARATORS = ",;\t"


@dataclass(frozen=True, slots=True)
class TableChunk:
    """Rows that follow each other: their lines in the file, and the cells of each wanted column as texts."""

    lines: Sequence[int]
    cells: Mapping[str, Sequence[str]]


@contextmanager
def opened(path: Path | None, other: IO[bytes]) -> Iterator[IO[bytes]]:
    """Open a user's file: a regular one, no link is followed; without a path it is ``other``. Raises SpecError."""
    if path is None:
        yield other
        return
    try:
        stream = files.opened(path)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = str(getattr(error, "strerror", None) or error).removeprefix("it ")
        raise SpecError(f"cannot read {shown(str(path), 200)}: {why}") from None
    with stream:
        yield stream


def chunks(
    stream: IO[bytes], name: str, wanted: Sequence[str], rows: int, *, header: bool = True
) -> Iterator[TableChunk]:
    """Yield the wanted columns of a CSV in UTF-8, so many rows at a time; commas, semicolons or tabs part the cells.

    Columns are found by their names in the first line, in any order, others are passed over; without ``header`` they
    are c1, c2, .... ``name`` is the file's for messages. Raises SpecError for a file that is no such table.
    """
    with TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            yield from _chunks(text, name, wanted, rows, header)
        except UnicodeDecodeError:
            raise SpecError(f"{name}: not UTF-8 text") from None


def _chunks(text: TextIOWrapper, name: str, wanted: Sequence[str], rows: int, header: bool) -> Iterator[TableChunk]:
    lines = _lines(text, name)
    first = next(lines, "")
    if not first.strip():
        raise SpecError(f"{name}: is empty, or begins with an empty line: the first line names the columns")
    separator = max(SEPARATORS, key=lambda sign: _named(first, sign, wanted, header))
    reader = csv.reader(chain([first], lines), strict=True, skipinitialspace=True, delimiter=separator)
    try:
        names = [cell.strip() for cell in (next(reader) if header else next(csv.reader([first], delimiter=separator)))]
        names = names if header else [f"c{k + 1}" for k in range(len(names))]
        places = _places(names, wanted, name)
        while True:
            found: list[list[str]] = []
            numbers: list[int] = []
            for row in reader:
                if row:
                    if len(row) != len(names):
                        what = f"has {len(row)} cells, the header has {len(names)}"
                        raise SpecError(f"{name}: line {reader.line_num} {what}")
                    found.append(row)
                    numbers.append(reader.line_num)
                    if len(found) == rows:
                        break
            if not found:
                return
            yield TableChunk(numbers, {column: [row[place] for row in found] for column, place in places.items()})
    except csv.Error as error:
        raise SpecError(f"{name}: line {reader.line_num}: {error}") from None


def _lines(text: TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise SpecError(f"{name}: line {number} has more than {MAX_LINE:,} characters")
        yield line


def _named(line: str, separator: str, wanted: Sequence[str], header: bool) -> int:
    """Return how many of the wanted columns a first line names, or has, if this sign parts its cells."""
    try:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return 0
    return len(set(wanted).intersection(cells)) if header else len(cells)


def _places(names: Sequence[str], wanted: Sequence[str], name: str) -> dict[str, int]:
    missing = [column for column in wanted if column not in names]
    if missing:
        told = ", ".join(repr(shown(column, 60)) for column in missing[:10])
        more = f" and {len(missing) - 10:,} more" if len(missing) > 10 else ""
        others = [shown(column, 60) for column in names if column not in wanted]
        hint = nearest(shown(missing[0], 60), others) or "It has no other column"
        raise SpecError(f"{name}: has no column {told}{more}, which the model takes. {hint}")
    for column in wanted:
        if names.count(column) > 1:
            raise SpecError(f"{name}: the column {shown(column, 60)!r} stands twice in the first line")
    return {column: names.index(column) for column in wanted}
