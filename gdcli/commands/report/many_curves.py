"""Curves of many runs: for each row the mean over its seeds and folds, with its 95 % interval, thinned."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.over_seeds import mean_curve
from gdcli.commands.report.run_page import text
from gdcli.commands.report.thinning import thinned
from gdcli.errors import DamagedError
from gdcli.records import where_diverged
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import json_file, lenient

Floats = NDArray[np.float64]
Rows = Sequence[tuple[str, Sequence[Path]]]
"""The label of each row and the folders of its runs."""

MOST_CURVES = 24
"""Rows whose curves are drawn: those of more cannot be told apart."""
MOST_POINTS = 300
"""Points of a curve."""
STEPS, EPOCHS = "steps", "epochs"
LOSS, SKIPPED = 3, ("epoch", "lr")


@dataclass(frozen=True, slots=True)
class RunColumns:
    """The recorded curves of one run, by their names, over its steps or epochs."""

    at: Floats  # [K]
    values: Mapping[str, Floats]  # [K] each
    ended: str  # where it diverged


Reading = Callable[[Path, str], "RunColumns | None"]
"""Takes a run's folder and what its curves are over: steps or epochs."""


def columns_of(folder: Path, over: str) -> RunColumns | None:
    """Return the recorded curves of a run over its steps or epochs; None where it has none."""
    return _steps(folder) if over == STEPS else _epochs(folder)


def of_rows(
    rows: Rows, ranks: Mapping[str, float], told: Callable[[str], object], reading: Reading = columns_of
) -> dict[str, Any]:
    """Return the curves of the best rows, in their order, over steps and epochs; what was left out by its count.

    ``ranks`` has what the best row has the least of. A file that cannot be read is told.
    """
    chosen = sorted(sorted(range(len(rows)), key=lambda k: ranks[rows[k][0]])[:MOST_CURVES])
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for k in chosen:
        label, folders = rows[k]
        for over in (STEPS, EPOCHS):
            runs = [run for folder in folders if (run := lenient(told, reading, folder, over)) is not None]
            for name in dict.fromkeys(name for run in runs for name in run.values):
                own = [run for run in runs if name in run.values and len(run.at)]
                if own:
                    found.setdefault((over, name), []).append(_series(label, name, own))
    charts: list[dict[str, Any]] = [
        {"over": over, "name": text(name), "series": series} for (over, name), series in found.items()
    ]
    last = {over: [s["last"] for c in charts if c["over"] == over for s in c["series"]] for over in (STEPS, EPOCHS)}
    has_batches = last[EPOCHS] and max(last[STEPS], default=0) > max(last[EPOCHS])
    return {"charts": charts, "first": EPOCHS if has_batches else STEPS, "total": len(rows), "kept": len(chosen)}


def _series(label: str, name: str, runs: Sequence[RunColumns]) -> dict[str, Any]:
    """Return the mean of one curve over the runs, with the ends of its interval where it has one, thinned."""
    at = max((run.at for run in runs), key=len)
    curve = mean_curve(label, at, [run.values[name] for run in runs], [run.ended for run in runs])
    parts = [np.asarray(part) for part in (curve.loss, curve.low, curve.high) if part is not None]
    kept = thinned(np.column_stack(parts), MOST_POINTS)
    mean, *band = ([value if np.isfinite(value) else None for value in part[kept].tolist()] for part in parts)
    found = {"label": label, "x": np.asarray(at)[kept].astype(int).tolist(), "values": mean, "runs": len(runs)}
    found |= {"low": band[0], "high": band[1]} if band else {}
    return found | {"total": len(at), "kept": len(kept), "last": int(at[-1])}


def _ended(folder: Path) -> str:
    summary = lenient(None, json_file, folder / "summary.json") or {}
    return where_diverged(str(summary.get("status")), str(summary.get("message")))


def _steps(folder: Path) -> RunColumns | None:
    """Return the loss of each step; None for a folder without steps.csv."""
    path = folder / "steps.csv"
    if not os.path.lexists(path):
        return None
    columns = NumberColumns(path)
    if columns.header[LOSS : LOSS + 1] != ["loss"]:
        raise DamagedError(f"{path}: is no table of steps")
    values = columns.numbers((0, LOSS), gaps=True)
    return RunColumns(values[:, 0], {"loss": values[:, 1]}, _ended(folder))


def _epochs(folder: Path) -> RunColumns | None:
    """Return the columns of epochs.csv; None for a folder without one."""
    path = folder / "epochs.csv"
    if not os.path.lexists(path):
        return None
    columns = NumberColumns(path)
    if not columns.header:
        raise DamagedError(f"{path}: has no header")
    values = columns.numbers(gaps=True)
    curves = {name: values[:, k] for k, name in enumerate(columns.header) if k and name not in SKIPPED}
    return RunColumns(values[:, 0], curves, _ended(folder))
