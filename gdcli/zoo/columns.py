"""Columns of a data file as they were read: numbers, or words out of a list; numpy only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, brief

MAX_WORDS = 10_000
"""Values of one column of words: each becomes a column of the model's input."""
MAX_WORD = 128
"""Characters of a word."""
MAX_TOLD = 20
"""Bad cells that are told one by one."""

MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
))  # fmt: skip
"""The cells that hold nothing, as pandas.read_csv takes them."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A column of words: ``values[codes[row]]``, and nothing where the code is -1."""

    codes: NDArray[np.int32]  # [n]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


Column: TypeAlias = Floats | Words
"""Numbers ``[n]``, NaN where a cell is missing; an array of an NPZ file may be ``[n, d]``. Or words."""
Rows: TypeAlias = NDArray[np.intp]
"""Positions in a table."""
Where: TypeAlias = Callable[[int], str]
"""From a row, counted from 0, to the words that tell where it stands."""


def by_number(row: int) -> str:
    """Return where a row stands that has no line.

    >>> by_number(0)
    'row 1'
    """
    return f"row {row + 1:,}"


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """The columns of a file that were asked for, of one length."""

    columns: Mapping[str, Column]
    features: tuple[str, ...]
    targets: tuple[str, ...]
    sha256: str = ""
    notes: tuple[str, ...] = ()  # what was found out and should be known
    separator: str = ","  # of a CSV file
    decimal: str = "."
    lines: Callable[[Collection[int]], Mapping[int, int]] | None = None  # of some rows, where it has any
    kept: Rows | None = None  # of the file's rows, where some are left out

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int) -> str:
        """Return where a row stands in the file: its line, or its number."""
        return self.places([row])[0]

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return where rows stand in the file: a CSV is read again for their lines."""
        rows = rows if self.kept is None else [int(self.kept[row]) for row in rows]
        lines = {} if self.lines is None else self.lines(set(rows))
        return [f"line {lines[row]}" if row in lines else by_number(row) for row in rows]


class BadCellsError(ArgumentError):
    """Cells that are not what their column holds: one message each, and a last one that counts the rest."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(("file",), "; ".join(messages))
        self.args = (tuple(messages),)  # survives pickling
        self.messages = tuple(messages)


@dataclass(slots=True)
class BadCells:
    """Bad cells on the way: the first of the file in its order, and how many there are by column."""

    counts: dict[str, int] = field(default_factory=dict)
    told: list[tuple[int, int, str, str]] = field(default_factory=list)  # row, place, column, what is wrong

    def add(self, place: int, column: str, rows: Rows, what: Callable[[int], str]) -> None:
        """Take the bad cells of a column: their rows in order, and what is wrong with each."""
        if len(rows):
            self.counts[column] = len(rows)
            self.told += [(int(row), place, column, what(int(row))) for row in rows[:MAX_TOLD]]

    def first(self) -> list[tuple[int, int, str, str]]:
        """Return the first of all: row, place, column, what is wrong."""
        return sorted(self.told)[:MAX_TOLD]

    def refuse(self, lines: Mapping[int, int]) -> None:
        """Raise BadCellsError if there is one; ``lines`` gives the line of each of the first."""
        if not self.counts:
            return
        first = self.first()
        messages = [f"line {lines[row]}, column {brief(column)}: {what}" for row, _, column, what in first]
        if (total := sum(self.counts.values())) > len(first):
            by_column = ", ".join(f"{brief(name)} {count:,}" for name, count in islice(self.counts.items(), 20))
            what = f"these are the first {len(first)} of {total:,} cells that cannot be used: {by_column}"
            messages.append(f"{what}. data.categories takes a column as text")
        raise BadCellsError(messages)


# --- one cell ---------------------------------------------------------------------------------------------------------


def number_of(cell: str, decimal: str = ".") -> float | None:
    """Return the finite number that a cell holds, else None.

    >>> number_of(" 1e3 "), number_of("1_000"), number_of("7,4", ","), number_of("inf")
    (1000.0, None, 7.4, None)
    """
    if not cell.isascii() or "_" in cell:  # Python's float also takes 1_000 and digits of every script
        return None
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def not_a_number(cell: str, decimal: str = ".", way: str = "Set data.decimal: ','") -> str:
    """Return what is wrong with a cell of a column of numbers, and the ``way`` out of a decimal comma."""
    what = f"{brief(cell)} is not a number"
    if decimal == ",":
        return what if number_of(cell) is None else f"{what}: the decimal sign is a comma here"
    try:
        float(cell)
        if cell.isascii() and "_" not in cell:
            return f"{brief(cell)} is not a finite number"
    except ValueError:
        if re.fullmatch(r"\s*[-+]?[0-9]+,[0-9]+\s*", cell):
            what += f": a decimal comma? {way}"
    return what


def not_a_word(cell: str) -> str:
    """Return why a cell is no word, in a column of them: it looks like a number that it is not; nothing if it is one.

    >>> not_a_word("Bonn"), not_a_word("1_000"), not_a_word("0x10")
    ('', "'1_000' is not a number", "'0x10' is not a number")
    """
    if len(cell) > MAX_WORD:
        return f"{brief(cell)} is not a number, and a word has at most {MAX_WORD} characters"
    if not cell.isprintable():
        return f"{brief(cell)} is not a number, and no word with characters that are not seen"
    try:
        float(cell)
    except ValueError:
        looks = re.fullmatch(r"[-+]?(0[xXoObB][0-9a-fA-F]+|[0-9]+,[0-9]+)", cell)
        return not_a_number(cell) if looks else ""
    return not_a_number(cell)


