"""The tables of a record read back: results.csv with its texts, steps.csv and gradients.csv line by line."""

from __future__ import annotations

import csv
import heapq
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gdcli.errors import DamagedError, MachineError
from gdcli.storage.files import MOST_LINE, existing, lenient, lines_of

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

_INTEGER = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf|nan")
_NUMBER = rb"(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?inf|nan)?"
_LINE = re.compile(rb"\d{1,18}(?:," + _NUMBER + rb")*+")
TEXTS = frozenset({"label", "status", "weights", "data", "order"})
"""Columns of results.csv that stay text: a hash may be all digits."""


def _whole_lines(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines but a last one that was being written. Raises DamagedError for one that is too long."""
    for line in lines_of(stream):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == MOST_LINE:
            raise DamagedError(f"{path}: has a line of more than {MOST_LINE:,} bytes")


class MixedColumns:
    """A CSV of numbers and texts, read row by row: its header, then numbers as numbers, empty cells as None."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises DamagedError for a file that is not there, a link, or one without a header."""
        self.path, self.count = path, 0  # of the rows read so far
        header = next(self._cells(), None)
        if header is None:
            raise DamagedError(f"{path}: has no header")
        self.header = header

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the rows. Raises DamagedError at one that is no row of this header."""
        is_text, cells = [name in TEXTS for name in self.header], self._cells()
        next(cells)
        for self.count, row in enumerate(cells, 1):
            if len(row) != len(is_text):
                raise DamagedError(f"{self.path}: rows and header have different lengths")
            yield [(c or None) if text else cell(c) for c, text in zip(row, is_text, strict=True)]

    def best(self, count: int, by: str = "final_loss", *, highest_first: bool = False) -> list[list[Any]]:
        """Return so many rows with the lowest loss, or the best of another column; those without one last."""
        k = next((self.header.index(name) for name in (by, "final_loss", "loss") if name in self.header), None)
        sign = -1 if highest_first and k is not None and self.header[k] == by else 1
        return heapq.nsmallest(count, self, key=lambda row: 0.0 if k is None else _finite(row[k], sign))

    def _cells(self) -> Iterator[list[str]]:
        left = MOST_LINE  # of a row: a text may go over lines

        def texts(stream: BinaryIO) -> Iterator[str]:
            nonlocal left
            for line in _whole_lines(self.path, stream):
                left -= len(line)
                if left < 0:
                    raise DamagedError(f"{self.path}: has a row of more than {MOST_LINE:,} bytes")
                yield line.decode()

        with existing(self.path) as stream:
            try:
                for row in csv.reader(texts(stream), strict=True):
                    left = MOST_LINE
                    yield row
            except (csv.Error, UnicodeDecodeError) as error:
                raise DamagedError(f"{self.path}: {error}") from None


def cell(text: str) -> Any:
    """Return what a cell of a CSV means.

    >>> cell("12"), cell("1e-3"), cell(""), cell("adam"), cell("nan")
    (12, 0.001, None, 'adam', nan)
    """
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _finite(value: Any, sign: int) -> float:
    return sign * value if isinstance(value, int | float) and isfinite(value) else inf


class NumberColumns:
    """A CSV of numbers whose first column counts, read line by line: the header, then pairs of number and line."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises DamagedError for a file that is not there, a link, or one without a header."""
        self.path = path
        with existing(path) as stream:
            try:
                (self.header,) = csv.reader([stream.readline(MOST_LINE).decode().removesuffix("\n")], strict=True)
            except (ValueError, csv.Error):
                raise DamagedError(f"{path}: has no header") from None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the whole lines without their ends. Raises DamagedError at one that is no row of numbers."""
        commas = len(self.header) - 1
        with existing(self.path) as stream:
            whole = _whole_lines(self.path, stream)
            next(whole, None)
            for count, line in enumerate(whole, 2):
                line = line[:-1]
                if not _LINE.fullmatch(line) or line.count(b",") != commas:
                    raise DamagedError(f"{self.path}: line {count:,} is no row of {commas + 1} numbers")
                yield int(line.partition(b",")[0]), line

    def numbers(
        self, columns: Sequence[int] | None = None, rows: int | None = None, *, gaps: bool = False
    ) -> NDArray[np.float64]:  # [K, C]
        """Return all rows, or the first, or some of their columns; with ``gaps`` NaN for an empty cell.

        Raises DamagedError where a number is missing.
        """
        import numpy as np

        chosen, found = range(len(self.header)) if columns is None else columns, array("d")
        try:
            for _, line in islice(self, rows):
                cells = line.split(b",")
                found.extend([float(cells[k] or b"nan") if gaps else float(cells[k]) for k in chosen])
        except (IndexError, ValueError):
            raise DamagedError(f"{self.path}: lacks a number") from None
        return np.array(found, np.float64).reshape(-1, len(chosen))


def losses(path: Path, count: int) -> NDArray[np.float64]:
    """Return the losses of the first steps in a steps.csv, to the bit. Raises MachineError for a file without them."""
    found = lenient(None, lambda: NumberColumns(path).numbers((3,), count)[:, 0])
    if found is None or len(found) != count:
        raise MachineError(f"{path} does not have the {count:,} steps that it should")
    return found
