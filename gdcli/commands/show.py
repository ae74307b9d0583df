"""One record at a glance: how it ended, what was run, the results, the files, the machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from gdcli.commands.context import Frontend
from gdcli.commands.list import COLUMNS, span
from gdcli.errors import SpecError, nearest
from gdcli.report.tables import aligned, number, section
from gdcli.storage import config_reader
from gdcli.storage.config_reader import WHOLE, word
from gdcli.storage.csv_reader import MixedColumns
from gdcli.storage.files import json_file, json_text, lenient
from gdcli.storage.find import runs_of
from gdcli.storage.record import MANY, NOT_AGAIN, Record
from gdcli.zoo.metrics import highest_first

ESSENTIALS = (
    "data", "model", "loss", "optimizer", "scheduler", "epochs", "batch", "penalty", "clip", "metrics", "metric",
    "stop", "device", "dtype", "seed", "engine", "sweep", "compare",
)  # fmt: skip
HINTS = {
    "unfinished": "it was killed: gdcli resume goes on with it",
    "interrupted": "gdcli resume goes on with it",
    "running": "a process is writing it",
}


class RunOverview:
    """What is shown of a record; a file that cannot be read is told, the rest is shown."""

    def __init__(self, record: Record, top: int) -> None:
        self.record = record
        self.problems = list(record.problems)
        told = self.problems.append
        self.spec = lenient(told, config_reader.read, record.folder) or {}
        environment = lenient(told, json_file, record.folder / "environment.json")
        self.environment = environment or {}
        self.header: list[str] = []
        self.best: list[list[Any]] = []
        self.rows = 0
        if record.kind in MANY and (record.folder / "results.csv").is_file():
            by = record.summary.get("ranked_by")
            found = lenient(
                told, _best, record.folder / "results.csv", top, by if isinstance(by, str) else "final_loss"
            )
            self.header, self.best, self.rows = found or ([], [], 0)

    def text(self) -> str:
        """Return it for people."""
        record = self.record
        best = f"best {len(self.best):,} of {self.rows:,}\n" if self.rows else ""
        header = [word(name.replace("_", " ")) for name in self.header]
        rows = [[word(value, WHOLE) for value in row] for row in self.best]
        parts = [
            f"{record.kind} {word(record.name, WHOLE)} {word(record.id, WHOLE)}\n",
            section("record", self.head()),
            section("spec", [(key, self._essential(self.spec[key])) for key in ESSENTIALS if key in self.spec]),
            section("results", self.results()),
            best + (indent(aligned(header, rows), "  ") if rows else ""),
            section("files", [(word(name, WHOLE), size(count)) for name, count in files(record.folder).items()]),
            section("environment", self.machine()),
            section("damaged", [(word(problem, WHOLE), "") for problem in self.problems]),
        ]
        return "\n".join(part for part in parts if part)

    def head(self) -> list[tuple[str, Any]]:
        """Return how the record came about and how it ended."""
        record = self.record
        message = str(record.summary.get("message", "")) or HINTS.get(record.status, "")
        if record.status == "interrupted" and record.summary.get("message"):
            message += f"; {HINTS['interrupted']}"
        command, objects = self.environment.get("command"), self.environment.get("objects")
        pairs = [
            ("folder", word(str(record.folder), WHOLE)),
            ("status", record.status + (f": {word(message, WHOLE)}" if message else "")),
            ("description", word(self.spec.get("description"), WHOLE)),
            ("tags", word(" ".join(record.tags), WHOLE) if record.tags else None),
            ("of Python", f"{', '.join(map(word, objects))}: {NOT_AGAIN}" if isinstance(objects, list) else None),
            ("started", word(record.when)),
            ("took", None if record.duration is None else span(record.duration)),
            ("command", word(" ".join(map(str, command)), WHOLE) if isinstance(command, list) else None),
        ]
        return [pair for pair in pairs if pair[1] is not None]

    def results(self) -> list[tuple[str, Any]]:
        """Return its losses, metrics and parameters, as its summary has them."""
        hidden = ("status", "message", "parameters", "rows", "metrics", "sha256")
        found = {key: value for key, value in self.record.summary.items() if key not in hidden}
        if not self.record.summary:
            found = {key: self.record.checkpoint[key] for key in ("steps", "epochs") if key in self.record.checkpoint}
        pairs = [(word(key.replace("_", " ")), word(value, WHOLE)) for key, value in config_reader.flat(found)]
        pairs += [(word(name), value) for name, value in self.record.metrics.items()]
        parameters = self.record.summary.get("parameters")
        if isinstance(parameters, dict):
            pairs += [(word(name), word(_rounded(value), WHOLE)) for name, value in parameters.items()]
        return pairs

    def machine(self) -> list[tuple[str, Any]]:
        """Return the versions and the machine that it was made with."""
        found, versions = self.environment, self.environment.get("versions")
        names = ("gdcli", "torch", "numpy", "python")
        kept = {name: versions[name] for name in names if name in versions} if isinstance(versions, dict) else {}
        kept |= {name: found[name] for name in ("threads", "device", "cpu_capability", "platform") if name in found}
        git = found.get("git")
        if isinstance(git, dict):
            kept["git"] = f"{git.get('commit')}{' (dirty)' if git.get('dirty') else ''}"
        return [(name.replace("_", " "), word(value, WHOLE)) for name, value in kept.items()]

    def _essential(self, value: Any) -> Any:
        """Return a part of a spec on one line, what it is first: sgd lr=0.5 nesterov=false."""
        if not isinstance(value, Mapping):
            return word(value, WHOLE)
        words = []
        for key, item in value.items():
            nested = isinstance(item, Mapping)
            text = " ".join(f"{k}={word(v, WHOLE)}" for k, v in item.items()) if nested else word(item, WHOLE)
            words.append(str(text) if key in ("name", "type", "mode") else f"{key}={text}")
        return word(" ".join(words), WHOLE)

    def json(self) -> str:
        """Return all of it as one JSON document."""
        record = self.record
        found: dict[str, Any] = {"folder": str(record.folder)} | {name: getattr(record, name) for name in COLUMNS}
        found |= {"summary": record.summary, "timing": record.timing, "checkpoint": record.checkpoint}
        found |= {"environment": self.environment, "spec": self.spec, "files": files(record.folder)}
        found["best"] = [dict(zip(self.header, row, strict=True)) for row in self.best]
        return json_text(found | {"problems": self.problems}, ascii_only=True)


def _best(path: Path, top: int, by: str) -> tuple[list[str], list[list[Any]], int]:
    """Return the header, the best rows and the number of all."""
    columns = MixedColumns(path)
    best = columns.best(top, by, highest_first=highest_first(by))
    return columns.header, best, columns.count


def _rounded(value: Any) -> Any:
    """Return nested lists with numbers of six digits."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(number(value)) if isinstance(value, float) else value


