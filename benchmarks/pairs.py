"""Rows of the table: two sides measured in turn, one figure against its bar, or what could not be measured.

It sets the number of threads that torch begins with: the benchmarks import torch inside their functions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.update(ENVIRONMENT)

Cells = tuple[str, ...]
HEADER = ("what", "ratio median (min..max)", "gdcli", "other", "bar", "")


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, pair by pair."""

    what: str
    bar: float | None  # none: only to be shown
    informative: bool = False  # a bar that a slow day may miss
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    def add(self, ours: float, plain: float) -> None:
        self.ours.append(ours)
        self.plain.append(plain)

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.plain)

    @property
    def is_met(self) -> bool:
        return self.bar is None or self.ratio <= self.bar

    @property
    def is_missed(self) -> bool:
        return not self.is_met and not self.informative

    def __str__(self) -> str:
        return f"{self.what}: {digits(self.ratio)}"

    def cells(self) -> Cells:
        ratios = [ours / plain for ours, plain in zip(self.ours, self.plain, strict=True)]
        span = f"{digits(self.ratio)} ({digits(min(ratios))}..{digits(max(ratios))})"
        return (self.what, span, of_time(median(self.ours)), of_time(median(self.plain)), *self._verdict())

    def _verdict(self) -> Cells:
        if self.bar is None:
            return "", ""
        return f"{digits(self.bar)}{' (informative)' if self.informative else ''}", "ok" if self.is_met else "NOT"


@dataclass(frozen=True)
class Figure:
    """One number against the most that it may be."""

    what: str
    value: float
    bar: float
    unit: str

    @property
    def is_missed(self) -> bool:
        return not self.value <= self.bar

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.2f} {self.unit}"

    def cells(self) -> Cells:
        verdict = "NOT" if self.is_missed else "ok"
        return self.what, "", f"{self.value:.2f} {self.unit}", "", f"{self.bar:g} {self.unit}", verdict


@dataclass(frozen=True)
class Skipped:
    """What this machine lacks something for."""

    what: str
    why: str
    is_missed: bool = False

    def __str__(self) -> str:
        return f"{self.what}: not measured, {self.why}"

    def cells(self) -> Cells:
        return self.what, f"not measured: {self.why}", "", "", "", ""


Row = Pairs | Figure | Skipped


def digits(value: float) -> str:
    """Return three decimals, of small numbers three digits.

    >>> digits(1 / 300), digits(0.05), digits(11.25)
    ('0.00333', '0.050', '11.250')
    """
    return f"{value:.3f}" if value >= 0.01 else f"{value:.3g}"


def of_time(seconds: float) -> str:
    """Return three digits with their unit.

    >>> of_time(0.0123), of_time(2.5), of_time(3.21e-5)
    ('12.3 ms', '2.50 s', '32.1 µs')
    """
    scale, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms")) if seconds >= s), (1e-6, "µs"))
    value = seconds / scale
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def text(rows: list[Cells], header: Cells = HEADER) -> str:
    """Return the table with its columns aligned."""
    return "".join(f"{'  '.join(row).rstrip()}\n" for row in _padded([header, *rows]))


def markdown(rows: list[Cells], header: Cells = HEADER) -> str:
    """Return the table as Markdown."""
    first, *rest = [f"| {' | '.join(row)} |\n" for row in _padded([header, *rows])]
    rule = "".join(c if c in "|\n" else "-" for c in first)
    return first + rule + "".join(rest)


def _padded(rows: list[Cells]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
