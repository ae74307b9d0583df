"""Two records side by side: where their specs, their results and the machines they ran on differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

from gdcli.errors import DamagedError
from gdcli.report.tables import aligned
from gdcli.storage import config_reader
from gdcli.storage.config_reader import WHOLE, word
from gdcli.storage.csv_reader import MixedColumns, NumberColumns
from gdcli.storage.files import json_file, json_text, lenient
from gdcli.storage.record import Record

Pair = tuple[Any, Any]
COLUMN = 40  # letters, at most, to which a value is filled up; a longer one stands out


@dataclass(frozen=True, slots=True)
class First:
    """The first row of steps.csv, or of results.csv, whose loss is not the same."""

    where: str  # step or run
    number: int
    losses: Pair  # None: one record has no such row


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between two records, by dotted keys: both values, None where one has no such key."""

    a: Record
    b: Record
    spec: Mapping[str, Pair]
    results: Mapping[str, Pair]
    first: First | None
    environment: Mapping[str, Pair]
    problems: tuple[str, ...]  # with files that could not be compared

    def __bool__(self) -> bool:
        return bool(self.spec or self.results or self.first or self.environment or self.problems)

    def text(self) -> str:
        """Return the differences for people, all digits."""
        names = [("A", self.a), ("B", self.b)]
        text = "".join(f"{letter}  {word(str(record.folder), WHOLE)}\n" for letter, record in names)
        results = dict(self.results)
        if self.first is not None:
            results[f"first loss that differs: {self.first.where} {self.first.number:,}"] = self.first.losses
        for title, pairs in {"spec": self.spec, "results": results, "environment": self.environment}.items():
            rows = [[exact(key), *map(exact, pair)] for key, pair in pairs.items()]
            text += aligned([title, "A", "B"], rows, COLUMN) if rows else f"{title}: the same\n"
        return text + "".join(f"not compared: {word(problem, WHOLE)}\n" for problem in self.problems)

    def json(self) -> str:
        """Return them as one JSON document, pairs as lists."""
        first = self.first
        found = None if first is None else {first.where: first.number, "loss": first.losses}
        parts: dict[str, Any] = {"spec": self.spec, "results": self.results, "first_difference": found}
        parts |= {"environment": self.environment, "not_compared": self.problems}
        return json_text({"a": str(self.a.folder), "b": str(self.b.folder), **parts}, ascii_only=True)


def exact(value: Any) -> str:
    """Return a value as text with all its digits: six of them would make what differs look the same."""
    found = word(value, WHOLE)
    return "-" if found is None else found if isinstance(found, str) else repr(found)


def differences(a: Record, b: Record) -> Differences:
    """Return what differs between two records; what cannot be read is told."""
    problems = [*a.problems, *b.problems]

    def pairs(of: Callable[[Record], dict[str, Any]]) -> dict[str, Pair]:
        return lenient(problems.append, lambda: differing(of(a), of(b))) or {}

    first = lenient(problems.append, _first, a, b)
    spec = pairs(_spec)
    if "data.sha256" not in spec:
        spec.pop("data.file", None)  # the same content, wherever it lay
    return Differences(a, b, spec, pairs(_results), first, pairs(_environment), tuple(problems))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Return the keys whose values differ, with both; 1 and 1.0 are the same.

    >>> differing({"lr": 0.1, "seed": 0}, {"lr": 0.5, "seed": 0, "dtype": "float64"})
    {'lr': (0.1, 0.5), 'dtype': (None, 'float64')}
    """
    return {key: (a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}


def _spec(record: Record) -> dict[str, Any]:
    """Return config.yaml, with the sha256 of a data file where the request alone has it."""
    found = dict(config_reader.flat(config_reader.read(record.folder)))
    digest = (json_file(record.folder / "request.json") or {}).get("data_sha256")
    return {"data.sha256": digest, **found} if "data.file" in found and isinstance(digest, str) else found


def _results(record: Record) -> dict[str, Any]:
    """Return what the summary says besides the parameters and the model's digest, which differ as the loss does."""
    kept = {key: value for key, value in record.summary.items() if key not in ("parameters", "sha256", "status")}
    found = {key: value for key, value in config_reader.flat(kept) if value != {}}
    return {"kind": record.kind, "status": record.status, **found}


def _environment(record: Record) -> dict[str, Any]:
    """Return what a result may depend on besides the spec; the command line is no part of that."""
    found = json_file(record.folder / "environment.json") or {}
    return dict(config_reader.flat({key: value for key, value in found.items() if key != "command"}))


def _first(a: Record, b: Record) -> First | None:
    if a.kind == b.kind == "run":
        return _first_step(a.folder / "steps.csv", b.folder / "steps.csv")
    if a.kind == b.kind and a.kind != "ema":
        return _first_row(a.folder / "results.csv", b.folder / "results.csv")
    return None


def _first_step(a: Path, b: Path) -> First | None:
    """Return the first step whose loss differs: shortest texts that round-trip differ where the bits do."""
    ours, theirs = NumberColumns(a), NumberColumns(b)
    if ours.header[:4] != theirs.header[:4] or ours.header[3:4] != ["loss"]:
        raise DamagedError(f"{a} and {b}: columns of the two differ")
    for one, other in zip_longest(ours, theirs):
        step = (one or other)[0]
        losses = [None if line is None else line[1].split(b",", 4)[3] for line in (one, other)]
        if losses[0] != losses[1] or (one and other and one[0] != other[0]):
            values = [None if loss is None else float(loss) if loss else None for loss in losses]
            return First("step", step, (values[0], values[1]))
    return None


def _first_row(a: Path, b: Path) -> First | None:
    losses = []
    for rows in (MixedColumns(a), MixedColumns(b)):
        k = next((rows.header.index(name) for name in ("final_loss", "loss") if name in rows.header), None)
        if k is None:
            raise DamagedError(f"{a} and {b}: have no loss to compare")
        losses.append(map(itemgetter(k), rows))
    for number, pair in enumerate(zip_longest(*losses), 1):
        if repr(pair[0]) != repr(pair[1]):
            return First("run", number, (pair[0], pair[1]))
    return None
