"""How a CSV file is written: encoding, separator, decimal sign and quotes, found out from its first lines."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from typing import Any

from gdcli.zoo.columns import number_of
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import brief

SEPARATORS = (",", ";", "\t", "|")
SAMPLE = 64 * 1024  # characters that are looked at
_PIECE = 1024**2
_LINES = 50


def can_separate(sign: str) -> bool:
    """Say whether a sign may stand between two cells: one character that numbers, quotes and lines are not made of.

    >>> can_separate(";"), can_separate("1"), can_separate(", ")
    (True, False, False)
    """
    return len(sign) == 1 and not sign.isalnum() and sign not in "\"'\r\n.+-_"


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """What the spec says of a CSV file; None is found out."""

    header: bool | None = None
    separator: str | None = None
    decimal: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a CSV file is read by."""

    separator: str = ","
    decimal: str = "."
    quote: str = '"'

    def reader(self, lines: Iterator[str]) -> Any:
        """Return Python's reader of such lines."""
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=True, skipinitialspace=True)


@dataclass(frozen=True, slots=True)
class Kinds:
    """What is known of columns before they are read; of the others it is inferred from their cells."""

    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """A CSV file's header, and where the columns that are wanted stand."""

    dialect: Dialect
    encoding: str
    width: int
    wanted: Mapping[str, int]  # place by name
    above: int  # lines of the header
    offset: int  # bytes of the header

    def lines_of(self, text: TextIOWrapper, rows: Collection[int]) -> dict[int, int]:
        """Return the line of each of these rows, counted from 0."""
        text.seek(0)
        for _ in range(self.above):
            text.readline()
        return self.lines_below(iter(text.readline, ""), rows, self.above)

    def lines_below(self, lines: Iterator[str], rows: Collection[int], above: int) -> dict[int, int]:
        """Return the line of each of these rows among the lines below so many."""
        found: dict[int, int] = {}
        last, reader = max(rows, default=-1), self.dialect.reader(lines)
        for row, _ in enumerate(filter(None, reader)):
            if row in rows:
                found[row] = reader.line_num + above
            if row == last:
                break
        return found


def encoding_of(stream: BufferedReader, most: int | None = None) -> tuple[str, str]:
    """Return a file's encoding, and what should be known of it: UTF-8, UTF-16 by its mark, or else Windows-1252.

    With ``most``, UTF-8 is what its first bytes, so many, may be. Raises ArgumentError for what is no text. The file is
    read once, in pieces.
    """
    head = stream.read(4)
    stream.seek(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if not _decodes(stream, "utf-16"):
            raise ArgumentError(("file",), "not UTF-16 text, as its first bytes say")
        return "utf-16", ""
    if _decodes(stream, "utf-8", most):
        return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8", ""
    if _decodes(stream, "cp1252"):
        return "cp1252", "the file is not UTF-8: it is read as Windows-1252"
    raise ArgumentError(("file",), "not UTF-8 text")


def _decodes(stream: BufferedReader, encoding: str, most: int | None = None) -> bool:
    decoder, left = codecs.getincrementaldecoder(encoding)(), most
    try:
        while piece := stream.read(_PIECE if left is None else min(left, _PIECE)):
            left = None if left is None else left - len(piece)
            if not piece.isascii() or decoder.getstate()[0] or encoding == "utf-16":
                decoder.decode(piece)
            if encoding == "cp1252" and b"\0" in piece:
                return False
        decoder.decode(b"", final=left != 0)
    except UnicodeDecodeError:
        return False
    finally:
        stream.seek(0)
    return True


def dialect_of(
    sample: str, given: CsvFormat, votes: Callable[[str], bool] = lambda name: True, like: Dialect | None = None,
    *, tabs: bool = False,
) -> Dialect:  # fmt: skip
    """Return how a file is written of which these are the first characters; what is given is taken as it is.

    The separator is the one that parts the first lines into the same number of columns, at least two; of several, the
    one that gives most. The decimal sign is a comma where the separator is none and cells such as 7,4 stand there
    without any such as 7.4 in the columns that have a vote. A file that does not show them has the signs of the one
    that it is ``like``. Raises ArgumentError where there is none, and 1,234 could be a thousand or a bit more than one.
    """
    first = sample.lstrip("\ufeff").lstrip()[:1]
    quote = "'" if first == "'" and '"' not in sample else '"'
    separator = given.separator or ("\t" if tabs else _separator(sample, quote, like))
    decimal = given.decimal or _decimal(_voting(sample, Dialect(separator, quote=quote), given, votes), separator, like)
    return Dialect(separator, decimal, quote)


def rows_of_sample(sample: str, dialect: Dialect) -> list[list[str]]:
    """Return the cells of the first lines, as far as they can be read; a last line that is cut is left out."""
    lines = sample.splitlines(keepends=True)
    rows: list[list[str]] = []
    try:
        for row in dialect.reader(iter(lines[:-1] if len(sample) >= SAMPLE else lines)):
            if row:
                rows.append(row)
            if len(rows) == _LINES:
                break
    except csv.Error:
        pass
    return rows


def _separator(sample: str, quote: str, like: Dialect | None) -> str:
    found: dict[str, int] = {}
    signs = SEPARATORS if like is None else tuple(dict.fromkeys((like.separator, *SEPARATORS)))
    for separator in signs:
        counts = [len(row) for row in rows_of_sample(sample, Dialect(separator, quote=quote))]
        if counts and counts[0] > 1 and len(set(counts)) == 1:
            found[separator] = counts[0]
    if like is not None and like.separator in found:
        return like.separator
    if found:
        return max(found, key=lambda separator: found[separator])  # the first of equals
    line = next(iter(sample.splitlines()), "")
    return max(signs, key=line.count)


_COMMA = re.compile(r"\s*[-+]?[0-9]*,[0-9]+([eE][-+]?[0-9]+)?\s*")
_THOUSANDS = re.compile(r"\s*[-+]?[1-9][0-9]{0,2},[0-9]{3}\s*")


def _voting(sample: str, dialect: Dialect, given: CsvFormat, votes: Callable[[str], bool]) -> list[str]:
    """Return the cells of the first lines whose columns have a vote on the decimal sign."""
    rows = rows_of_sample(sample, dialect)
    first = rows[0] if rows else []
    names = [f"c{k + 1}" for k in range(len(first))] if given.header is False else [cell.strip() for cell in first]
    places = [place for place, name in enumerate(names) if votes(name)]
    return [row[place] for row in rows for place in places if place < len(row)]


def _decimal(cells: list[str], separator: str, like: Dialect | None) -> str:
    if separator == ",":
        return "."
    with_comma = [cell for cell in cells if _COMMA.fullmatch(cell)]
    with_point = [cell for cell in cells if "." in cell and number_of(cell) is not None]
    if like is not None:  # 1.000 and 1,000 show neither sign
        if not all(_THOUSANDS.fullmatch(cell.replace(".", ",")) for cell in with_point):
            return "."
        return like.decimal if all(map(_THOUSANDS.fullmatch, with_comma)) else ","
    if not with_comma or with_point:
        return "."
    if all(map(_THOUSANDS.fullmatch, with_comma)):
        what = f"{brief(with_comma[0])} could be a thousand or a bit more than one"
        raise ArgumentError(("file",), f"{what}: set data.decimal to ',' or '.'")
    return ","
