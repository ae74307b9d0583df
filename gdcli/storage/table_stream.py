"""A table as a stream: the wanted columns of a CSV, some rows at a time, however long the file is."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader, BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO

from gdcli.errors import MAX_KNOWN, SpecError, nearest
from gdcli.spec.scalars import shown
from gdcli.storage import files
from gdcli.zoo.columns import Words, as_words, not_a_number, numbers_of, words_of
from gdcli.zoo.csv_dialect import SAMPLE, CsvFormat, Dialect, dialect_of, encoding_of
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, brief

MAX_LINE = 2**24  # characters; a header of 10,000 columns has a hundredth of it


@dataclass(frozen=True, slots=True)
class TableChunk:
    """Rows that follow each other: their lines in the file, and the cells of each wanted column as texts."""

    lines: Sequence[int]
    cells: Mapping[str, Sequence[str]]
    decimal: str = "."

    def where(self, row: int) -> str:
        """Return where a row stands in the file."""
        return f"line {self.lines[row]}"

    def words(self, name: str) -> Words:
        """Return a column as words, those that are numbers by the file's decimal sign as training has them."""
        words = words_of(self.cells[name])
        return words if self.decimal == "." else as_words(words, name, self.decimal)

    def numbers(self, name: str) -> Floats:
        """Return a column of numbers [n], NaN for missing cells. Raises ArgumentError for a cell that is none."""
        found, bad = numbers_of(self.cells[name], self.decimal)
        if bad is not None:
            what = not_a_number(self.cells[name][bad], self.decimal, "This table is read with decimal points")
            raise ArgumentError((), f"{self.where(bad)}, column {brief(name)}: {what}")
        return found


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
    stream: IO[bytes], name: str, wanted: Sequence[str], rows: int, given: CsvFormat | None = None,
    like: Dialect | None = None, of_words: Collection[str] = (),
) -> Iterator[TableChunk]:  # fmt: skip
    """Yield the wanted columns of a CSV, so many rows at a time.

    Encoding, separator, decimal sign and quotes are found out as those of training data are, or are as ``given``; of a
    pipe the encoding is UTF-8, or UTF-16 by its mark. A table that does not show its signs has those of the one that it
    is ``like``; the wanted columns show them, but for those ``of_words``. Columns are found by their names in the first
    line, in any order, others are passed over; where it has no names they are c1, c2, .... ``name`` is the file's for
    messages. Raises SpecError for a file that is no such table.
    """
    try:
        with TextIOWrapper(stream, _encoding(stream), newline="") as text:
            numbers = {column for column in wanted if column not in of_words}
            yield from _chunks(text, name, wanted, rows, given or CsvFormat(), like or Dialect(), numbers)
    except ArgumentError as error:
        raise SpecError(f"{name}: {error.message}") from None
    except UnicodeError:
        raise SpecError(f"{name}: not UTF-8 text") from None


def _encoding(stream: IO[bytes]) -> str:
    assert isinstance(stream, BufferedReader | BytesIO)
    if stream.seekable() and isinstance(stream, BufferedReader) and not stream.tell():
        return encoding_of(stream)[0]
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    head = stream.getvalue() if isinstance(stream, BytesIO) else stream.peek(2)
    return "utf-16" if head.startswith(marks) else "utf-8-sig"


def _chunks(
    text: TextIOWrapper, name: str, wanted: Sequence[str], rows: int, given: CsvFormat, like: Dialect, shows: set[str]
) -> Iterator[TableChunk]:
    sample = text.read(SAMPLE)
    while sample.endswith("\r") and (more := text.read(1)):  # a line may end with two characters
        sample += more
    if not sample.partition("\n")[0].strip():
        raise SpecError(f"{name}: is empty, or begins with an empty line: the first line names the columns")
    dialect = dialect_of(sample, _fitting(given, sample), shows.__contains__, like, tabs=name.lower().endswith(".tsv"))
    reader = dialect.reader(_lines(text, sample, name))
    try:
        first = [cell.strip() for cell in next(reader)]
        names = [f"c{k + 1}" for k in range(len(first))] if given.header is False else first
        if given.header is False:  # the first line is a row
            reader = dialect.reader(_lines(text, sample, name))
        places = places_of(names, wanted, name)
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
            cells = {column: [row[place] for row in found] for column, place in places.items()}
            yield TableChunk(numbers, cells, dialect.decimal)
    except csv.Error as error:
        raise SpecError(f"{name}: line {reader.line_num}: {error}") from None


def _fitting(given: CsvFormat, sample: str) -> CsvFormat:
    """Return what is given of the training file, without a separator that the first line has not."""
    if given.separator is not None and given.separator not in sample.partition("\n")[0]:
        return replace(given, separator=None, decimal=None)
    return given


def _lines(text: TextIOWrapper, sample: str, name: str) -> Iterator[str]:
    """Yield the lines of a text of which the first characters have been read."""
    number, begun = 0, StringIO(sample, newline="")
    while line := begun.readline():
        if not line.endswith(("\n", "\r")):
            line += text.readline(MAX_LINE - len(line))
        number += 1
        yield _bounded(line, number, name)
    while line := text.readline(MAX_LINE):
        number += 1
        yield _bounded(line, number, name)


def _bounded(line: str, number: int, name: str) -> str:
    if len(line) == MAX_LINE and not line.endswith("\n"):
        raise SpecError(f"{name}: line {number} has more than {MAX_LINE:,} characters")
    return line


def _listed(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    return ", ".join(names[:MAX_KNOWN]) + (f" and {len(names) - MAX_KNOWN:,} more" if len(names) > MAX_KNOWN else "")


def places_of(names: Sequence[str], wanted: Sequence[str], name: str) -> dict[str, int]:
    """Return where each wanted column stands among the names. Raises SpecError for one that is not there, or twice."""
    missing = [column for column in wanted if column not in names]
    if missing:
        told = _listed([repr(shown(column, 60)) for column in missing])
        first, others = shown(missing[0], 60), [shown(column, 60) for column in names if column not in wanted]
        hint = nearest(first, others)  # a column that is taken already is no misspelled one
        hint = hint if hint.startswith("Did") else f"Its columns: {_listed([shown(column, 60) for column in names])}"
        raise SpecError(f"{name}: has no column {told}, which the model takes. {hint}")
    for column in wanted:
        if names.count(column) > 1:
            raise SpecError(f"{name}: the column {shown(column, 60)!r} stands twice in the first line")
    return {column: names.index(column) for column in wanted}
