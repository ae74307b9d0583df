"""What a gradient check found, as a table, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