def word_of(value: float) -> str:
    """Return a number as a word: whole ones without a point.

    >>> word_of(3.0), word_of(0.5)
    ('3', '0.5')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


# --- a column of cells ------------------------------------------------------------------------------------------------


def numbers_of(cells: Sequence[str], decimal: str = ".") -> tuple[Floats, int | None]:
    """Return the numbers [n] of a column's cells, NaN for missing ones, and the first row that is neither.

    >>> numbers_of(["1", "NA", "x"])
    (array([ 1., nan, nan]), 2)
    """
    if decimal == "." and (text := "".join(cells)).isascii() and "_" not in text:
        with suppress(ValueError):
            found = np.array([float(cell) for cell in cells], np.float64)
            if np.isfinite(found).all():
                return found, None
    numbers, bad = np.full(len(cells), np.nan), None
    for row, cell in enumerate(cells):
        if (number := number_of(cell, decimal)) is not None:
            numbers[row] = number
        elif bad is None and cell.strip() not in MISSING:
            bad = row
    return numbers, bad


def words_of(cells: Sequence[str]) -> Words:
    """Return the words of a column's cells."""
    values: dict[str, int] = {}
    stripped = map(str.strip, cells)
    codes = [-1 if cell in MISSING else values.setdefault(cell, len(values)) for cell in stripped]
    return Words(np.array(codes, np.int32), tuple(values))


# --- a column ---------------------------------------------------------------------------------------------------------


def taken(column: Column, rows: Rows | None) -> Column:
    """Return some rows of a column; all where there is no choice."""
    if rows is None:
        return column
    return Words(column.codes[rows], column.values) if isinstance(column, Words) else column[rows]


def is_missing(column: Column) -> NDArray[np.bool_]:
    """Return for each row [n] whether its cell is missing, one of its cells for an array [n, d]."""
    if isinstance(column, Words):
        return column.codes < 0
    if column.ndim == 1:
        return np.isnan(column)
    rows = max(1, 2**20 // max(1, column.shape[1]))  # at once: no mask of the whole array
    parts = [np.isnan(column[k : k + rows]).any(axis=1) for k in range(0, len(column), rows)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def as_words(column: Column, name: str, decimal: str = ".") -> Words:
    """Return a column as words, numbers by :func:`word_of`, 1.0 as 1. Raises ArgumentError for an array [n, d]."""
    if isinstance(column, Words):
        texts = [value if (number := number_of(value, decimal)) is None else word_of(number) for value in column.values]
        distinct = {text: code for code, text in enumerate(dict.fromkeys(texts))}
        if len(distinct) == len(texts):
            return Words(column.codes, tuple(texts))
        codes = np.array([distinct[text] for text in texts] + [-1], np.int32)  # the last for code -1
        return Words(codes[column.codes], tuple(distinct))
    if column.ndim != 1:
        raise ArgumentError(("categories",), f"{brief(name)} is an array of several columns")
    missing = np.isnan(column)
    values, inverse = np.unique(column[~missing], return_inverse=True)
    if len(values) > MAX_WORDS:
        raise TooManyWordsError(name, len(values))
    codes = np.full(len(column), -1, np.int32)
    codes[~missing] = inverse
    return Words(codes, tuple(map(word_of, values.tolist())))


def used(words: Words, name: str) -> tuple[str, ...]:
    """Return the words that occur, sorted: by value where all are numbers.

    Raises ArgumentError for too many, and for one that no record keeps: too long, or with characters that are not seen.
    """
    present = np.unique(words.codes[words.codes >= 0]).tolist()
    if len(present) > MAX_WORDS:
        raise TooManyWordsError(name, len(present))
    found = in_order([words.values[code] for code in present])
    for word in found:
        if len(word) > MAX_WORD or not word.isprintable():
            why = f"more than {MAX_WORD} characters" if len(word) > MAX_WORD else "characters that are not seen"
            raise ArgumentError(("file",), f"column {brief(name)}: the word {brief(word)} has {why}")
    return found


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """Return words sorted, by value where all are numbers.

    >>> in_order(["10", "9"]), in_order(["b", "10", "9"])
    (('9', '10'), ('10', '9', 'b'))
    """
    numbers = {value: number_of(value) for value in values}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(numbers, key=lambda value: (numbers[value], value)))
    return tuple(sorted(numbers))


class TooManyWordsError(ArgumentError):
    """A column of words with too many values: of a feature, or of a target once that is known."""

    def __init__(self, name: str, count: int, is_target: bool = False) -> None:
        what = f"column {brief(name)} has {count:,} different values, more than {MAX_WORDS:,}"
        if is_target:
            what += ", the most classes that a target may have"
            advice = "are they numbers that were read as text, values for a loss such as mse, or ids of the rows?"
        else:
            what, advice = f"{what} of a column of text", "leave it out of data.features"
        super().__init__(("target" if is_target else "file",), f"{what}: {advice}")
        self.args = (name, count, is_target)  # survives pickling
        self.name, self.count = name, count


@contextmanager
def of_targets(names: Collection[str]) -> Iterator[None]:
    """Tell of too many values in a column of these names as of a target."""
    try:
        yield
    except TooManyWordsError as error:
        raise (TooManyWordsError(error.name, error.count, True) if error.name in names else error) from None


def inferred(words: Words, decimal: str) -> tuple[Column, dict[int, str]]:
    """Return what a column is of which all cells were read as words, and what is wrong with its bad codes.

    It is text where no cell of it is a number; else it is of numbers, and the other cells are bad.
    """
    numbers = [number_of(value, decimal) for value in words.values]
    if all(number is None for number in numbers):
        return words, {code: what for code, value in enumerate(words.values) if (what := not_a_word(value))}
    table = np.array([np.nan if number is None else number for number in numbers] + [np.nan])
    bad = [code for code, number in enumerate(numbers) if number is None]
    return table[words.codes], {code: not_a_number(words.values[code], decimal) for code in bad}
