"""Large CSV files by pyarrow: pieces of whole rows, two at a time; the words only of a piece with bad cells."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader, StringIO, TextIOWrapper
from itertools import cycle
from typing import Any

import numpy as np

from gdcli.zoo.columns import (
    MAX_TOLD,
    MAX_WORDS,
    MISSING,
    BadCells,
    Column,
    TooManyWordsError,
    Words,
    inferred,
    not_a_number,
)
from gdcli.zoo.csv_dialect import CsvLayout, Dialect, Kinds

_PIECE = 4 * 1024**2
_PARSERS = 2
"""Threads that parse pieces; more gain little, since one reads the file."""
_EMPTY, _MISSING = [""], sorted(MISSING)
# What pyarrow's cast takes for a number besides inf and nan, which are none to us.
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"


def read_with_arrow(text: TextIOWrapper, layout: CsvLayout, guessed: Kinds, kinds: Kinds) -> dict[str, Column] | None:
    """Return the columns that are wanted; None for a file that pyarrow does not read, which is read cell by cell.

    ``guessed`` says of each column what it seems to be, ``kinds`` of some what they must be. Raises BadCellsError.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    if not layout.dialect.separator.isascii():
        return None
    assert isinstance(text.buffer, BufferedReader)
    whole = _Whole(layout, guessed)
    types = whole.types(pa.float64())
    waiting: deque[tuple[_Piece, list[str], Future[Any]]] = deque()
    try:
        with ThreadPoolExecutor(_PARSERS) as pool:  # pieces are parsed side by side, and taken in their order
            for piece in _pieces(text.buffer, layout):
                parsed = pool.submit(_read, piece, layout, types, whole.missing)
                waiting.append((piece, whole.missing, parsed))
                if len(waiting) > _PARSERS:
                    whole.add(*waiting.popleft())
            while waiting:
                whole.add(*waiting.popleft())
    except pa.ArrowInvalid:  # rows of another length, a quote that does not close or that stands elsewhere
        return None
    return whole.columns(text, kinds)


def _pieces(stream: BufferedReader, layout: CsvLayout) -> Iterator[_Piece]:
    """Yield the rows below the header in pieces that end where a row does: where a line ends outside of quotes.

    A piece lives until ``_PARSERS + 1`` more are taken: the next one stands in its buffer. Raises ArrowInvalid where
    there is no such end, and for quotes that Python's reader does not take as pyarrow does, UnicodeDecodeError.
    """
    import pyarrow as pa

    quote, rest = layout.dialect.quote.encode(), b""
    stray, behind_blanks = _odd_quotes(layout.dialect)
    stream.seek(layout.offset)
    for buffer in cycle([bytearray(_PIECE) for _ in range(_PARSERS + 2)]):
        buffer[: len(rest)] = rest
        with memoryview(buffer) as view:
            last = filled = len(rest) + stream.readinto(view[len(rest) :])
        if filled == len(rest):
            break
        has_quotes = buffer.find(quote, 0, filled) >= 0
        end, odd = buffer.rfind(b"\n", 0, filled), buffer.count(quote, 0, filled) % 2 if has_quotes else 0
        while end >= 0 and (odd := (odd + buffer.count(quote, end, last)) % 2):
            last, end = end, buffer.rfind(b"\n", 0, end)
        if end < 0:
            raise pa.ArrowInvalid("no row ends")
        if has_quotes and (
            stray.search(buffer, 0, filled)
            or (buffer.find(b" " + quote, 0, filled) >= 0 and behind_blanks.search(buffer, 0, filled))
        ):
            raise pa.ArrowInvalid("quotes that Python's reader takes otherwise, or refuses")
        piece = _Piece(buffer, end + 1, has_quotes)
        piece.require(layout.encoding)
        yield piece
        rest = bytes(memoryview(buffer)[end + 1 : filled])
    if rest.strip():
        piece = _Piece(rest, len(rest), quote in rest)
        piece.require(layout.encoding)
        yield piece


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole rows: the first ``length`` bytes of a buffer."""

    buffer: bytes | bytearray
    length: int
    has_quotes: bool

    @property
    def content(self) -> memoryview:
        return memoryview(self.buffer)[: self.length]

    def require(self, encoding: str) -> None:
        """Raise UnicodeDecodeError where the bytes are not in an encoding; ASCII is in all that are read here."""
        if np.frombuffer(self.content, np.uint8).max() >= 0x80:
            str(self.content, encoding)


def _odd_quotes(dialect: Dialect) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what finds a quote inside of a cell, or behind its end, and one with blanks before its cell."""
    quote, ends = dialect.quote.encode(), re.escape(dialect.separator.encode()) + b"\r\n"
    stray = re.compile(b"%b(?<=[^%b%b]%b)[^%b%b]" % (quote, ends, quote, quote, ends, quote))
    return stray, re.compile(b"(^|[%b]) +%b" % (ends, quote))


