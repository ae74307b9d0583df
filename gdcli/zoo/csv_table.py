"""CSV files to columns: by pyarrow where the file is large and it is installed, by numpy, else cell by cell."""

from __future__ import annotations

import codecs
import csv
import math
import os
import warnings
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BufferedReader, TextIOWrapper
from typing import TypeAlias

import numpy as np

from gdcli.zoo.columns import (
    MAX_WORDS,
    MISSING,
    BadCells,
    Column,
    TooManyWordsError,
    Words,
    as_words,
    not_a_number,
    not_a_word,
    number_of,
)
from gdcli.zoo.csv_dialect import (
    SAMPLE,
    CsvFormat,
    CsvLayout,
    Dialect,
    Kinds,
    dialect_of,
    encoding_of,
    rows_of_sample,
)
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import brief

MAX_COLUMNS = 10_000
ARROW_BYTES = 1024**2
"""Size from which on importing pyarrow is worth its time."""

Choose: TypeAlias = Callable[[list[str]], list[str]]


def read_csv(
    stream: BufferedReader, choose: Choose, given: CsvFormat, kinds: Kinds, like: Dialect | None = None,
    *, tabs: bool = False,
) -> tuple[dict[str, Column], tuple[str, ...], CsvLayout]:  # fmt: skip
    """Return the columns that ``choose`` picks, what should be known of how they were read, and the file's form.

    A file that does not show its signs has those of the one that it is ``like``; columns of words show none.
    Raises ArgumentError for a file that cannot be used, BadCellsError for cells that do not belong in their columns.
    """
    size = os.fstat(stream.fileno()).st_size
    if size >= ARROW_BYTES:  # what is not UTF-8 behind its beginning is met where it is read, without a pass of its own
        with suppress(UnicodeDecodeError):
            return _read(stream, encoding_of(stream, ARROW_BYTES), size, choose, given, kinds, like, tabs=tabs)
        stream.seek(0)
    return _read(stream, encoding_of(stream), size, choose, given, kinds, like, tabs=tabs)


def _read(
    stream: BufferedReader, found: tuple[str, str], size: int, choose: Choose, given: CsvFormat, kinds: Kinds,
    like: Dialect | None, *, tabs: bool,
) -> tuple[dict[str, Column], tuple[str, ...], CsvLayout]:  # fmt: skip
    """Return what ``read_csv`` does, of a file in an encoding. Raises UnicodeDecodeError for one that it is not in."""
    encoding, note = found
    text = TextIOWrapper(stream, encoding, newline="")
    try:
        sample = text.read(SAMPLE)
        text.seek(0)
        dialect = dialect_of(sample, given, lambda name: name not in kinds.words, like, tabs=tabs)
        names, above, offset = _header(text, dialect, given.header)
        wanted = {name: names.index(name) for name in choose(names)}
        mark = len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0
        layout = CsvLayout(dialect, encoding, len(names), wanted, above, mark + offset)
        columns = _columns(text, layout, kinds, sample, size)
    finally:
        text.detach()
    for name in kinds.words:  # 1,0 is 1 where the comma is the decimal sign, as 1.0 is elsewhere
        if dialect.decimal == "," and name in columns:
            columns[name] = as_words(columns[name], name, ",")
    return columns, (note,) if note else (), layout


def _columns(text: TextIOWrapper, layout: CsvLayout, kinds: Kinds, sample: str, size: int) -> dict[str, Column]:
    if size >= ARROW_BYTES and layout.encoding != "utf-16" and find_spec("pyarrow") is not None:
        from gdcli.zoo.csv_arrow import read_with_arrow

        guessed = _guessed(layout, kinds, sample)
        columns = read_with_arrow(text, layout, guessed, kinds)
        if columns is not None:
            return columns
    for attempt in (_all_numbers, _cell_by_cell):
        text.seek(0)
        for _ in range(layout.above):
            text.readline()
        columns = attempt(text, layout, kinds)
        if columns is not None:
            return columns
    raise AssertionError("reading cell by cell gives columns or raises")


def _guessed(layout: CsvLayout, kinds: Kinds, sample: str) -> Kinds:
    """Return which columns are words and which numbers, by the first rows; one without a cell there is of numbers."""
    rows = rows_of_sample(sample, layout.dialect)[1 if layout.above else 0 :]
    words, numbers = set(kinds.words), set(kinds.numbers)
    for name, place in layout.wanted.items():
        if name not in words | numbers:
            cells = [cell for row in rows if len(row) > place and (cell := row[place].strip()) not in MISSING]
            of_words = bool(cells) and all(number_of(cell, layout.dialect.decimal) is None for cell in cells)
            (words if of_words else numbers).add(name)
    return Kinds(tuple(words), tuple(numbers))


# --- the header -------------------------------------------------------------------------------------------------------


