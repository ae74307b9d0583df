"""What the page of a run shows: its curves, tables, spec and files, from the record's files alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.report.thinning import thinned
from gdcli.commands.show import RunOverview, files, size
from gdcli.storage import config_reader
from gdcli.storage.config_reader import WHOLE, flat, word
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import json_file, lenient
from gdcli.storage.gradient_file import ParquetColumns, gradients_of
from gdcli.storage.record import Record

Floats = NDArray[np.float64]

_PLACE = re.compile(r"\[[\d,]*\]$")
"""Where a scalar stands in its parameter: [0,1]."""

MOST_CURVES = 24
"""Layers whose gradient norms are drawn: those of more cannot be told apart."""


def run_data(record: Record) -> dict[str, Any]:
    """Return the curves, tables and texts of a run as JSON has them; a file that cannot be read is told.

    Numbers of tables are the record's own texts; of many rows those with the extremes are kept.
    """
    overview = RunOverview(record, 0)
    parameters = record.summary.get("parameters")
    whole = (
        {word(name): word(value, WHOLE) for name, value in parameters.items()} if isinstance(parameters, dict) else {}
    )
    told = overview.problems.append
    steps = lenient(told, _steps, record.folder / "steps.csv")
    gradients = lenient(told, _gradient_norms, record.folder)
    return {
        "name": text(record.name), "id": text(record.id), "status": record.status,
        "record": [pair(*each) for each in overview.head() if each[0] != "folder"],
        "results": [pair(name, whole.get(name, value)) for name, value in overview.results()],
        "machine": [pair(*each) for each in overview.machine()],
        "files": [[text(name), size(count)] for name, count in files(record.folder).items()],
        "spec": spec_rows(record, overview.spec),
        "steps": None if steps is None else steps[0],
        "epochs": None if steps is None else lenient(told, _epochs, record.folder / "epochs.csv", steps[1]),
        "gradients": gradients,
        "problems": [text(problem) for problem in overview.problems],
    }  # fmt: skip


def text(value: Any) -> str:
    """Return a text that is safe to show: characters that act on a page or that nobody sees become escapes."""
    return str(word(str(value), WHOLE))


def pair(name: Any, value: Any) -> list[str]:
    """Return a name and its value as texts; floats with all digits."""
    return [text(name), repr(value) if isinstance(value, float) else text(value)]


# --- the spec ---------------------------------------------------------------------------------------------------------


def spec_rows(record: Record, spec: Mapping[str, Any]) -> list[list[Any]]:
    """Return each key of the resolved spec with its value, whether it was overridden, and what spec.yaml has."""
    request = lenient(None, json_file, record.folder / "request.json") or {}
    words = request.get("overrides")
    overridden = (
        {key for each in words if isinstance(each, str) for key in _keys(each)} if isinstance(words, list) else set()
    )
    written = lenient(None, config_reader.read, record.folder, "spec.yaml") or {}
    before = {key: _value(value) for key, value in flat(written)}
    rows = []
    for key, value in flat(spec):
        marked = any(key == each or key.startswith(f"{each}.") for each in overridden)
        rows.append([text(key), _value(value), marked, before.get(key) if marked else None])
    return rows


def _keys(override: str) -> Iterator[str]:
    """Yield the whole keys that an override such as lr=0.1 may mean."""
    from gdcli.spec.overrides import key_of

    name = override.partition("=")[0].strip().lstrip("+~")
    yield name
    if key := key_of(name):
        yield key


def _value(value: Any) -> str:
    return repr(value) if isinstance(value, float) else "null" if value is None else text(word(value, WHOLE))


# --- the curves -------------------------------------------------------------------------------------------------------


def _table(path: Path) -> tuple[list[str], list[str], Floats]:
    """Return a CSV's header, its lines, and its numbers [K, C], NaN for empty cells."""
    columns = NumberColumns(path)
    lines = [line.decode() for _, line in columns]
    return columns.header, lines, numbers(lines, len(columns.header))


def numbers(lines: Sequence[str], columns: int) -> Floats:
    """Return the numbers [K, C] of lines of a CSV; an empty cell is NaN."""
    if not lines:
        return np.empty((0, columns))
    return (
        np.array([cell or "nan" for line in lines for cell in line.split(",")]).astype(np.float64).reshape(-1, columns)
    )


def _kept(header: Sequence[str], lines: Sequence[str], values: Floats) -> dict[str, Any]:
    """Return a table as the page has it, thinned; the first column counts and is no curve."""
    chosen = thinned(values[:, 1:])
    rows = [lines[k] for k in chosen]
    return {"header": [text(name) for name in header], "rows": "\n".join(rows), "total": len(lines), "kept": len(rows)}


def _steps(path: Path) -> tuple[dict[str, Any], Mapping[int, int]]:
    """Return the steps and the last step of each epoch."""
    header, lines, values = _table(path)
    curves = [0, *(header.index(name) for name in ("loss", "lr", "gradient_norm") if name in header)]
    last: dict[int, int] = {}
    if "epoch" in header and len(values):
        epochs = values[:, header.index("epoch")]
        ends = np.flatnonzero(np.append(np.diff(epochs) != 0, True))
        last = {int(epochs[k]): int(values[k, 0]) for k in ends}
    return _kept(header, lines, values[:, curves]), last


def _epochs(path: Path, last: Mapping[int, int]) -> dict[str, Any] | None:
    """Return the epochs, each behind its last step; None where there are none."""
    if not path.is_file():
        return None
    header, lines, values = _table(path)
    found = [k for k, epoch in enumerate(values[:, 0]) if int(epoch) in last]
    lines = [f"{last[int(values[k, 0])]},{lines[k]}" for k in found]
    return _kept(["step", *header], lines, values[found])


def _gradient_norms(folder: Path) -> dict[str, Any] | None:
    """Return the L2 norm of each parameter's gradient at each step: of one number its size as it is recorded."""
    found = gradients_of(folder)
    if found is None or len(found.header) < 2:
        return None
    if isinstance(found, ParquetColumns):
        lines, values = list[str](), found.numbers()
    else:
        _, lines, values = _table(found.path)
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(found.header[1:], 1):
        groups.setdefault(_PLACE.sub("", name), []).append(k)
    shown = list(groups)[:MOST_CURVES]
    norms = np.column_stack([np.linalg.norm(values[:, groups[name]], axis=1) for name in shown])
    kept = thinned(norms)
    rows = [[str(int(values[k, 0])), *map(repr, norms[k].tolist())] for k in kept]
    for j, columns in enumerate(map(groups.__getitem__, shown), 1):
        if len(columns) == 1 and lines:
            for row, k in zip(rows, kept, strict=True):
                row[j] = lines[k].split(",")[columns[0]].removeprefix("-")
    table = {"header": ["step", *map(text, shown)], "rows": "\n".join(map(",".join, rows))}
    return table | {"total": len(values), "kept": len(rows), "layers": len(groups)}
