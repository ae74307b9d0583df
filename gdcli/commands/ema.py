"""Exponential moving averages of a column of a CSV file: S₁ = y₁, Sₜ = βSₜ₋₁ + (1 − β)yₜ (document 4)."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path

from gdcli.commands.context import shown_path
from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec.bundled import folder
from gdcli.spec.scalars import shown
from gdcli.storage import csv_writer, files, run_folder
from gdcli.zoo.data_files import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Series:
    """A CSV file's cells, and the numbers of the chosen column."""

    name: str  # the file's, without its ending
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # the cells as they stand in the file
    column: str
    values: tuple[float, ...]

    def horizontal(self) -> tuple[str, list[float]]:
        """Return name and values of the first column where it counts up, else the rows' numbers."""
        cells = [_number(row[0]) for row in self.rows]
        numbers = [number for number in cells if number is not None]
        counts = len(numbers) == len(cells) and all(a < b for a, b in pairwise(numbers))
        if counts and self.header[0] != self.column:
            return self.header[0], numbers
        return "row", [float(k) for k in range(1, len(cells) + 1)]


@dataclass(frozen=True, slots=True)
class Averages:
    """A series and its average for each β."""

    series: Series
    betas: tuple[float, ...]
    averages: tuple[tuple[float, ...], ...]

    def csv(self) -> str:
        """Return the file's columns, the chosen one as float64's shortest text, and a column ``ema_β`` for each β."""
        header = [*map(csv_writer.cell, self.series.header), *(f"ema_{beta!r}" for beta in self.betas)]
        place = self.series.header.index(self.series.column)
        lines = [",".join(header)]
        for row, value, *means in zip(self.series.rows, self.series.values, *self.averages, strict=True):
            cells = [cell.strip() if _number(cell) is not None else csv_writer.cell(cell) for cell in row]
            cells[place] = repr(value)
            lines.append(",".join([*cells, *map(repr, means)]))
        return "".join(f"{line}\n" for line in lines)

    def json(self, where: str) -> str:
        """Return everything as one JSON document; ``where`` is the record's path."""
        means = {repr(beta): list(mean) for beta, mean in zip(self.betas, self.averages, strict=True)}
        column, values = self.series.column, list(self.series.values)
        return files.json_text({"folder": where, "column": column, "values": values, "ema": means})


def ema(values: Sequence[float], beta: float) -> list[float]:
    """Return the exponential moving average: S₁ = y₁, Sₜ = βSₜ₋₁ + (1 − β)yₜ, 0 ≤ β < 1.

    >>> ema([10.0, 10.5, 11.0], 0.5)
    [10.0, 10.25, 10.625]
    """
    found: list[float] = []
    for value in values:
        found.append(beta * found[-1] + (1 - beta) * value if found else value)
    return found


def average(series: Series, betas: Sequence[float]) -> Averages:
    """Return the averages of a series. Raises SpecError for a β outside of [0, 1), or one given twice."""
    for beta in betas:
        if not 0 <= beta < 1:
            raise SpecError(f"--beta takes a number from 0 to below 1 (got {beta!r})")
    if len(set(betas)) < len(betas):
        raise SpecError(f"--beta {next(beta for beta in betas if betas.count(beta) > 1)!r} is given twice")
    return Averages(series, tuple(betas), tuple(tuple(ema(series.values, beta)) for beta in betas))


# --- files ------------------------------------------------------------------------------------------------------------


def read(file: str, column: str | None) -> Series:
    """Read a CSV file, or the bundled one of that name; without a column its last one.

    Raises SpecError, with line and column in the file where it is about a place in it: no such file or column, a row
    of another length, a cell of the column that is not a finite number; semicolons, decimal commas, or numbers in place
    of names, as the likely cause.
    """
    path = _found(file)
    source = file if path == Path(file) else path.name

    def problem(place: tuple[int, int], what: str, hint: str = "") -> SpecError:
        return SpecError(Problem(Place(source, *place), "", what, hint))

    text = _text(path, file)
    lines = _lines(text, problem)
    cells, places = next(lines, (None, []))
    if cells is None:
        raise problem((1, 1), "the file is empty")
    header = tuple(cell.strip() for cell in cells)
    if len(header) == 1 and (why := _other_separator(text.partition("\n")[0])):
        raise problem(places[0], why)
    if all(_number(cell) is not None for cell in header) and column not in header:
        raise problem(
            places[0],
            "line 1 holds numbers, so that the file seems to have no names of columns",
            "Write a line of names above them",
        )
    for k, name in enumerate(header):
        if name in header[:k]:
            raise problem(places[k], f"the column '{shown(name, 60)}' stands twice in the header")
    rows = []
    for cells, places in lines:
        if len(cells) != len(header):
            raise problem(places[0], f"has {len(cells)} cells, the header has {len(header)}")
        rows.append((cells, places))
    if not rows:
        raise problem((2, 1), "no rows below the header")
    name = header[-1] if column is None else column
    if name not in header:
        raise problem((1, 1), f"there is no column '{shown(name, 60)}'", shown(nearest(name, header), 500))
    k = header.index(name)
    values = []
    for cells, places in rows:
        number = _number(cells[k])
        if number is None:
            what = f"{shown(name, 60)}: must be a number (got '{shown(cells[k], 60)}')"
            raise problem(places[k], what, _decimal_comma(cells[k]))
        values.append(number)
    return Series(path.stem, header, tuple(cells for cells, _ in rows), name, tuple(values))


