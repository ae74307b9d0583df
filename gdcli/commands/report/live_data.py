"""What the page of a record shows while a command writes it: from its files as they are, within bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gdcli.commands.context import ignore
from gdcli.commands.report import many_curves
from gdcli.commands.report.many import best_run, many_data
from gdcli.commands.report.many_curves import RunColumns
from gdcli.commands.report.run_page import run_data, text
from gdcli.storage.find import runs_of
from gdcli.storage.record import MANY, Record, read

Signature = tuple[tuple[str, int, int], ...]


class CurveCache:
    """The curves of runs that have been read, until a file of theirs is another."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str], tuple[Signature, RunColumns | None]] = {}

    def columns_of(self, folder: Path, over: str) -> RunColumns | None:
        """Return the recorded curves of a run over its steps or epochs. Raises DamagedError as the reading does."""
        signature = tuple(_sign(name, folder / name) for name in (f"{over}.csv", "summary.json"))
        known = self._found.get((folder, over))
        if known is None or known[0] != signature:
            known = self._found[folder, over] = signature, many_curves.columns_of(folder, over)
        return known[1]


def live_data(folder: Path, cache: CurveCache) -> dict[str, Any]:
    """Return what the page shows of a record by now; of long tables rows evenly spread."""
    record = read(folder)
    data = _of_many(record, cache) if record.kind in MANY else {"kind": "run", "runs": [_run(record)]}
    return {**data, "live": {"status": record.status, "title": f"{text(record.name)} {text(record.id)}"}}


def _run(record: Record) -> dict[str, Any]:
    found = run_data(record, spread=True)
    if record.status == "running":  # a file that is being written is not damaged
        found["problems"] = []
    return found


def _of_many(record: Record, cache: CurveCache) -> dict[str, Any]:
    """Return the runs that have ended, the best of them, and the curves of those in training."""
    many, best = many_data(record, reading=cache.columns_of), best_run(record)
    if record.status == "running":
        many["problems"] = []
    folders = runs_of(record.folder)
    training = [] if record.summary else [each for each in folders if not (each / "summary.json").is_file()]
    names = [text(each.name) for each in training]
    rows = [(name, [each]) for name, each in zip(names, training, strict=True)]
    curves = many_curves.of_rows(rows, dict.fromkeys(names, 0.0), ignore, cache.columns_of)
    return {
        "kind": record.kind,
        "many": many if many.get("rows", {}).get("total") or many["problems"] else None,
        "training": curves if curves["charts"] else None,
        "runs": [] if best is None else [_run(read(best))],
    }


def signature_of(folder: Path) -> Signature:
    """Return names, sizes and times of the files of a record and of its runs: the same until one is written."""
    found: list[tuple[str, int, int]] = []
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith("."):
                found += [_sign(f"{entry.name}/{each.name}", each) for each in _entries(Path(entry.path))]
        else:
            found.append(_sign(entry.name, entry))
    return tuple(sorted(found))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except OSError:
        return []


def _sign(name: str, entry: os.DirEntry[str] | Path) -> tuple[str, int, int]:
    try:
        found = os.lstat(entry)
    except OSError:
        return name, -1, 0
    return name, found.st_size, found.st_mtime_ns
