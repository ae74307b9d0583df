"""What the page of a run shows: its curves, tables, spec and files, from the record's files alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.report.spread_rows import MOST_BYTES, SpreadRows
from gdcli.commands.report.thinning import thinned
from gdcli.commands.show import RunOverview, files, size
from gdcli.errors import DamagedError
from gdcli.storage import config_reader
from gdcli.storage.config_reader import WHOLE, flat, word
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import json_file, lenient
from gdcli.storage.gradient_file import BinaryColumns, gradients_of
from gdcli.storage.record import STAMP, Record

Floats = NDArray[np.float64]

_PLACE = re.compile(r"\[[\d,]*\]$")
"""Where a scalar stands in its parameter: [0,1]."""

_MOST_EPOCHS = 1e18
_AT_ONCE = 200_000  # numbers of a table, as text

MOST_LAYERS = 24
"""Layers whose gradient norms are drawn: those of more cannot be told apart."""


def run_data(record: Record, *, spread: bool = False) -> dict[str, Any]:
    """Return the curves, tables and texts of a run as JSON has them; a file that cannot be read is told.

    Numbers of tables are the record's own texts; of many rows those with the extremes are kept, or with ``spread`` some
    evenly spread, so that it takes the same time however long the run is.
    """
    overview = RunOverview(record, 0)
    parameters = record.summary.get("parameters")
    whole = (
        {word(name): word(value, WHOLE) for name, value in parameters.items()} if isinstance(parameters, dict) else {}
    )
    told = overview.problems.append
    steps = lenient(told, _steps, record.folder / "steps.csv", spread=spread)
    gradients = lenient(told, _gradient_norms, record.folder, spread=spread)
    epochs = record.folder / "epochs.csv"
    return {
        "name": text(record.name), "id": text(record.id), "status": record.status,
        "record": [pair(name, _started(record, found) if name == "started" else found)
                   for name, found in overview.head() if name != "folder"],
        "results": [pair(name, whole.get(name, value)) for name, value in overview.results()],
        "machine": [pair(*each) for each in overview.machine()],
        "files": [[text(name), size(count)] for name, count in files(record.folder).items()],
        "spec": spec_rows(record, overview.spec),
        "steps": None if steps is None else steps[0],
        "epochs": None if steps is None else lenient(told, _epochs, epochs, steps[1], spread=spread),
        "gradients": gradients,
        "problems": [told_of(record.folder, problem) for problem in overview.problems],
    }  # fmt: skip


def text(value: Any) -> str:
    """Return a text that is safe to show: characters that act on a page or that nobody sees become escapes."""
    return str(word(str(value), WHOLE))


def _started(record: Record, local: Any) -> Any:
    """Return when a record was begun: as its folder's name has it, else in UTC, the same in every time zone."""
    return local if STAMP.fullmatch(record.id) else record.timing.get("start")


def told_of(folder: Path, problem: str) -> str:
    """Return what is told of a record's files, by their names in its folder: the same wherever it is called from."""
    return text(problem.replace(f"{folder}{os.sep}", ""))


def pair(name: Any, value: Any) -> list[str]:
    """Return a name and its value as texts; floats with all digits."""
    return [text(name), repr(value) if isinstance(value, float) else text(value)]


# --- the spec ---------------------------------------------------------------------------------------------------------


def spec_rows(record: Record, spec: Mapping[str, Any]) -> list[list[Any]]:
    """Return each key of the resolved spec with its value, whether it was overridden, and what spec.yaml has.

    In a run of a sweep or comparison its own keys are overridden, too: those whose value is not that of the sweep.
    """
    request = _json(record.folder)
    whole = record.folder.parent if request is None else record.folder
    words = (_json(whole) or {}).get("overrides")
    overridden = (
        {key for each in words if isinstance(each, str) for key in _keys(each)} if isinstance(words, list) else set()
    )
    if whole != record.folder and os.path.lexists(whole / "config.yaml"):
        shared = dict(flat(lenient(None, config_reader.read, whole) or spec))
        found = {key for key, value in flat(spec) if shared.get(key) not in (value, "auto")}
        overridden |= found - _resolved(shared.get("data.file"), dict(flat(spec)).get("data.file"))
    written = lenient(None, config_reader.read, record.folder, "spec.yaml") or {}
    before = {key: _value(value) for key, value in flat(written)}
    rows = []
    for key, value in flat(spec):
        marked = any(key == each or key.startswith(f"{each}.") for each in overridden)
        rows.append([text(key), _value(value), marked, before.get(key) if marked else None])
    return rows


def _resolved(shared: Any, own: Any) -> set[str]:
    """Return the keys of a data file that a run has resolved, where it is the file of its sweep or comparison."""
    if not isinstance(shared, str) or not isinstance(own, str) or not Path(own).is_absolute():
        return set()
    parts = [part for part in Path(shared).parts if part != ".."]
    return {"data.file", "data.sha256"} if Path(own).parts[-len(parts) :] == tuple(parts) else set()


def _json(folder: Path) -> dict[str, Any] | None:
    return lenient(None, json_file, folder / "request.json")


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


