"""The pictures of a comparison: curves with bands over the seeds, and paths on the contour of two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.compare.table import Line
from gdcli.engine.grid import losses
from gdcli.engine.problem import build
from gdcli.report import plots
from gdcli.runner.record_run import loss_label
from gdcli.spec.load import Loaded

X = Literal["steps", "epochs", "evaluations"]
LABELS = {"steps": "step", "epochs": "epoch", "evaluations": "gradient evaluation"}
CLOSED_FORM = "closed_form"  # the label of the least-squares solution
SIDE = 240  # points of the contour's grid, each way
WORK = 2e9  # rows of data times points of the grid, at most about so many


def curves(lines: Sequence[Line], loaded: Loaded, x: X | None) -> bytes:
    """Return the picture of all loss curves.

    Without a choice of x, steps where every row takes one an epoch, else epochs; over epochs and gradient evaluations
    the losses of an epoch's batches are averaged, those of single small batches would hide each other. The closed form
    is a line to compare with.
    """
    levels = [("closed form", line.final().mean) for line in lines if line.label == CLOSED_FORM]
    lines = [line for line in lines if line.label != CLOSED_FORM]
    per_epoch = [line.effort.steps_per_epoch for line in lines]
    x = x or ("steps" if max(per_epoch) == 1 else "epochs")
    drawn = [curve for line in lines if (curve := _curve(line, x)) is not None]
    label = loss_label(loaded)
    if x != "steps" and max(per_epoch) > 1:
        label += ", epoch mean"
    seeds = max(len(line.results) for line in lines)
    band = f"band: 95 % interval of the mean, {seeds} seeds" if seeds > 1 else ""
    title = loaded.spec.name
    return plots.comparison(
        drawn, title=title, loss_label=label, x_label=LABELS[x], band_label=band, levels=levels
    )  # fmt: skip


def _curve(line: Line, x: X) -> plots.Curve | None:
    """Return the mean over the seeds, with its interval."""
    runs = [result.losses for result in line.results if result.losses is not None]
    if not runs:
        return None
    size = 1 if x == "steps" else line.effort.steps_per_epoch
    series = [_means(run, size) for run in runs]
    length = max(map(len, series))
    table = np.full((len(series), length), np.nan)  # [S, K]; a run that ended earlier keeps its last loss
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
        row[len(values) :] = values[-1] if len(values) else np.nan
    places = np.arange(1.0, length + 1)
    if x == "evaluations":
        places = np.array([float(line.effort.evaluations(int(k) * size)) for k in places])
    if len(runs) == 1:
        return plots.Curve(line.label, places, table[0])
    mean, half = _interval(table)
    return plots.Curve(line.label, places, mean, mean - half, mean + half)


def _means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the mean of each stretch of ``size`` values; the last may be shorter."""
    if size == 1:
        return values
    starts = np.arange(0, len(values), size)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.add.reduceat(values, starts) if len(starts) else np.empty(0)
    return np.asarray(sums / np.diff([*starts, len(values)]))


def _interval(table: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and half the 95 % interval of each column [S, K], as `gdcli.commands.stats.interval` has them."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types

    count = len(table)
    with np.errstate(all="ignore"):
        mean, deviation = table.mean(axis=0), table.std(axis=0, ddof=1)
    return mean, stdtrit(count - 1, 0.975) * deviation / np.sqrt(count)


def paths(lines: Sequence[Line], loaded: Loaded) -> bytes | None:
    """Return the paths of all rows on one contour of the loss; None where the model has not two parameters."""
    drawn = [
        (line, result.path)
        for line in lines
        if (result := line.results[0]).path is not None and result.path.shape[1] == 2
    ]
    if not drawn:
        return None
    trails = [plots.Trail(line.label, path) for line, path in drawn]
    seeds = max(len(line.results) for line, _ in drawn)
    built = build(loaded)
    names = [name for parameter in built.theta.parameters() for name in parameter.scalars]
    side = int(np.clip(np.sqrt(WORK / max(1, len(built.batches.x))), 60, SIDE))
    (x, y) = (grid_axis([trail.points[:, k] for trail in trails], side) for k in (0, 1))
    points = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y, indexing="ij")], axis=1)
    values = losses(built, names, points).reshape(len(x), len(y)).T
    note = f"the first of {seeds} seeds" if seeds > 1 else ""
    title, label = loaded.spec.name, loss_label(loaded)
    return plots.paths((names[0], names[1]), x, y, values, trails, title=title, loss_label=label, note=note)


def grid_axis(columns: Sequence[NDArray[np.float64]], side: int) -> NDArray[np.float64]:
    """Return the grid of one axis: all paths with a margin, one that runs away cut where most points are."""
    inside = np.concatenate([column[np.isfinite(column)] for column in columns])
    middle = np.concatenate([column[np.isfinite(column)][:1] for column in columns] + [[np.median(inside)]])
    spread = np.subtract(*np.quantile(inside, [0.98, 0.02])) or 1.0
    low = max(inside.min(), min(middle.min(), np.quantile(inside, 0.02)) - spread)
    high = min(inside.max(), max(middle.max(), np.quantile(inside, 0.98)) + spread)
    margin = 0.12 * ((high - low) or 1.0)
    return np.linspace(low - margin, high + margin, side)
