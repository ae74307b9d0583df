"""What a gradient check found: of each parameter in all ways; of all of them, as a table, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
class ParameterCheck:
    """One scalar of a parameter and its derivative in two ways."""

    dtype: Dtype
    name: str  # linear1.weight[0,1]
    values: Mapping[str, float]  # by way
    error: float
    tolerance: float
    step_size: float | None  # of the difference, where one of the two is one

    @property
    def excess(self) -> float:
        """How much of its tolerance the error takes."""
        return self.error / self.tolerance if self.tolerance > 0 else self.error

    def text(self) -> str:
        """Return the entry with its two values on a line."""
        size = "" if self.step_size is None else f" (h = {self.step_size:g})"
        both = ", ".join(f"{way} {value!r}" for way, value in self.values.items())
        return f"{self.name} in {self.dtype}: {both}{size}: relative error {self.error:.2g}"


@dataclass(frozen=True, slots=True)
class Slopes:
    """Differences of the loss at some entries of a parameter."""

    entries: NDArray[np.int64]  # [E]
    values: Array  # [E]
    doubt: Array  # [E] how far they may be from the derivative
    step_sizes: Array  # [E]
    at_kink: NDArray[np.bool_]  # [E] the loss has no derivative here


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter in one dtype: the largest relative error of each pair of ways, None where one is not to be had."""

    dtype: Dtype
    parameter: str
    scalars: int
    differenced: int  # entries whose differences were taken
    errors: Mapping[tuple[str, str], float | None]
    failed: int  # entries of which a pair is further apart than its tolerance
    worst: ParameterCheck  # the entry whose error is the largest part of its tolerance
    left_out: int  # entries that differences cannot judge beside the loss's rounding
    kinks: int  # entries at which the loss has no derivative


def row_of(
    dtype: Dtype, name: str, shape: tuple[int, ...], gradients: Mapping[str, Array], slopes: Slopes | None,
    noise: Array, tolerances: Mapping[tuple[str, bool], float],
) -> Row:  # fmt: skip
    """Return how far a parameter's gradients in all ways are apart, and where the most."""
    pairs, left_out = _compared(dtype, gradients, slopes, noise)

    def check(pair: tuple[str, str], index: int, error: float) -> ParameterCheck:
        place = f"[{','.join(map(str, np.unravel_index(index, shape)))}]" if shape else ""
        values = {way: float(gradients[way][index]) for way in pair if way != DIFFERENCES}
        step_size = None
        if slopes is not None and DIFFERENCES in pair:
            at = int(np.searchsorted(slopes.entries, index))
            values[DIFFERENCES], step_size = float(slopes.values[at]), float(slopes.step_sizes[at])
        return ParameterCheck(dtype, name + place, values, error, tolerances[dtype, DIFFERENCES in pair], step_size)

    found = [check(pair, int(at[e.argmax()]), float(e.max())) for pair, (at, e) in pairs.items() if len(at)]
    nothing = ParameterCheck(dtype, name, {AUTOGRAD: 0.0}, 0.0, 1.0, None)
    bad = [entries[errors > tolerances[dtype, DIFFERENCES in pair]] for pair, (entries, errors) in pairs.items()]
    return Row(
        dtype, name, prod(shape), 0 if slopes is None else len(slopes.entries),
        {pair: float(errors.max()) if len(errors) else None for pair, (_, errors) in pairs.items()},
        len(np.unique(np.concatenate(bad))) if bad else 0, max(found, key=lambda one: one.excess, default=nothing),
        left_out, 0 if slopes is None else int(slopes.at_kink.sum()),
    )  # fmt: skip


def _compared(
    dtype: Dtype, gradients: Mapping[str, Array], slopes: Slopes | None, noise: Array
) -> tuple[dict[tuple[str, str], tuple[NDArray[np.int64], Array]], int]:
    """Return entries and errors [E] of each pair of ways, without the kinks, and how many differences cannot judge."""
    every, left_out = np.arange(len(noise)), 0
    pairs = {
        (a, b): (every, _errors(gradients[a], gradients[b], noise, TOLERANCES[dtype, False])[0])
        for a, b in combinations(gradients, 2)
    }
    if slopes is not None:
        smooth, doubt = ~slopes.at_kink, slopes.doubt + noise[slopes.entries]
        for way, gradient in gradients.items():
            errors, unresolved = _errors(gradient[slopes.entries], slopes.values, doubt, TOLERANCES[dtype, True])
            left_out = max(left_out, int((unresolved & smooth).sum()))
            pairs[way, DIFFERENCES] = slopes.entries[smooth], errors[smooth]
    return pairs, left_out


def _errors(a: Array, b: Array, noise: Array, usual: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the relative errors, and which entries are too small to be told from each other beyond the noise."""
    with np.errstate(all="ignore"):
        larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
        unresolved = (noise > usual * larger) & (apart <= noise)
        errors = np.where(unresolved | (apart == 0), 0.0, apart / larger)
    return np.where(np.isnan(errors), np.inf, errors), unresolved & (larger > 0)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    name: str
    samples: int
    rows: tuple[Row, ...]
    tolerances: Mapping[tuple[str, bool], float]
    notes: tuple[str, ...]

    @property
    def worst(self) -> ParameterCheck:
        """The entry whose error is the largest part of its tolerance."""
        return max((row.worst for row in self.rows), key=lambda entry: entry.excess)

    @property
    def failed(self) -> int:
        """Entries of which a pair is further apart than its tolerance."""
        return sum(row.failed for row in self.rows)

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
        worst = self.worst
        rows = [
            {
                "dtype": row.dtype,
                "parameter": row.parameter,
                "scalars": row.scalars,
                "differenced": row.differenced,
                "errors": {" ~ ".join(pair): error for pair, error in row.errors.items()},
                "tolerances": {" ~ ".join(p): self.tolerances[row.dtype, DIFFERENCES in p] for p in row.errors},
            }
            for row in self.rows
        ]
        return files.json_text(
            {
                "name": self.name,
                "passed": self.passed,
                "failed_entries": self.failed,
                "rows": rows,
                "worst": {
                    "entry": worst.name,
                    "dtype": worst.dtype,
                    "values": dict(worst.values),
                    "relative_error": worst.error,
                    "tolerance": worst.tolerance,
                    "step_size": worst.step_size,
                },
                "notes": list(self.notes),
            }
        )
