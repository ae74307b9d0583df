"""The tables of a record read back: results.csv with its texts, steps.csv and gradients.csv line by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdcli.errors import DamagedError, MachineError
from gdcli.storage.files import content, existing, lenient

if TYPE_CHECKING:  # a list of records needs no numpy
    import numpy as np
    from numpy.typing import NDArray

_INTEGER = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf|nan")
_NUMBER = rb"(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?inf|nan)?"
_LINE = re.compile(rb"\d{1,18}(?:," + _NUMBER + rb")*")
TEXTS = frozenset({"label", "status", "weights", "data", "order"})
"""Columns of results.csv that stay text: a hash may be all digits."""

MOST_HEADER = 2**26  # bytes
MOST_TABLE = 2**30


def table(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of a CSV: numbers as numbers, empty cells as None. Raises DamagedError."""
    found = content(path, MOST_TABLE)
    if found is None:
        raise DamagedError(f"{path}: there is no such file")
    whole = found[: found.rfind(b"\n") + 1]  # without a last line that was being written
    try:
        lines = list(csv.reader(io.StringIO(whole.decode(), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: {error}") from None
    if not lines or any(len(line) != len(lines[0]) for line in lines):
        raise DamagedError(f"{path}: rows and header have different lengths" if lines else f"{path}: has no header")
    is_text = [name in TEXTS for name in lines[0]]
    rows = [[(c or None) if text else cell(c) for c, text in zip(line, is_text, strict=True)] for line in lines[1:]]
    return lines[0], rows


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


def ranked(header: Sequence[str], rows: Sequence[list[Any]]) -> list[list[Any]]:
    """Return rows by their loss, those without one last."""
    k = next((header.index(name) for name in ("final_loss", "loss") if name in header), None)
    return list(rows) if k is None else sorted(rows, key=lambda row: _finite(row[k]))


def _finite(value: Any) -> float:
    return value if isinstance(value, int | float) and isfinite(value) else inf


class NumberColumns:
    """A CSV of numbers whose first column counts, read line by line: the header, then pairs of number and line."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises DamagedError for a file that is not there, a link, or one without a header."""
        self.path = path
        with existing(path) as stream:
            try:
                (self.header,) = csv.reader([stream.readline(MOST_HEADER).decode().removesuffix("\n")], strict=True)
            except (ValueError, csv.Error):
                raise DamagedError(f"{path}: has no header") from None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the whole lines without their ends. Raises DamagedError at one that is no row of numbers."""
        commas = len(self.header) - 1
        with existing(self.path) as stream:
            stream.readline()
            for count, line in enumerate(stream, 2):
                if not line.endswith(b"\n"):  # it was being written
                    return
                line = line[:-1]
                if not _LINE.fullmatch(line) or line.count(b",") != commas:
                    raise DamagedError(f"{self.path}: line {count:,} is no row of {commas + 1} numbers")
                yield int(line.partition(b",")[0]), line

    def numbers(self, columns: Sequence[int] | None = None, rows: int | None = None) -> NDArray[np.float64]:  # [K, C]
        """Return all rows, or the first, or some of their columns. Raises DamagedError where a number is missing."""
        import numpy as np

        chosen = range(len(self.header)) if columns is None else columns
        try:
            lines = (line.split(b",") for _, line in islice(self, rows))
            found = [[float(cells[k]) for k in chosen] for cells in lines]
        except (IndexError, ValueError):
            raise DamagedError(f"{self.path}: lacks a number") from None
        return np.array(found, np.float64).reshape(-1, len(chosen))


def losses(path: Path, count: int) -> NDArray[np.float64]:
    """Return the losses of the first steps in a steps.csv, to the bit. Raises MachineError for a file without them."""
    found = lenient(None, lambda: NumberColumns(path).numbers((3,), count)[:, 0])
    if found is None or len(found) != count:
        raise MachineError(f"{path} does not have the {count:,} steps that it should")
    return found
