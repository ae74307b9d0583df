"""What is shown of a comparison: a table with a row per optimizer or batch mode, curves, paths on a contour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.over_seeds import Line, mean_curve
from gdcli.commands.stats import Interval, mean_text, with_half, without_chance
from gdcli.engine.grid import losses
from gdcli.engine.problem import build
from gdcli.records import Ranking, where_diverged, with_last
from gdcli.report import plots, tables
from gdcli.runner.run_picture import loss_label
from gdcli.spec.load import Loaded

X = Literal["steps", "epochs", "evaluations"]
LABELS = {"steps": "step", "epochs": "epoch", "evaluations": "gradient evaluation"}
CLOSED_FORM = "closed_form"  # the label of the least-squares solution
SIDE = 240  # points of the contour's grid, each way
WORK = 2e9  # rows of data times points of the grid, at most about so many


def one_seed(lines: Sequence[Line], metrics: Sequence[str], *, target: bool) -> str:
    """Return the table of one run per row."""
    names = ["optimizer", "lr", "lr from", "final loss", "best loss", "steps", "epochs", "status"]
    names += metrics
    names += _TO_TARGET if target else []
    rows = []
    for line in lines:
        (result,) = line.results
        row: list[Any] = [line.label, line.lr, line.lr_from, _finite(result.loss), _finite(result.best_loss)]
        row += [
            result.steps,
            result.epochs,
            result.status,
            *(_finite(result.metrics.get(name, nan)) for name in metrics),
        ]
        if target:
            row += [mean_text(part.mean) for part in line.to_target()]
        rows.append([*row, *(value or "-" for value in result.hashes or ("", "", ""))])
    return tables.aligned([*names, "weights", "data", "order"], rows)


_TO_TARGET = ["to target: steps", "epochs", "evaluations"]


def several_seeds(lines: Sequence[Line], metrics: Sequence[str], by: Ranking, *, target: bool, folds: int = 0) -> str:
    """Return the table of several runs per row: means, 95 % intervals, the paired difference to the first row.

    The difference is that of what the rows are ranked by, whose column has the interval too.
    """
    names = ["optimizer", "lr", "lr from", "final loss", "best loss", *metrics]
    names += [*_TO_TARGET, "reached"] if target else []
    of = "" if by.name == "final_loss" else f"{by.name} "
    names += [f"{of}minus {lines[0].label}", "ended"]
    rows = []
    for line in lines:
        final = line.final()
        row: list[Any] = [line.label, line.lr, line.lr_from, with_half(final), mean_text(line.best())]
        row += [with_half(line.ranked(by)) if name == by.name else mean_text(line.metric(name)) for name in metrics]
        if target:
            row += [mean_text(part.mean) for part in line.to_target()]
            row.append(f"{line.reached()}/{len(line.results)}")
        row.append("" if line is lines[0] else with_half(line.difference(lines[0], by)))
        endings = Counter(result.status for result in line.results)  # 8 finished, 2 diverged
        rows.append([*row, ", ".join(f"{count} {status}" for status, count in endings.items())])
    trained = [line for line in lines if line.label != CLOSED_FORM]
    certain = [line.label for line in trained if line.is_certain]
    same = without_chance(certain, len(trained), len(lines[0].results))
    over = f"{folds} folds, which share rows, so that it is rather too short" if folds else "seeds"
    told = f"± is half the 95 % interval of the mean over the {over}\n" if "±" in str(rows) else ""
    return tables.aligned(names, rows) + told + same


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def as_data(lines: Sequence[Line], metrics: Sequence[str], by: Ranking, *, target: bool) -> list[dict[str, Any]]:
    """Return the rows as data, for summary.json and --json."""
    found = []
    for line in lines:
        row: dict[str, Any] = {
            "label": line.label, "lr": line.lr, "lr_from": line.lr_from, "seeds": len(line.results),
            "final_loss": _ends(line.final()), "best_loss": line.best(),
        }  # fmt: skip
        row |= {name: line.metric(name) for name in metrics}
        if target:
            names, means = ("steps", "epochs", "evaluations"), [part.mean for part in line.to_target()]
            row["to_target"] = {"reached": line.reached(), **dict(zip(names, means, strict=True))}
        if line is not lines[0]:
            row["difference"] = _ends(line.difference(lines[0]))
        if by.name != "final_loss":
            row["ranked"] = {"by": by.name, **_ends(line.ranked(by))}
            if line is not lines[0]:
                row["ranked"]["difference"] = _ends(line.difference(lines[0], by))
        found.append(row)
    return found


def _ends(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


# --- pictures ---------------------------------------------------------------------------------------------------------


def curves(lines: Sequence[Line], loaded: Loaded, x: X | None, form: plots.Form = "png") -> bytes:
    """Return the picture of all loss curves.

    Without a choice of x, steps where every row takes one an epoch, else epochs; over epochs and gradient evaluations
    the losses of an epoch's batches are those of all its rows, single small batches would hide each other. The closed
    form is a line to compare with. Of few steps on all rows, the loss after the last update is shown too.
    """
    levels = [("closed form", line.final().mean) for line in lines if line.label == CLOSED_FORM]
    lines = [line for line in lines if line.label != CLOSED_FORM]
    per_epoch = [line.effort.steps_per_epoch for line in lines]
    x = x or ("steps" if max(per_epoch) == 1 else "epochs")
    steps = [len(result.losses) for line in lines for result in line.results if result.losses is not None]
    last = x == "steps" and max(per_epoch) == 1 and 0 < max(steps, default=0) <= plots.FEW
    drawn = [curve for line in lines if (curve := _curve(line, x, last=last)) is not None]
    label = loss_label(loaded)
    if x != "steps" and max(per_epoch) > 1:
        label += ", epoch sum" if lines[0].effort.sums else ", epoch mean"
    seeds = max(len(line.results) for line in lines)
    what = "runs" if loaded.spec.all_folds else "seeds"
    band = f"band: 95 % interval of the mean, {seeds} {what}" if seeds > 1 else ""
    title = loaded.spec.name
    return plots.in_form(plots.comparison, form)(
        drawn, title=title, loss_label=label, x_label="updates" if last else LABELS[x], band_label=band, levels=levels
    )  # fmt: skip


def _curve(line: Line, x: X, *, last: bool) -> plots.Curve | None:
    """Return the mean over the seeds, with its interval; `last`: with the loss after the last update."""
    found = [(result, result.losses) for result in line.results if result.losses is not None]
    ends = [where_diverged(result.status, result.message) for result, _ in found]
    runs = [losses for _, losses in found]
    if last:
        runs = [with_last(losses, r.loss, gone) for (r, losses), gone in zip(found, ends, strict=True)]
    if not runs:
        return None
    size = 1 if x == "steps" else line.effort.steps_per_epoch
    series = runs if x == "steps" else [line.effort.epoch_losses(run) for run in runs]
    places = np.arange(float(max(map(len, series)))) + (not last)
    if x == "evaluations":
        places = np.array([float(line.effort.evaluations(int(k) * size)) for k in places])
    return mean_curve(line.label, places, series, ends)


def paths(lines: Sequence[Line], loaded: Loaded, form: plots.Form = "png") -> bytes | None:
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
    shown = plots.Plane((names[0], names[1]), x, y, values, trails, note)
    return plots.in_form(plots.plane, form)(shown, title=loaded.spec.name, loss_label=loss_label(loaded))


def grid_axis(columns: Sequence[NDArray[np.float64]], side: int) -> NDArray[np.float64]:
    """Return the grid of one axis: all paths with a margin, one that runs away cut where most points are."""
    inside = np.concatenate([column[np.isfinite(column)] for column in columns])
    middle = np.concatenate([column[np.isfinite(column)][:1] for column in columns] + [[np.median(inside)]])
    spread = np.subtract(*np.quantile(inside, [0.98, 0.02])) or 1.0
    low = max(inside.min(), min(middle.min(), np.quantile(inside, 0.02)) - spread)
    high = min(inside.max(), max(middle.max(), np.quantile(inside, 0.98)) + spread)
    margin = 0.12 * ((high - low) or 1.0)
    return np.linspace(low - margin, high + margin, side)
