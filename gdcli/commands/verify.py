"""A record beside the same done again: bit-identical, or where they first differ, and what differs in the machines."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from gdcli import __version__
from gdcli.storage.files import existing

SAME = ("log.txt", "steps.csv", "gradients.csv", "results.csv", "tuning.csv", "summary.json", "config.yaml")
"""Files whose bytes are promised. Times stand in timing.json, the machine in environment.json."""

VERSIONS = ("gdcli", "torch", "numpy")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which a record differs from the same done again."""

    run: str  # of many, else empty
    file: str
    where: str  # step 3, linear1.weight[0,0]
    recorded: str
    again: str
    step: float = float("inf")

    def __str__(self) -> str:
        run = f"{self.run}: " if self.run else ""
        return f"{run}{self.file}: {self.where}: recorded {self.recorded}, now {self.again}"

    def in_unicode(self) -> Difference:
        """Return it with bytes that are no UTF-8, which are compared as they are, as replacement characters."""
        texts = {name: getattr(self, name) for name in ("where", "recorded", "again")}
        words = {name: text.encode(errors="surrogateescape").decode(errors="replace") for name, text in texts.items()}
        return replace(self, **words)


def compare(recorded: Path, again: Path, *, by_time: bool = False) -> list[Difference]:
    """Return the first difference of each file, those of the earliest steps first; none where all bytes are equal.

    ``by_time`` is for a run that its time ended: it was done again with the same number of steps as the end, which
    config.yaml and the summary's message name otherwise.
    """
    folders = {path.name for root in (recorded, again) for path in root.iterdir() if _is_of_run(path)}
    found: list[Difference] = []
    for run in ("", *sorted(folders)):
        for name in SAME:
            if by_time and name == "config.yaml":
                continue
            difference = _of_file(recorded / run / name, again / run / name, run, by_time)
            if difference is not None:
                found.append(difference.in_unicode())
    return sorted(found, key=lambda difference: difference.step)


def _is_of_run(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _of_file(recorded: Path, again: Path, run: str, by_time: bool) -> Difference | None:
    there = [path.exists() or path.is_symlink() for path in (recorded, again)]
    name = recorded.name
    if not all(there):
        a, b = ("there" if each else "missing" for each in there)
        return Difference(run, name, "the file", a, b) if any(there) else None
    if _same_bytes(recorded, again):
        return None
    with existing(recorded) as ours, existing(again) as theirs:
        if name.endswith(".csv"):
            with contextlib.suppress(csv.Error):  # a quotation mark that never ends
                difference = _of_table(run, name, _text(ours), _text(theirs))
                if difference is not None:
                    return difference
            for stream in (ours, theirs):
                stream.seek(0)
        return _of_lines(run, name, _text(ours), _in_words(_text(theirs), by_time))


def _same_bytes(recorded: Path, again: Path) -> bool:
    with existing(recorded) as ours, existing(again) as theirs:
        while True:
            a, b = ours.read(2**20), theirs.read(2**20)
            if a != b:
                return False
            if not a:
                return True


def _text(stream: BinaryIO) -> Iterator[str]:
    return (line.decode(errors="surrogateescape") for line in stream)


def _in_words(lines: Iterator[str], by_time: bool) -> Iterator[str]:
    if not by_time:
        return lines
    return (line.replace('"max_steps reached at step ', '"max_seconds reached at step ') for line in lines)


def _of_lines(run: str, name: str, ours: Iterable[str], theirs: Iterable[str]) -> Difference | None:
    pairs = itertools.zip_longest(ours, theirs, fillvalue="(no line)")
    for line, (a, b) in enumerate(pairs, 1):
        if a != b:
            return Difference(run, name, f"line {line}", a.strip(), b.strip())
    return None


def _of_table(run: str, name: str, ours: Iterable[str], theirs: Iterable[str]) -> Difference | None:
    header: list[str] = []
    nothing: list[str] = []
    pairs = itertools.zip_longest(csv.reader(ours), csv.reader(theirs), fillvalue=nothing)
    for line, (a, b) in enumerate(pairs, 1):
        header = header or b
        for column, (x, y) in enumerate(itertools.zip_longest(a, b, fillvalue="(nothing)")):
            if x != y:
                title = header[column] if column < len(header) else f"column {column + 1}"
                key = (b or a)[0]
                where = f"{header[0]} {key}, {title}" if line > 1 and header else f"line {line}"
                first = header[:1] == ["step"] and key.isdecimal()
                return Difference(run, name, where, x, y, float(key) if first else float("inf"))
    return None


def here() -> dict[str, Any]:
    """Return what bits depend on besides the spec, of this process."""
    import torch

    return {
        "versions": {"gdcli": __version__, "torch": torch.__version__, "numpy": metadata.version("numpy")},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between a record's environment and this one: 'torch 2.12, here 2.13'."""
    versions = recorded.get("versions")
    old = dict(versions) if isinstance(versions, dict) else {}
    pairs: list[tuple[str, Any, Any]] = [(name, old.get(name), now["versions"][name]) for name in VERSIONS]
    pairs.append(("cpu_capability", recorded.get("cpu_capability"), now["cpu_capability"]))
    return [f"{name} {then}, here {value}" for name, then, value in pairs if str(then) != str(value)]