def _header(text: TextIOWrapper, dialect: Dialect, named: bool | None) -> tuple[list[str], int, int]:
    """Return the names of the columns, and the lines and bytes that they take: a quoted name may hold line breaks."""
    read: list[str] = []

    def lines() -> Iterator[str]:
        while line := text.readline():
            read.append(line)
            yield line

    reader = dialect.reader(lines())
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise ArgumentError(("file",), f"line 1: {error}") from None
    if len(header) > MAX_COLUMNS:
        raise ArgumentError(("file",), f"{len(header):,} columns, more than {MAX_COLUMNS:,}")
    if named is False:
        return [f"c{k + 1}" for k in range(len(header))], 0, 0
    if named is None and header and all(number_of(cell, dialect.decimal) is not None for cell in header):
        what = "line 1 holds numbers, so that the file seems to have no names of columns"
        raise ArgumentError(
            ("file",), f"{what}. `header: false` names them c1, c2, ...; `header: true` takes the numbers"
        )
    last = {name: place for place, name in enumerate(header)}
    twice = [name for place, name in enumerate(header) if last[name] != place]
    if twice:
        raise ArgumentError(("file",), f"line 1: the column {brief(twice[0])} stands twice in the header")
    encoding = "utf-8" if text.encoding == "utf-8-sig" else text.encoding
    return header, reader.line_num, len("".join(read).encode(encoding))


# --- numbers alone, by numpy ------------------------------------------------------------------------------------------


def _all_numbers(text: TextIOWrapper, layout: CsvLayout, kinds: Kinds) -> dict[str, Column] | None:
    """Return the columns of a file of numbers alone; None for another, also where a column is not wanted."""
    if kinds.words or layout.dialect.decimal != ".":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of a file without rows, for which the slow way has an error
        try:
            table = np.loadtxt(text, delimiter=layout.dialect.separator, comments=None, ndmin=2)
        except ValueError:  # a quote, or text in a column that may not be wanted: slowly then
            return None
    if table.shape[1] != layout.width or not len(table) or not np.isfinite(table).all():
        return None
    return {name: table[:, place] for name, place in layout.wanted.items()}


# --- cell by cell -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Cells:
    """A column on the way: numbers, and the words of the cells that are none."""

    as_words: bool
    decimal: str
    values: array[float] = field(default_factory=lambda: array("d"))  # a quarter of a list of floats
    codes: array[int] = field(default_factory=lambda: array("i"))  # of a word, -1 missing, -2 a number
    words: dict[str, int] = field(default_factory=dict)

    def take(self, cell: str) -> None:
        """Take the cell of the next row."""
        if not self.as_words:
            value = number_of(cell, self.decimal)
            self.values.append(math.nan if value is None else value)
            if value is not None:
                self.codes.append(-2)
                return
        cell = cell.strip()
        self.codes.append(-1 if cell in MISSING else self.words.setdefault(cell, len(self.words)))

    def column(self, name: str, place: int, bad: BadCells, *, infer: bool) -> Column:
        """Return the column, its bad cells to ``bad``; one without any number is text where that may be inferred."""
        codes, words = np.array(self.codes, np.int32), tuple(self.words)
        if self.as_words:
            return Words(codes, words)
        of_text = infer and bool(words) and not (codes == -2).any()
        if of_text and len(words) > MAX_WORDS:
            raise TooManyWordsError(name, len(words))
        wrong = [code for code, word in enumerate(words) if not of_text or not_a_word(word)]

        def what(row: int) -> str:
            word = words[codes[row]]
            return not_a_word(word) if of_text else not_a_number(word, self.decimal)

        bad.add(place, name, np.flatnonzero(np.isin(codes, wrong)), what)
        return Words(codes, words) if of_text else np.array(self.values)


def _cell_by_cell(text: TextIOWrapper, layout: CsvLayout, kinds: Kinds) -> dict[str, Column]:
    reader = layout.dialect.reader(iter(text.readline, ""))
    decimal = layout.dialect.decimal
    cells = {name: _Cells(name in kinds.words, decimal) for name in layout.wanted}
    takes = [(layout.wanted[name], column.take) for name, column in cells.items()]
    lines = array("q")
    try:
        for row in filter(None, reader):
            if len(row) != layout.width:
                line = reader.line_num + layout.above
                raise ArgumentError(("file",), f"line {line} has {len(row)} cells, the header has {layout.width}")
            lines.append(reader.line_num + layout.above)
            for place, take in takes:
                take(row[place])
    except csv.Error as error:
        raise ArgumentError(("file",), f"line {reader.line_num + layout.above}: {error}") from None
    if not lines:
        raise ArgumentError(("file",), "no rows below the header")
    bad = BadCells()
    columns = {
        name: each.column(name, layout.wanted[name], bad, infer=name not in kinds.numbers)
        for name, each in cells.items()
    }
    bad.refuse({row: lines[row] for row, *_ in bad.first()})
    return columns
