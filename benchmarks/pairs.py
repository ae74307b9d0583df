"""Rows of the table: two sides measured in turn, one figure against its bar, or what could not be measured.

A row of two sides is the ratio of their medians with its 95 % interval by the bootstrap. Beside it stands the null
comparison: what the same measurement says of the other side against itself. A bar is held where the lower end of the
interval is at or below it.

`compared` makes such a row from two sides, each a function that does its work once and returns the seconds it took:
`timed(work, clock)` is one, by the wall, by the processor (one process, one thread) or by the processor of the
processes that the work starts.

It sets the number of threads that torch begins with: the benchmarks import torch inside their functions.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.update(ENVIRONMENT)

Cells = tuple[str, ...]
HEADER = ("what", "ratio (95 %)", "other / itself (95 %)", "pairs", "clock", "gdcli", "other", "bar", "")
SHORT = 40
"""Pairs of a short row."""
DRAWS = 2000


# --- clocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """What is counted, in seconds."""

    name: str
    now: Callable[[], float]


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


WALL = Clock("wall", time.perf_counter)
PROCESSOR = Clock("processor", time.process_time)
CHILDREN = Clock("processor of processes", _of_children)
"""User and system seconds of the processes that were started and have ended."""

Side = Callable[[], float]
"""Does one side's work once and returns its seconds; what it does outside its clock is not counted."""


def timed(work: Callable[[], object], clock: Clock = PROCESSOR) -> Side:
    """Return a side of which all work counts."""

    def side() -> float:
        begun = clock.now()
        kept = work()
        found = clock.now() - begun
        del kept
        return found

    return side


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, pair by pair, and of the other side once more where there is a null comparison."""

    what: str
    bar: float | None  # none: only to be shown
    clock: Clock = WALL
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    def add(self, ours: float, plain: float, again: float | None = None) -> None:
        self.ours.append(ours)
        self.plain.append(plain)
        if again is not None:
            self.again.append(again)

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.plain)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the ratio."""
        return interval_of(self.ours, self.plain)

    @property
    def is_missed(self) -> bool:
        return self.bar is not None and self.interval[0] > self.bar

    def __str__(self) -> str:
        return f"{self.what}: {_span(self.ours, self.plain)}"

    def cells(self) -> Cells:
        null = _span(self.again, self.plain) if self.again else ""
        times = of_time(median(self.ours)), of_time(median(self.plain))
        span = _span(self.ours, self.plain)
        return (self.what, span, null, str(len(self.ours)), self.clock.name, *times, *self._verdict())

    def _verdict(self) -> Cells:
        if self.bar is None:
            return "", ""
        return digits(self.bar), "NOT" if self.is_missed else "ok"


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
        return self.what, "", "", "", "", f"{self.value:.2f} {self.unit}", "", f"{self.bar:g} {self.unit}", verdict


@dataclass(frozen=True)
class Skipped:
    """What this machine lacks something for."""

    what: str
    why: str
    is_missed: bool = False

    def __str__(self) -> str:
        return f"{self.what}: not measured, {self.why}"

    def cells(self) -> Cells:
        return self.what, f"not measured: {self.why}", "", "", "", "", "", "", ""


Row = Pairs | Figure | Skipped


def compared(
    what: str, bar: float | None, ours: Side, other: Side, *, pairs: int = SHORT, clock: Clock = PROCESSOR
) -> Pairs:
    """Measure both sides in turn, and the other one once more each time, beginning with another one each time.

    ``clock`` is only named: a side brings its own. Both are done once before, which is not counted.
    """
    found = Pairs(what, bar, clock=clock)
    sides = (ours, other, other)
    ours(), other()
    for k in range(pairs):
        seconds_of = {(k + turn) % 3: sides[(k + turn) % 3]() for turn in range(3)}
        found.add(seconds_of[0], seconds_of[1], seconds_of[2])
    return found


def interval_of(ours: Sequence[float], plain: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of medians: of pairs drawn anew, always the same draws.

    >>> interval_of([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    (0.5, 0.5)
    """
    drawn = np.random.default_rng(0).integers(len(ours), size=(DRAWS, len(ours)))
    ratios = np.median(np.asarray(ours)[drawn], axis=1) / np.median(np.asarray(plain)[drawn], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def _span(ours: Sequence[float], plain: Sequence[float]) -> str:
    low, high = interval_of(ours, plain)
    return f"{digits(median(ours) / median(plain))} ({digits(low)}..{digits(high)})"


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


def seconds(work: Callable[[], object], clock: Clock = WALL) -> float:
    """Return what some work takes of a clock."""
    begun = clock.now()
    work()
    return clock.now() - begun


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
