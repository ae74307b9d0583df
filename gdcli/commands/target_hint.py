"""The columns of a data file, told where a spec does not say which of them is the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gdcli.errors import MAX_KNOWN, MachineError, SpecError, visible
from gdcli.spec.nodes import Node
from gdcli.zoo.columns import BadCellsError
from gdcli.zoo.csv_dialect import CsvFormat, can_separate
from gdcli.zoo.data_files import ENDINGS, opened, read_open
from gdcli.zoo.naming import ArgumentError


@contextmanager
def naming_columns(document: Node, base: Path) -> Iterator[None]:
    """Add the columns of the file, as far as it can be read, to a SpecError that ``data.target`` is required."""
    try:
        yield
    except SpecError as error:
        lacking = [each for each in error.problems if each.path == "data.target" and each.message == "is required"]
        names = _columns(document, base) if lacking else []
        if not names:
            raise
        more = f" and {len(names) - MAX_KNOWN:,} more" if len(names) > MAX_KNOWN else ""
        shown = ", ".join(visible(name)[:40] or "''" for name in names[:MAX_KNOWN])
        hint = f"It is the column to predict; the file has {shown}{more}"
        told = [replace(each, hint=hint) if each in lacking else each for each in error.problems]
        raise SpecError(told) from None


def _columns(document: Node, base: Path) -> list[str]:
    """Return the names of the file's columns, in its order; none where it has no names or cannot be read."""
    found = document.plain().get("data")
    file, header = found.get("file"), found.get("header")
    if not isinstance(file, str) or header is False or (path := base / file).suffix.lower() not in ENDINGS:
        return []
    separator = found.get("separator")
    given = CsvFormat(separator=separator if isinstance(separator, str) and can_separate(separator) else None)
    names: list[str] = []

    def choose(known: list[str]) -> list[str]:
        names.extend(known)
        raise ArgumentError((), "the names are enough")

    with suppress(ArgumentError, BadCellsError, MachineError, OSError, ValueError), opened(path) as stream:
        read_open(stream, path.suffix.lower(), choose, given)
    return names