def files(folder: Path) -> dict[str, int]:
    """Return the files of a record with their sizes in bytes; the folders of its runs as one entry each ``DIR/``."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith("."):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = status.st_size
    return found | {f"{run.name}/": sum(files(run).values()) for run in runs_of(folder)}


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> size(12), size(20_480), size(3 * 2**30)
    ('12 B', '20.0 KiB', '3.0 GiB')
    """
    if count < 1024:
        return f"{count} B"
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def has_style(record: Record, style: str) -> bool:
    """Say whether a run was recorded in a style. Raises SpecError for one that there is not, and for many runs."""
    from gdcli.report.styles import STYLES

    if style not in STYLES:
        raise SpecError(f"there is no style '{style}'. {nearest(style, STYLES)}")
    if record.kind != "run":
        raise SpecError(f"--style is for a run; this is a record of {record.kind}: gdcli ls RUN lists its runs")
    recorded = config_reader.read(record.folder).get("print")
    return isinstance(recorded, dict) and recorded.get("style") == style


def resolved(spec: str, overrides: Sequence[str], frontend: Frontend) -> str:
    """Return the config.yaml that `gdcli run` would write of a spec, which is not run. Raises SpecError."""
    from gdcli.commands import specs

    loaded = specs.loaded(spec, overrides, "run", trained=True)
    frontend.engine()
    from gdcli.engine.problem import build
    from gdcli.runner import provenance

    return provenance.head(build(loaded), provenance.Provenance(b"", ()))[0]


def trained_again(record: Record, style: str, frontend: Frontend) -> str | None:
    """Train a run again in memory, as far as it came, in another style; return how it stopped, if a signal came.

    Raises SpecError for a style that the spec cannot supply.
    """
    overrides = [f"print.style={style}"]
    if record.status in ("stopped", "interrupted") and record.steps:
        overrides.append(f"stop.max_steps={record.steps}")
    from gdcli.commands import specs
    from gdcli.storage.recorded_plugins import require_plugins

    require_plugins(record.folder)
    loaded = specs.of_record(record.folder, overrides, "run", trained=True)
    frontend.engine()
    from gdcli.runner import provenance, record_run

    with frontend.interruptible() as interrupt:
        built, text, warning = provenance.prepared(loaded), frontend.text, frontend.warning
        finished = record_run.run(built, None, text=text, warning=warning, interrupt=interrupt)
        return finished.outcome.message if interrupt.requested else None
