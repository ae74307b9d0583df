"""A file of answers: a CSV with the columns name and value, every problem of it with line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from pathlib import Path

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.spec.scalars import LINE_BREAK, bad_characters, named, shown

COLUMNS = ("name", "value")
MAX_BYTES = 2**20
MAX_PROBLEMS = 100
MAX_DIGITS = 60  # characters of a number
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_QUOTED = re.compile(r' *"((?:[^"]|"")*)" *')


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A name, and the number as it was written, None for an empty cell; and where both stand, columns from 1."""

    line: int
    name: str
    name_column: int
    value: Decimal | None


def read_answers(path: Path) -> list[AnswerRow]:
    """Return the rows. Raises SpecError for a file that cannot be read, and for all that is wrong in it."""
    lines, problems = LINE_BREAK.split(_text(path)), list[Problem]()
    header = lines[0] if lines else ""
    separator = "," if "," in header else next((each for each in ";\t" if each in header), ",")
    rows = list(_rows(path, lines, separator, problems))
    if not problems and not rows:
        problems.append(Problem(Place(str(path), 1, 1), "", "has no answers", "A row is: h1,0.5933"))
    if problems:
        raise SpecError(problems[:MAX_PROBLEMS])
    return rows


def _text(path: Path) -> str:
    name = shown(str(path), 200)
    try:
        if not path.is_file():
            why = "it is no file" if path.exists() else "No such file or directory"
            raise SpecError(f"cannot read '{name}': {why}")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read '{name}': {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise SpecError(Problem(Place(str(path), 1, 1), "", f"larger than {MAX_BYTES:,} bytes"))
    text = content.decode("utf-8-sig", "surrogateescape")
    for number, line in enumerate(LINE_BREAK.split(text), 1):
        if bad := bad_characters(line):
            column, found = next((k, each) for k, each in enumerate(line, 1) if each in bad)
            hint = "Save it as UTF-8" if named(found).endswith("UTF-8") else ""
            raise SpecError(Problem(Place(str(path), number, column), "", named(found), hint))
    return text


def _rows(path: Path, lines: list[str], separator: str, problems: list[Problem]) -> Iterator[AnswerRow]:
    """Yield the rows below the header; what is wrong becomes a problem."""

    def complain(line: int, column: int, message: str, hint: str = "") -> None:
        problems.append(Problem(Place(str(path), line, column), "", message, hint))

    header = _cells(lines[0], separator) if lines else []
    names = [name.strip().lower() for _, name in header]
    for column in COLUMNS:
        if names.count(column) != 1:
            what = "has no column" if column not in names else "has more than one column"
            complain(1, 1, f"{what} {column}", f"The first line is: {','.join(COLUMNS)}")
            return
    of_name, of_value = map(names.index, COLUMNS)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = _cells(line, separator)
        if not any(text.strip() for _, text in cells):
            continue
        if len(cells) != len(header):
            hint = "A number has a point, and a name with a comma stands in quotes" if len(cells) > len(header) else ""
            complain(
                number, 1, f"has {len(cells)} cell{'' if len(cells) == 1 else 's'}, the header {len(header)}", hint
            )
            continue
        (at_name, name), (at_value, written) = cells[of_name], cells[of_value]
        name, written = name.strip(), written.strip().replace("−", "-")
        written = written if separator == "," else written.replace(",", ".")  # else a comma is the decimal sign
        if not name:
            complain(number, at_name, "the name is missing")
        elif name in seen:
            complain(number, at_name, f"'{shown(name)}' is answered already on line {seen[name]}")
        elif written and not _is_number(written):
            complain(number, at_value, f"is not a number (got '{shown(written)}')")
        else:
            seen[name] = number
            yield AnswerRow(number, name, at_name, Decimal(written) if written else None)


def _is_number(written: str) -> bool:
    return len(written) <= MAX_DIGITS and _NUMBER.fullmatch(written) is not None and isfinite(float(written))


def _cells(line: str, separator: str) -> list[tuple[int, str]]:
    """Return the cells of a line, each with the column that it begins in; quotes are taken off.

    >>> _cells('"weight[0,1]", 0.5', ",")
    [(1, 'weight[0,1]'), (15, ' 0.5')]
    """
    found, start = list[tuple[int, str]](), 0
    while True:
        quoted = _QUOTED.match(line, start)
        if quoted is not None and line[quoted.end() : quoted.end() + 1] in ("", separator):
            end, text = quoted.end(), quoted[1].replace('""', '"')
        else:
            end = line.find(separator, start)
            end = len(line) if end < 0 else end
            text = line[start:end]
        found.append((start + 1, text))
        if end >= len(line):
            return found
        start = end + 1


def unknown_name(path: Path, row: AnswerRow, known: list[str]) -> Problem:
    """Return the problem of a name that there is not."""
    where = Place(str(path), row.line, row.name_column)
    return Problem(where, "", f"there is no '{shown(row.name)}' here", nearest(row.name, known))
