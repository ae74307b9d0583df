"""Records as a table: columns, which rows, in which order; as text, CSV, Markdown and JSON."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from gdcli.errors import SpecError, nearest
from gdcli.report.tables import aligned, number
from gdcli.spec.scalars import shown
from gdcli.storage import config_reader
from gdcli.storage.csv_writer import csv_rows
from gdcli.storage.files import json_text, lenient
from gdcli.storage.find import below, find, runs_of
from gdcli.storage.record import STATUSES, Record, is_record, read
from gdcli.zoo.metrics import highest_first

COLUMNS = ("id", "kind", "name", "status", "final_loss", "best_loss", "steps", "when", "duration")
HELD_OUT = ("validation_loss", "validation_accuracy", "validation_r2")
"""Columns where one of the records has them, as that of a metric that a record is ranked by."""
ALIASES = {"loss": "final_loss", "final": "final_loss", "best": "best_loss", "time": "when"}
CELL_LETTERS = 60
_MARKS = re.compile(r"[\\`*|\[\]~]")  # of Markdown

_OF_MANY = re.compile(r"^(?:sweep|compare|scheduler)\.|\.groups\.")
"""Keys that are not meant by a suffix of theirs, as in an override."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Records, and what is shown of each."""

    records: tuple[Record, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def header(self) -> list[str]:
        """Return the columns as people read them."""
        return [shown(name.replace("_", " ") if name in COLUMNS else name, 200) for name in self.columns]

    def cells(self) -> list[list[Any]]:
        """Return the rows with texts that are safe to print, and durations that read at a glance."""
        found = [[config_reader.word(value, config_reader.WHOLE) for value in row] for row in self.rows]
        k = self.columns.index("duration")
        for row in found:
            row[k] = None if row[k] is None else span(row[k])
        return found

    def text(self) -> str:
        """Return aligned text; a cell of more letters than most have stands out."""
        return aligned(self.header(), self.cells(), CELL_LETTERS)

    def csv(self) -> str:
        """Return a CSV: all digits, durations in seconds."""
        rows = [[config_reader.word(value, config_reader.WHOLE) for value in row] for row in self.rows]
        return csv_rows([[shown(name, 200) for name in self.columns], *rows])

    def markdown(self) -> str:
        """Return a Markdown table."""
        cells = [[number(value) for value in row] for row in self.cells()]
        lines = [self.header(), ["---"] * len(self.columns), *cells]
        escaped = ([_MARKS.sub(r"\\\g<0>", html.escape(text, quote=False)) for text in line] for line in lines)
        return "".join(f"| {' | '.join(line)} |\n" for line in escaped)

    def json(self) -> str:
        """Return a JSON list with an object for each record: its columns and its folder."""
        rows = [
            dict(zip(self.columns, row, strict=True)) | {"folder": str(record.folder)}
            for record, row in zip(self.records, self.rows, strict=True)
        ]
        return json_text(rows, ascii_only=True)


def span(seconds: float) -> str:
    """Return a duration for people.

    >>> span(0.5), span(75), span(7260)
    ('0.50 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


Getter = Callable[[Record], Any]
Spec = Callable[[Path], Mapping[str, Any]]


def listing(
    folders: Sequence[Path], *, status: str | None = None, sort_by: str | None = None, reverse: bool = False,
    only_changed: bool = False, described: bool = False, top: int | None = None, tag: str | None = None,
) -> Listing:  # fmt: skip
    """Return the records of folders, which come newest first: those of a status or a tag, in another order, the first.

    A metric of which more is better is ordered from the highest; ``sort_by`` metric takes the one that each record's
    spec names, whose column is there anyway. With ``only_changed`` the keys of the spec that are
    not the same in all are columns too, with ``described`` what their specs say of themselves. Raises SpecError for a
    status or a column that there is not.
    """
    if status is not None and status not in STATUSES:
        raise SpecError(f"there is no status '{shown(status)}'. {nearest(status, STATUSES)}")
    spec = cache(_spec)
    records = [read(folder) for folder in folders]
    if status is not None:
        records = [record for record in records if record.status == status]
    columns: dict[str, Getter] = {name: attrgetter(name) for name in COLUMNS}
    if tag is not None:
        records = [record for record in records if tag in record.tags]
        columns["tags"] = lambda record: " ".join(record.tags)
    held_out = [name for name in HELD_OUT if any(name in record.metrics for record in records)]
    for name in dict.fromkeys([*held_out, *(found for record in records if (found := record.ranked_by) is not None)]):
        columns[name] = _metric(name)
    if sort_by == "metric":
        records = _ordered(records, _by_own_metric, reverse=reverse)
    elif sort_by is not None:
        name, getter = _column(sort_by, records, spec)
        columns.setdefault(name, getter)
        records = _ordered(records, columns[name], reverse=reverse != highest_first(name))
    elif reverse:
        records.reverse()
    records = records[:top]
    if only_changed:
        for key in changed([spec(record.folder) for record in records]):
            columns.setdefault(key, _key(key, spec))
    if described:
        columns.setdefault("description", _key("description", spec))
    for name in HELD_OUT:  # of the records that are shown
        if name in columns and name != sort_by and not any(columns[name](record) is not None for record in records):
            del columns[name]
    rows = tuple(tuple(getter(record) for getter in columns.values()) for record in records)
    return Listing(tuple(records), tuple(columns), rows)


def folders_of(name: str | None, output: Path) -> list[Path]:
    """Return the folders of the records below a name: an experiment, a folder, a sweep; of all without one.

    Raises SpecError where there is no such thing.
    """
    if name is None:
        if output != Path("runs") and not output.is_dir():
            raise SpecError(f"there is no folder '{output}'")
        return below(output)
    for folder in (Path(name), output / name):
        if name and folder.is_dir() and not is_record(folder):
            return below(folder)
    record = find(name, output)
    return runs_of(record) or [record]


def _metric(name: str) -> Getter:
    return lambda record: record.metrics.get(name)


def _by_own_metric(record: Record) -> float | None:
    """Return what the best record has the least of, by the metric that it is ranked by, else its final loss."""
    name = record.ranked_by
    if name is None:
        return record.final_loss
    value = record.metrics.get(name)  # None where the rows leave it undefined
    return value if value is None or not highest_first(name) else -value


def _key(key: str, spec: Spec) -> Getter:
    return lambda record: spec(record.folder).get(key)


def _spec(folder: Path) -> Mapping[str, Any]:
    """Return a record's spec under dotted keys; nothing of one that cannot be read."""
    return dict(config_reader.flat(lenient(None, config_reader.read, folder) or {}))


def changed(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values are not the same in all specs, in their order; the name is a column already.

    `auto` is what any other value may be: the config.yaml of a run has it resolved, that of a sweep has not.
    """
    specs = [spec for spec in specs if spec]  # gdcli ema has none
    keys = dict.fromkeys(key for spec in specs for key in spec if key not in ("name", "description"))
    found = [key for key in keys if len({repr(spec.get(key)) for spec in specs} - {"'auto'"}) > 1]
    return sorted(found, key=lambda key: key.endswith("sha256"))  # what nobody reads comes last


def _column(name: str, records: Sequence[Record], spec: Spec) -> tuple[str, Getter]:
    """Return the column of a name: one of ours, a metric, a key of the spec or a suffix that one key has."""
    column = re.sub(r"[ -]", "_", name)
    column = ALIASES.get(column, column)
    if column in COLUMNS:
        return column, attrgetter(column)
    metrics = {metric for record in records for metric in record.metrics}
    if name in metrics:
        return name, _metric(name)
    counts = Counter(key for record in records for key in spec(record.folder))
    ends = [key for key in counts if key.endswith(f".{name}") and not _OF_MANY.search(key)]
    keys = [name] if name in counts else ends
    if len(keys) == 1:
        return keys[0], _key(keys[0], spec)
    if keys:
        listed = ", ".join(shown(key) for key in sorted(keys)[:20])
        raise SpecError(f"'{shown(name)}' could be any of {listed}. Write the whole key")
    known = [*COLUMNS, *(shown(key, 200) for key in (*metrics, *counts))]
    raise SpecError(f"there is no column '{shown(name)}'. {nearest(name, known)}")


def _ordered(records: Sequence[Record], getter: Getter, *, reverse: bool) -> list[Record]:
    """Return records by a value, numbers before texts; those without it come last either way."""
    known = [(value, record) for record in records if (value := getter(record)) is not None]
    found = sorted(known, key=lambda pair: _rank(pair[0]), reverse=reverse)
    return [record for _, record in found] + [record for record in records if getter(record) is None]


def _rank(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(config_reader.word(value)))
