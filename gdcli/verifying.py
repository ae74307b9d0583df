"""A record beside the same done again: bit-identical, or where they first differ, and what differs in the machines."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gdcli import __version__
from gdcli.library.record import content

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


def compare(recorded: Path, again: Path) -> list[Difference]:
    """Return the first difference of each file, those of the earliest steps first; none where all bytes are equal."""
    folders = {path.name for root in (recorded, again) for path in root.iterdir() if _is_of_run(path)}
    found: list[Difference] = []
    for run in ("", *sorted(folders)):
        for name in SAME:
            difference = _of_file(recorded / run / name, again / run / name, run)
            if difference is not None:
                found.append(difference)
    return sorted(found, key=lambda difference: difference.step)


def _is_of_run(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _of_file(recorded: Path, again: Path, run: str) -> Difference | None:
    ours, theirs = content(recorded), content(again)
    if ours == theirs:
        return None
    name = recorded.name
    if ours is None or theirs is None:
        there, missing = "there", "missing"
        return Difference(run, name, "the file", *((missing, there) if ours is None else (there, missing)))
    texts = ours.decode(errors="replace"), theirs.decode(errors="replace")
    return _of_table(run, name, *texts) if name.endswith(".csv") else _of_lines(run, name, *texts)


def _of_lines(run: str, name: str, ours: str, theirs: str) -> Difference:
    pairs = itertools.zip_longest(ours.split("\n"), theirs.split("\n"), fillvalue="(no line)")
    line, (a, b) = next((k, pair) for k, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return Difference(run, name, f"line {line}", a.strip(), b.strip())


def _of_table(run: str, name: str, ours: str, theirs: str) -> Difference:
    header = next(_rows(theirs), [])
    nothing: list[str] = []
    pairs = itertools.zip_longest(_rows(ours), _rows(theirs), fillvalue=nothing)
    for line, (a, b) in enumerate(pairs, 1):
        for column, (x, y) in enumerate(itertools.zip_longest(a, b, fillvalue="(nothing)")):
            if x != y:
                title = header[column] if column < len(header) else f"column {column + 1}"
                key = (b or a)[0]
                where = f"{header[0]} {key}, {title}" if line > 1 and header else f"line {line}"
                first = header[:1] == ["step"] and key.isdecimal()
                return Difference(run, name, where, x, y, float(key) if first else float("inf"))
    return _of_lines(run, name, ours, theirs)


def _rows(text: str) -> Iterator[list[str]]:
    return csv.reader(text.splitlines())


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