@dataclass(slots=True)
class _Whole:
    """The columns on the way, piece by piece."""

    layout: CsvLayout
    guessed: Kinds
    parts: list[list[Any]] = field(default_factory=list)  # of each piece, numbers or codes of each column
    words: dict[str, dict[str, int]] = field(default_factory=dict)
    bad: BadCells = field(default_factory=BadCells)
    lines: dict[int, int] = field(default_factory=dict)  # of the first bad rows
    rows: int = 0
    above: int = -1  # lines above the next piece
    missing: list[str] = field(default_factory=lambda: _EMPTY)  # as long as no other words stand for no number

    def add(self, piece: _Piece, missing: list[str], parsed: Future[Any]) -> None:
        """Take a piece and pyarrow's table of it, with these words for missing cells.

        Raises ArrowInvalid for one that pyarrow does not read.
        """
        import pyarrow as pa

        if self.above < 0:
            self.above = self.layout.above
        found = self._numbers(parsed.result)
        if found is None and missing is _EMPTY:
            self.missing = _MISSING
            found = self._numbers(lambda: _read(piece, self.layout, self.types(pa.float64()), _MISSING))
        if found is None:  # again, for the words of the cells that are bad
            columns = self._by_name(_read(piece, self.layout, self.types(pa.string()), _MISSING))
            found = columns, self._from_text(piece, columns)
        columns, numbers = found
        parts = [numbers[name] if name in numbers else self._codes(name, column) for name, column in columns.items()]
        self.parts.append(parts)
        self.rows += len(parts[0])
        self.above += int(
            np.count_nonzero(np.frombuffer(piece.content, np.uint8) == ord("\n"))
        )  # twice as fast as count

    def _numbers(self, parsed: Callable[[], Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the columns and the numbers of those that have numbers; None where a cell is none."""
        import pyarrow as pa

        try:
            columns = self._by_name(parsed())
        except pa.ArrowInvalid:
            return None
        numbers = {name: column.to_numpy() for name, column in columns.items() if name not in self.guessed.words}
        if all(_is_finite(columns[name], found) for name, found in numbers.items()):  # to it inf is a number
            return columns, numbers
        return None

    def _by_name(self, table: Any) -> dict[str, Any]:
        return {name: table.column(k) for k, name in enumerate(self.layout.wanted)}

    def types(self, of_numbers: Any) -> dict[str, Any]:
        """Return the types that pyarrow reads the columns as: words, and the others as given."""
        import pyarrow as pa

        word = pa.dictionary(pa.int32(), pa.string())
        return {name: word if name in self.guessed.words else of_numbers for name in self.layout.wanted}

    def _codes(self, name: str, column: Any) -> Any:
        """Return the codes of a piece's words, without the blanks around them; the words are those of all pieces."""
        array, words = column.unify_dictionaries().combine_chunks(), self.words.setdefault(name, {})
        found = [value.strip() for value in array.dictionary.to_pylist()]
        again = [-1 if word in MISSING else words.setdefault(word, len(words)) for word in found]
        if len(words) > MAX_WORDS:
            raise TooManyWordsError(name, len(words))
        return np.array([*again, -1], np.int32)[array.indices.fill_null(-1).to_numpy(zero_copy_only=False)]

    def _from_text(self, piece: _Piece, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers of columns of which the cells were read as text; what is none goes to the bad cells."""
        found, rows = {}, {}
        for name, column in columns.items():
            if name not in self.guessed.words:
                found[name], rows[name] = _numbers(column, self.layout.dialect.decimal)
        of_piece = BadCells()
        for name, wrong in rows.items():
            self._told(of_piece, name, columns[name], wrong)
        if len(self.bad.told) < MAX_TOLD:  # pieces come in order
            lines = self._lines_of(piece, {row for row, *_ in of_piece.first()})
            first = [(self.rows + row, place, name, what) for row, place, name, what in of_piece.first()]
            self.lines |= {self.rows + row: line for row, line in lines.items()}
            self.bad.told += first
        for name, count in of_piece.counts.items():
            self.bad.counts[name] = self.bad.counts.get(name, 0) + count
        return found

    def _told(self, bad: BadCells, name: str, column: Any, rows: Any) -> None:
        decimal = self.layout.dialect.decimal
        bad.add(self.layout.wanted[name], name, rows, lambda row: not_a_number(column[row].as_py(), decimal))

    def _lines_of(self, piece: _Piece, rows: set[int]) -> dict[int, int]:
        encoding = self.layout.encoding
        lines = StringIO(str(piece.content, "utf-8" if encoding == "utf-8-sig" else encoding), newline="")
        return self.layout.lines_below(iter(lines.readline, ""), rows, self.above)

    def columns(self, text: TextIOWrapper, kinds: Kinds) -> dict[str, Column] | None:
        """Return all columns, those of words that were only guessed looked at; None where none has a row.

        Raises BadCellsError.
        """
        if not self.rows:
            return None
        decimal, found = self.layout.dialect.decimal, dict[str, Column]()
        for k, (name, place) in enumerate(self.layout.wanted.items()):
            column = np.concatenate([parts[k] for parts in self.parts])
            if name not in self.guessed.words:
                if name in self.bad.counts and name not in kinds.numbers and np.isnan(column).all():
                    return None  # text, which the first rows did not show
                found[name] = column
                continue
            words = Words(column, tuple(self.words[name]))
            found[name], wrong = (words, {}) if name in kinds.words else inferred(words, decimal)
            rows = np.flatnonzero(np.isin(column, list(wrong)))
            self.bad.add(place, name, rows, partial(_what, column, wrong))
        if self.bad.counts:
            first = {row for row, *_ in self.bad.first()}
            lines = self.lines if first <= self.lines.keys() else self.layout.lines_of(text, first)
            self.bad.refuse(lines)
        return found


def _what(codes: Any, wrong: Mapping[int, str], row: int) -> str:
    return wrong[int(codes[row])]


def _is_finite(column: Any, found: Any) -> bool:
    return bool(np.isfinite(found).sum() == len(found) - column.null_count)


def _numbers(column: Any, decimal: str) -> tuple[Any, Any]:
    """Return the numbers of a column of text, NaN where there is none, and the rows that hold something else."""
    import pyarrow as pa
    from pyarrow import compute as pc

    cells = pc.utf8_trim_whitespace(column)
    cells = pc.if_else(pc.is_in(cells, pa.array(sorted(MISSING))), None, cells)
    if decimal == ",":
        cells = pc.replace_substring(pc.if_else(pc.match_substring(cells, "."), "?", cells), ",", ".")
    numbers = pc.if_else(pc.match_substring_regex(cells, _NUMBER), cells, None).cast(pa.float64()).to_numpy()
    return numbers, np.flatnonzero(pc.is_valid(cells).to_numpy() & ~np.isfinite(numbers))


def _read(piece: _Piece, layout: CsvLayout, types: Mapping[str, Any], missing: list[str]) -> Any:
    """Return pyarrow's table of the columns that are wanted, in their order. Raises ArrowInvalid."""
    import pyarrow as pa
    from pyarrow import csv

    dialect, places = layout.dialect, [str(place) for place in layout.wanted.values()]
    encoding = "utf8" if layout.encoding == "utf-8-sig" else layout.encoding
    block = piece.length + 1  # one block: nothing is copied
    return csv.read_csv(
        pa.BufferReader(piece.content),
        csv.ReadOptions(
            column_names=[str(k) for k in range(layout.width)], block_size=block, encoding=encoding, use_threads=False
        ),
        csv.ParseOptions(delimiter=dialect.separator, quote_char=dialect.quote, newlines_in_values=piece.has_quotes),
        csv.ConvertOptions(
            column_types={str(layout.wanted[name]): kind for name, kind in types.items()},
            include_columns=places,
            null_values=missing,
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        ),
    )
