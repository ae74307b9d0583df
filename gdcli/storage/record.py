"""One record's folder: what it is, how it ended and how well. Nothing in it is trusted, a damaged file is reported."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from gdcli.errors import DamagedError
from gdcli.storage.files import existing, json_file, lenient
from gdcli.storage.run_folder import in_use

STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-([0-9a-f]{8})(?:-(\d{1,4}))?")
"""The name that gdcli gives a record's folder: when it started, 8 hex digits of the spec, a number if it was taken."""

ENDED = ("finished", "stopped", "diverged", "interrupted", "failed")
STATUSES = (*ENDED, "running", "unfinished", "damaged")
FLEETS = "fleets.json"
"""Names kernel and members of each fleet of torch's layers, by the part of a record of many runs that it is of."""
NOT_AGAIN = "it cannot be run again from files alone"
"""Said of a record of which a Python program gave the model, the loss or the data."""

MANY = ("sweep", "grid", "compare")
"""Kinds of records of many runs or points; a grid is the loss over parameters, without training."""

Plain = Mapping[str, Any]


def is_record(folder: Path) -> bool:
    """Say whether a folder is a record: it has both specs, or it is one of `gdcli ema`."""
    return _files(folder, "config.yaml", "spec.yaml") or _files(folder, "ema.csv", "summary.json")


def is_linked(folder: Path) -> bool:
    """Say whether a record's path is a link, or leads through one to its experiment or sweep."""
    return folder.is_symlink() or folder.absolute().parent.is_symlink()


def _files(folder: Path, *names: str) -> bool:
    try:
        return all(stat.S_ISREG(os.lstat(folder / name).st_mode) for name in names)
    except (OSError, ValueError):  # a path with a zero byte is a ValueError
        return False


@dataclass(frozen=True, slots=True)
class Record:
    """A record as its small files tell of it."""

    folder: Path
    kind: str  # run, sweep, grid (the loss over parameters, no training), compare, ema
    status: str  # one of STATUSES
    summary: Plain
    timing: Plain
    checkpoint: Plain
    problems: tuple[str, ...] = ()  # with its files

    @property
    def id(self) -> str:
        """The folder's own name."""
        return self.folder.absolute().name

    @property
    def name(self) -> str:
        """The experiment's name: that of the folder above; for a run of a sweep, of the folder above its record."""
        above = self.folder.absolute().parent
        return above.parent.name if STAMP.fullmatch(above.name) else above.name

    @property
    def when(self) -> str | None:
        """When it started, local time."""
        if match := STAMP.fullmatch(self.id):
            year, month, day, hour, minute, second = match.groups()[:6]
            return f"{year}-{month}-{day} {hour}:{minute}:{second}"
        try:
            return datetime.fromisoformat(self.timing["start"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    @property
    def duration(self) -> float | None:
        """Seconds spent on it, less the picture's; the time between a kill and `gdcli resume` does not count."""
        seconds = self.timing.get("seconds")
        kept = {k: v for k, v in seconds.items() if k != "plot"} if isinstance(seconds, dict) else {}
        found = [number(value) for value in kept.values()]
        total = float(sum(value for value in found if value is not None))
        return total if found and isfinite(total) else None

    @property
    def final_loss(self) -> float | None:
        """The final loss of a run."""
        return number(self.summary.get("final_loss"))

    @property
    def best_loss(self) -> float | None:
        """The lowest loss of a run's epochs, a grid's points, a comparison's rows; the final one of a sweep's best."""
        if self.kind == "compare":
            means = [_mean(row) for row in _rows(self.summary)]
            return min((mean for mean in means if mean is not None), default=None)
        return number(self.summary.get("lowest_loss" if self.kind == "grid" else "best_loss"))

    @property
    def steps(self) -> int | None:
        """The steps of a run; of one that was killed, those of its last checkpoint."""
        steps = self.summary.get("steps", self.checkpoint.get("steps"))
        return steps if type(steps) is int else None

    @property
    def tags(self) -> list[str]:
        """The words that it was given to be found by."""
        found = (lenient(None, json_file, self.folder / "environment.json") or {}).get("tags")
        return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of a run."""
        found = self.summary.get("metrics")
        pairs = found.items() if isinstance(found, dict) else ()
        return {name: value for name, each in pairs if (value := number(each)) is not None}

    @property
    def ranked_by(self) -> str | None:
        """The metric that its spec ranks runs by; None for the loss."""
        found, metrics = self.summary.get("ranked_by"), self.summary.get("metrics")
        return found if isinstance(found, str) and isinstance(metrics, dict) and found in metrics else None


def number(value: Any) -> float | None:
    """Return a number as it is, None for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rows(summary: Plain) -> list[Plain]:
    rows = summary.get("rows")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _mean(row: Plain) -> float | None:
    found = row.get("final_loss")
    return number(found.get("mean")) if isinstance(found, dict) else None


def read(folder: Path) -> Record:
    """Return the record of a folder, whatever is in it."""
    problems: list[str] = []

    def found(name: str) -> dict[str, Any] | None:
        return lenient(problems.append, json_file, folder / name)

    summary = found("summary.json")
    timing, request = found("timing.json") or {}, found("request.json") or {}
    if summary is not None and summary.get("status") not in ENDED:
        problems.append(f"{folder / 'summary.json'}: does not say how it ended")
    kind = _kind(folder, summary or {}, request.get("command"))
    if summary is not None and summary.get("status") == "interrupted" and _going_on(folder) == "running":
        summary = None  # that of the time before `gdcli resume`
    checkpoint = found("checkpoint.json") or {} if summary is None else {}
    status = "damaged" if problems else _going_on(folder) if summary is None else str(summary["status"])
    return Record(folder, kind, status, summary or {}, timing, checkpoint, tuple(problems))


def status_of(folder: Path, warning: Callable[[str], object] | None = None) -> str | None:
    """Return how a record ended, None for one that has not, or whose summary is damaged: it is written anew."""
    status = (lenient(warning, json_file, folder / "summary.json") or {}).get("status")
    return status if status in ENDED else None


def _going_on(folder: Path) -> str:
    """Say whether a record without a summary is being written: a sweep holds one lock for all its runs."""
    above = folder.absolute().parent
    return "running" if in_use(folder) or (is_record(above) and in_use(above)) else "unfinished"


def _kind(folder: Path, summary: Plain, command: Any) -> str:
    if "points" in summary:
        return "grid"
    if command in ("run", "sweep", "compare"):
        return str(command)
    for key, kind in (("final_loss", "run"), ("betas", "ema"), ("rows", "compare"), ("runs", "sweep")):
        if key in summary:
            return kind
    if (folder / "results.csv").is_file():
        return _kind_of_results(folder / "results.csv")
    return "ema" if (folder / "ema.csv").is_file() else "run"


def _kind_of_results(path: Path) -> str:
    try:
        with existing(path) as stream:
            header = stream.read(len(b"run,label,"))
    except DamagedError:
        return "sweep"
    return "compare" if header.startswith(b"run,label,") else "sweep" if header.startswith(b"run,") else "grid"
