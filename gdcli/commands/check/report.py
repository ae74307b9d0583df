"""What a gradient check found: of each parameter in all ways; of all of them, as a table, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gdcli.report import tables
from gdcli.storage import files

Dtype = Literal["float32", "float64"]
Array = NDArray[np.float64]

HAND, AUTOGRAD, DIFFERENCES = "by hand", "autograd", "differences"
TOLERANCES: dict[tuple[str, bool], float] = {
    ("float64", False): 1e-12,
    ("float64", True): 1e-6,
    ("float32", False): 1e-5,
    ("float32", True): 1e-3,
}
"""The largest relative error by dtype, and by whether one of the two ways is differences."""


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter in one dtype: the largest relative error of each pair of ways, None where one is not to be had."""

    dtype: Dtype
    parameter: str
    scalars: int
    differenced: int  # entries whose differences were taken
    errors: Mapping[tuple[str, str], float | None]


@dataclass(frozen=True, slots=True)
class ParameterCheck:
    """One scalar of a parameter and its derivative in two ways."""

    dtype: Dtype
    name: str  # linear1.weight[0,1]
    ways: tuple[str, str]
    values: tuple[float, float]
    error: float
    tolerance: float
    step_size: float | None  # of the difference, where one of the two is one

    def excess(self) -> float:
        """Return how much of its tolerance the error takes."""
        return self.error / self.tolerance if self.tolerance > 0 else self.error

    def text(self) -> str:
        """Return the entry with its two values on a line."""
        size = "" if self.step_size is None else f" (h = {self.step_size:g})"
        both = ", ".join(f"{way} {value!r}" for way, value in zip(self.ways, self.values, strict=True))
        return f"{self.name} in {self.dtype}: {both}{size}: relative error {self.error:.2g}"


@dataclass(frozen=True, slots=True)
class Slopes:
    """Differences of the loss at some entries of a parameter."""

    entries: NDArray[np.int64]  # [E]
    values: Array  # [E]
    doubt: Array  # [E] how far they may be from the derivative
    step_sizes: Array  # [E]
    at_kink: NDArray[np.bool_]  # [E] the loss has no derivative here


@dataclass(slots=True)
class Agreement:
    """The gradients of one parameter in one dtype in all ways, and how far each pair of them is apart."""

    dtype: Dtype
    name: str
    shape: tuple[int, ...]
    gradients: Mapping[str, Array]
    slopes: Slopes | None
    noise: Array
    tolerances: Mapping[tuple[str, bool], float]
    left_out: int = 0
    kinks: int = 0
    pairs: dict[tuple[str, str], tuple[NDArray[np.int64], Array]] = field(default_factory=dict)  # entries, errors [E]

    def __post_init__(self) -> None:
        every = np.arange(prod(self.shape))
        for a, b in combinations(self.gradients, 2):
            usual = TOLERANCES[self.dtype, False]
            self.pairs[a, b] = every, _errors(self.gradients[a], self.gradients[b], self.noise, usual)[0]
        if self.slopes is not None:
            self._against(self.slopes)

    def _against(self, slopes: Slopes) -> None:
        """Compare each gradient with the differences; what stands at a kink is left out."""
        doubt = slopes.doubt + self.noise[slopes.entries]
        smooth = ~slopes.at_kink
        self.kinks = int(slopes.at_kink.sum())
        for way, gradient in self.gradients.items():
            values = gradient[slopes.entries]
            errors, unresolved = _errors(values, slopes.values, doubt, TOLERANCES[self.dtype, True])
            self.left_out = max(self.left_out, int((unresolved & smooth).sum()))
            self.pairs[way, DIFFERENCES] = slopes.entries[smooth], errors[smooth]

    def row(self) -> Row:
        """Return the row of the table."""
        errors = {pair: float(e.max()) if len(e) else None for pair, (_, e) in self.pairs.items()}
        count = 0 if self.slopes is None else len(self.slopes.entries)
        return Row(self.dtype, self.name, prod(self.shape), count, errors)

    def failed(self) -> int:
        """Return how many entries are further apart than their tolerance."""
        bad = [entries[errors > self._tolerance(pair)] for pair, (entries, errors) in self.pairs.items()]
        return len(np.unique(np.concatenate(bad))) if bad else 0

    def worst(self) -> ParameterCheck:
        """Return the entry whose error is the largest part of its tolerance."""
        found = [
            self._entry(pair, int(entries[errors.argmax()]), float(errors.max()))
            for pair, (entries, errors) in self.pairs.items()
            if len(entries)
        ]
        nothing = ParameterCheck(self.dtype, self.name, (AUTOGRAD, AUTOGRAD), (0.0, 0.0), 0.0, 1.0, None)
        return max(found, key=ParameterCheck.excess, default=nothing)

    def _tolerance(self, pair: tuple[str, str]) -> float:
        return self.tolerances[self.dtype, DIFFERENCES in pair]

    def _entry(self, pair: tuple[str, str], index: int, error: float) -> ParameterCheck:
        place = f"[{','.join(map(str, np.unravel_index(index, self.shape)))}]" if self.shape else ""
        size = None
        values = [float(self.gradients[way][index]) for way in pair if way != DIFFERENCES]
        if self.slopes is not None and DIFFERENCES in pair:
            at = int(np.searchsorted(self.slopes.entries, index))
            size = float(self.slopes.step_sizes[at])
            values.append(float(self.slopes.values[at]))
        return ParameterCheck(
            self.dtype, self.name + place, pair, (values[0], values[1]), error, self._tolerance(pair), size
        )