def _parts(columns: NumberColumns | SpreadRows) -> Iterator[tuple[list[str], Floats]]:
    """Yield a CSV's lines and their numbers [K, C], NaN for empty cells, some rows at a time.

    Raises DamagedError for one whose first column does not count upwards.
    """
    lines, before, most = list[str](), -1, max(1, _AT_ONCE // max(1, len(columns.header)))
    for number, line in columns:
        if number <= before:
            raise DamagedError(f"{columns.path}: {columns.header[0]} {number:,} comes after {before:,}")
        lines.append(line.decode())
        before = number
        if len(lines) == most:
            yield lines, numbers(lines, len(columns.header))
            lines = []
    if lines:
        yield lines, numbers(lines, len(columns.header))


def _table(path: Path, *, spread: bool) -> tuple[list[str], list[str], Floats, bool]:
    """Return a CSV's header, its lines, its numbers [K, C], and whether lines were left out. Raises DamagedError."""
    columns = SpreadRows(path) if spread else NumberColumns(path)
    if not columns.header:
        raise DamagedError(f"{path}: has no header")
    lines, values = list[str](), [np.empty((0, len(columns.header)))]
    for some, found in _parts(columns):
        lines += some
        values.append(found)
    left_out = isinstance(columns, SpreadRows) and columns.is_spread
    return columns.header, lines, np.concatenate(values), left_out


def numbers(lines: Sequence[str], columns: int) -> Floats:
    """Return the numbers [K, C] of lines of a CSV; an empty cell is NaN."""
    found = [float(cell or "nan") for line in lines for cell in line.split(",")]
    return np.array(found, np.float64).reshape(-1, columns)


def _kept(header: Sequence[str], lines: Sequence[str], values: Floats) -> dict[str, Any]:
    """Return a table as the page has it, thinned; the first column counts and is no curve."""
    chosen = thinned(values[:, 1:])
    rows = [lines[k] for k in chosen]
    return {"header": [text(name) for name in header], "rows": "\n".join(rows), "total": len(lines), "kept": len(rows)}


def _steps(path: Path, *, spread: bool) -> tuple[dict[str, Any], Mapping[int, int]]:
    """Return the steps and the last step of each epoch, of those that are read."""
    header, lines, values, left_out = _table(path, spread=spread)
    if not {"epoch", "loss"} <= set(header):
        raise DamagedError(f"{path}: is no table of steps")
    curves = [0, *(header.index(name) for name in ("loss", "lr", "gradient_norm") if name in header)]
    epochs = values[:, header.index("epoch")]
    if not (np.abs(epochs) < _MOST_EPOCHS).all():
        raise DamagedError(f"{path}: lacks an epoch")
    last = {int(epoch): int(step) for epoch, step in zip(epochs, values[:, 0], strict=True)}
    found = _kept(header, lines, values[:, curves])
    if left_out and lines:
        found |= {"total": int(values[-1, 0]), "spread": True}
    return found, last


def _epochs(path: Path, last: Mapping[int, int], *, spread: bool) -> dict[str, Any] | None:
    """Return the epochs, each behind its last step, or with ``spread`` about there; None where there are none."""
    if not os.path.lexists(path):
        return None
    header, lines, values, _ = _table(path, spread=spread)
    if spread and last:
        ends = np.interp(values[:, 0], [*last], [*last.values()]).astype(int)
        latest = max(last)
        last = {int(epoch): int(end) for epoch, end in zip(values[:, 0], ends, strict=True) if epoch <= latest}
    found = [k for k, epoch in enumerate(values[:, 0]) if int(epoch) in last]
    lines = [f"{last[int(values[k, 0])]},{lines[k]}" for k in found]
    return _kept(["step", *header], lines, values[found])


def _gradient_norms(folder: Path, *, spread: bool) -> dict[str, Any] | None:
    """Return the L2 norm of each parameter's gradient at each step: of one number its size as it is recorded."""
    found = _gradients(folder, spread=spread)
    if found is None or len(found.header) < 2:
        return None
    groups: dict[str, list[int]] = {}  # the columns of each parameter
    for k, name in enumerate(found.header[1:], 1):
        groups.setdefault(_PLACE.sub("", name), []).append(k)
    shown = list(groups)[:MOST_LAYERS]
    parts = [np.empty((0, 1 + len(shown)))]
    for values in _values(found):
        norms = [np.linalg.norm(values[:, groups[name]], axis=1) for name in shown]
        parts.append(np.column_stack([values[:, 0], *norms]))
    whole = np.concatenate(parts)
    kept = whole[thinned(whole[:, 1:])].tolist()
    rows = {int(step): [str(int(step)), *map(repr, norms)] for step, *norms in kept}
    single = {j: groups[name][0] for j, name in enumerate(shown, 1) if len(groups[name]) == 1}
    if single and not isinstance(found, BinaryColumns):
        _put_recorded(rows, found, single)
    table = {"header": ["step", *map(text, shown)], "rows": "\n".join(map(",".join, rows.values()))}
    return table | {"total": len(whole), "kept": len(rows), "layers": len(groups)}


def _gradients(folder: Path, *, spread: bool) -> NumberColumns | SpreadRows | BinaryColumns | None:
    """Return a record's table of gradients; with ``spread`` None for one that takes too long to read."""
    found = gradients_of(folder)
    if not spread or found is None:
        return found
    if isinstance(found, BinaryColumns):
        return found if found.path.stat().st_size <= MOST_BYTES else None
    return SpreadRows(found.path)


def _put_recorded(rows: Mapping[int, list[str]], found: NumberColumns | SpreadRows, single: Mapping[int, int]) -> None:
    """Put single numbers' sizes as they are recorded into the rows, by step; ``single`` has the columns of both.

    The table is read again and may have grown since, so rows are found by their step, not by their place.
    """
    for step, line in found:
        if step in rows:
            cells = line.decode().split(",")
            for j, column in single.items():
                rows[step][j] = cells[column].removeprefix("-")


def _values(found: NumberColumns | SpreadRows | BinaryColumns) -> Iterator[Floats]:
    """Yield the numbers [K, C] of a table of gradients, some rows at a time; the step is the first."""
    if not isinstance(found, BinaryColumns):
        yield from (values for _, values in _parts(found))
    else:
        yield from (np.column_stack([steps, values.astype(np.float64)]) for steps, values in found.parts())