def _found(file: str) -> Path:
    path, bundled = Path(file), folder() / f"{file}.csv"
    names = sorted(each.stem for each in folder().glob("*.csv"))
    if not path.exists() and file in names:
        return bundled
    if not path.exists():
        raise SpecError(
            f"there is no file '{shown(file, 200)}' and no bundled one of that name. {nearest(file, names)}"
        )
    return path


def _text(path: Path, file: str) -> str:
    name = shown(file, 200)
    if not path.is_file():
        raise SpecError(f"'{name}' is not a regular file")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(f"'{name}' has more than {MAX_FILE_BYTES:,} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"'{name}' is not UTF-8 text") from None
    except OSError as error:
        raise SpecError(f"cannot read '{name}': {error.strerror}") from None


def _other_separator(line: str) -> str:
    """Return what is wrong with a header that other signs than commas part."""
    found = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in line), "")
    return f"{found} seem to part the columns: write commas, and numbers with decimal points" if found else ""


def _decimal_comma(cell: str) -> str:
    """Return the question to ask where a cell is a number with a comma, else nothing."""
    return "A decimal comma? Write a point" if re.fullmatch(r"\s*[-+]?[0-9]+,[0-9]+\s*", cell) else ""


def _number(cell: str) -> float | None:
    """Return a cell as a finite number; Python's float also takes 1_000 and digits of every script."""
    try:
        value = float(cell) if cell.isascii() and "_" not in cell else float("nan")
    except ValueError:
        return None
    return value if isfinite(value) else None


def _lines(
    text: str, problem: Callable[[tuple[int, int], str], SpecError]
) -> Iterator[tuple[tuple[str, ...], list[tuple[int, int]]]]:
    """Yield the cells of the lines of a CSV text that are not empty, and line and column of each cell, from 1."""
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    while True:
        first = reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise problem((reader.line_num, 1), str(error)) from None
        if cells is None:
            return
        if cells:
            yield tuple(cells), list(_places(lines[first : reader.line_num], first + 1))


def _places(lines: Sequence[str], first: int) -> Iterator[tuple[int, int]]:
    """Yield line and column at which each cell begins: after each comma that is not in quotes."""
    yield first, 1
    quoted = False
    for number, line in enumerate(lines, first):
        for column, mark in enumerate(line, 1):
            if mark == '"':
                quoted = not quoted
            elif mark == "," and not quoted:
                yield number, column + 1


def record(found: Averages, output: str, read: Path, *, plot: bool, warning: Callable[[str], None]) -> Path:
    """Write the CSV and its plot, into a folder of its own unless the output is a .csv; return the record's path.

    Raises SpecError where the output is the file that was read. What goes wrong in drawing is a warning.
    """
    if Path(output).suffix == ".csv" and not files.is_folder(output):
        path = table = Path(output)
        if path.resolve() == read.resolve():
            raise SpecError(f"--output is the file that is read: {shown_path(path)}")
        files.replace(path, found.csv())
    else:
        series, text = found.series, found.csv()
        what = {"status": "finished", "file": series.name, "column": series.column, "betas": list(found.betas)}
        first = {"ema.csv": text, "summary.json": files.json_text({**what, "rows": len(series.values)})}
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        path, lock = run_folder.claim(Path(output), "ema", digest, time.localtime(), first)
        lock.release()
        table = path / "ema.csv"
    if plot:
        _draw(found, table.with_suffix(".png"), warning)
    return path


def _draw(found: Averages, path: Path, warning: Callable[[str], None]) -> None:
    from gdcli.report import plots

    series = found.series
    label, x = series.horizontal()
    means = [(f"β = {beta!r}", mean) for beta, mean in zip(found.betas, found.averages, strict=True)]
    title = f"Exponential moving average of {series.column}"
    files.draw(
        path,
        lambda: plots.averages(x, series.values, means, title=title, x_label=label, y_label=series.column),
        warning,
    )