def _errors(a: Array, b: Array, noise: Array, usual: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the relative errors, and which entries are too small to be told from each other beyond the noise."""
    with np.errstate(all="ignore"):
        larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
        unresolved = (noise > usual * larger) & (apart <= noise)
        errors = np.where(unresolved | (apart == 0), 0.0, apart / larger)
    return np.where(np.isnan(errors), np.inf, errors), unresolved & (larger > 0)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``worst`` is the entry whose error is the largest part of its tolerance."""

    name: str
    samples: int
    rows: tuple[Row, ...]
    tolerances: Mapping[tuple[str, bool], float]
    worst: ParameterCheck
    failed: int  # entries of which a pair is further apart than its tolerance
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every entry keeps its tolerance."""
        return self.failed == 0

    def text(self) -> str:
        """Return the table, what is to be known about it, the worst entry and the verdict."""
        pairs = list(dict.fromkeys(pair for row in self.rows for pair in row.errors))
        header = ["dtype", "parameter", "scalars", *(f"{a} ~ {b}" for a, b in pairs)]
        lines: list[list[Any]] = []
        for dtype in dict.fromkeys(row.dtype for row in self.rows):
            for row in (row for row in self.rows if row.dtype == dtype):
                errors = (row.errors[pair] for pair in pairs)
                short = (None if error is None else float(f"{error:.2g}") for error in errors)
                lines.append([dtype, row.parameter, row.scalars, *short])
            lines.append([dtype, "(tolerance)", None, *(self.tolerances[dtype, DIFFERENCES in p] for p in pairs)])
        what = f"{self.samples:,} row{'s' * (self.samples != 1)} of step 1, " if self.samples else ""
        text = f"{self.name}: gradients at the start values, {what}largest relative error of each parameter\n"
        text += tables.aligned(header, lines) + "".join(f"note: {note}\n" for note in self.notes)
        if self.worst.error > 0:
            text += f"worst: {self.worst.text()}\n"
        if self.passed:
            return text + "passed\n"
        return (
            text
            + f"failed: {self.failed:,} above the tolerance of {self.worst.tolerance:g}, the worst {self.worst.name}\n"
        )

    def json(self) -> str:
        """Return the report as one JSON document."""
        worst, rows = self.worst, []
        for row in self.rows:
            names = {pair: " ~ ".join(pair) for pair in row.errors}
            rows.append(
                {
                    **asdict(row),
                    "errors": {names[pair]: error for pair, error in row.errors.items()},
                    "tolerances": {names[pair]: self.tolerances[row.dtype, DIFFERENCES in pair] for pair in names},
                }
            )
        return files.json_text(
            {
                "name": self.name,
                "passed": self.passed,
                "failed_entries": self.failed,
                "rows": rows,
                "worst": {
                    "entry": worst.name,
                    "dtype": worst.dtype,
                    "values": dict(zip(worst.ways, worst.values, strict=True)),
                    "relative_error": worst.error,
                    "tolerance": worst.tolerance,
                    "step_size": worst.step_size,
                },
                "notes": list(self.notes),
            }
        )
