"""A sweep over keys of the spec: a run per point, one folder, a table, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from gdcli import records
from gdcli.commands.stats import Interval, are_identical, interval, with_half, without_chance
from gdcli.engine.batches import draws_in_training
from gdcli.engine.evaluation import metric_names
from gdcli.engine.loop import Interrupt
from gdcli.records import Ranking, Result
from gdcli.report import plots, tables
from gdcli.runner import run_picture
from gdcli.runner.batch import BatchCallbacks, Plan, ResultRows, counts, kernel_line, ranked, rows_of, run_all
from gdcli.runner.record_run import Warn
from gdcli.storage import files
from gdcli.storage.run_folder import Timing

_BY_LOSS = Ranking()
SHOWN = 50
"""Rows of a printed table; a sweep of more shows its best."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A run, or all runs of a point, of several seeds and folds: the mean final loss, and what it is ranked by."""

    label: str
    values: tuple[Any, ...]
    loss: float
    value: Interval
    runs: int


@dataclass(slots=True)
class TrainingSweep:
    """A sweep over keys: its runs, one folder, a table of them."""

    plan: Plan
    folds: int = 0  # that each point was trained on, the last axis
    folder: Path = Path()
    again: bool = False
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False

    @property
    def trained(self) -> Sequence[Result]:
        """The results of all runs."""
        return self.results

    def prepare(self, timing: Timing, interrupt: Interrupt, callbacks: BatchCallbacks) -> None:
        """Nothing comes before the runs."""

    def train(self, interrupt: Interrupt, callbacks: BatchCallbacks, rows: ResultRows) -> None:
        """Train all."""
        self.results = run_all(self.plan, self.folder, interrupt, callbacks, rows, again=self.again)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of results.csv."""
        return rows_of(self.plan, self.results)

    def json(self) -> str:
        """Return the results as one JSON document."""
        return files.json_text({"folder": str(self.folder), "runs": self.rows()})

    def summary(self) -> dict[str, Any]:
        """Return the best run, and what it was ranked by where that is not the final loss."""
        by = self.plan.ranking
        if not self.results:
            return {}
        label, loss, value = self._winner()
        found: dict[str, Any] = {"best": label, "best_loss": loss}
        found |= {"folds": self.folds} if self.folds else {}
        found |= {"seeds": self._seeds} if self._seeds else {}
        return found if by.name == "final_loss" else {**found, "ranked_by": by.name, "best_value": value}

    def _winner(self) -> tuple[str, float, float]:
        """Return the best point's label, loss, and what it is ranked by; where a run is a point, no others are made."""
        if self._seeds or self.folds:
            best = self._points()[0]
            return best.label, best.loss, best.value.mean
        by = self.plan.ranking
        first = min(self.results, key=lambda result: (by.key(result), result.number))
        return first.label, first.rank, -by.key(first) if by.highest_first else by.key(first)

    def table(self) -> str:
        """Return the table that is printed: a row per run in the order asked for; of many, the best and the count."""
        shown, note = self.results, ""
        if len(shown) > SHOWN:
            shown = ranked(shown, self.plan.ranking)[:SHOWN]
            tally = ", ".join(f"{count:,} {status}" for status, count in counts(self.results).items())
            note = f"{len(self.results):,} runs, {tally}; the {SHOWN} best are shown, results.csv has all\n"
        note += self._best()
        metrics = metric_names(self.plan.measured)
        names = [*self.plan.axes, "final loss", "best loss", "steps", "epochs", "status", *metrics]
        names += ["weights", "data", "order"]
        return tables.aligned(names, [self._row(result, metrics) for result in shown]) + note + self._told()

    @property
    def _seeds(self) -> int:
        """How many seeds each point is trained with, where there is another axis beside them; else 0."""
        others = [name for name in self.plan.axes if name not in ("seed", "fold")]
        if not others or "seed" not in self.plan.axes:
            return 0
        k = self.plan.axes.index("seed")
        return len({run.trial.values[k] for run in self.plan.runs})

    def _best(self) -> str:
        """Say what is the best by a metric, held-out rows, or the mean over seeds and folds, and these means."""
        by = self.plan.ranking
        counted = ((self._seeds, "seeds"), (self.folds, "folds"))
        over = " and ".join(f"{count} {what}" for count, what in counted if count)
        if len(self.results) < 2 or not (over or by.name != "final_loss"):
            return ""
        points = self._points()
        name = "final loss" if by.name == "final_loss" else by.name
        table, best = self._means(points, name) if over and len(points) > 1 else "", points[0]
        if not isfinite(best.value.mean):
            return table
        score, which = f"the mean {name} over {over}" if over else name, "highest" if by.highest_first else "lowest"
        return f"{table}best by {score}, the {which} first: {best.label} ({best.value.mean:.6g})\n"

    def _means(self, points: Sequence[_Point], name: str) -> str:
        """Return the means of the points over their seeds and folds, the best first."""
        axes = [axis for axis in self.plan.axes if axis != "fold" and not (axis == "seed" and self._seeds)]
        rows = [[*point.values, point.runs, with_half(point.value)] for point in points[:SHOWN]]
        over = "folds, which share rows, so that it is rather too short" if self.folds else "seeds"
        told = f"± is half the 95 % interval of the mean over the {over}\n" if "±" in str(rows) else ""
        return tables.aligned([*axes, "runs", f"mean {name}"], rows) + told

    def _points(self) -> list[_Point]:
        """Return all points, the best first: the runs, or those of each point that differ in seed and fold alone."""
        by, axes = self.plan.ranking, self.plan.axes
        repeated = {name for name, count in (("seed", self._seeds), ("fold", self.folds)) if count}
        found: dict[Any, list[Result]] = {}
        for result in self.results:
            own = tuple(str(value) for name, value in zip(axes, result.values, strict=True) if name not in repeated)
            found.setdefault(own if repeated else result.number, []).append(result)
        sign, points = (-1 if by.highest_first else 1), []
        for members in found.values():
            first = members[0]
            missing = [inf] * (max(self._seeds, 1) * max(self.folds, 1) - len(members))  # interrupted: it comes last
            label, values = first.label, []
            for name, value in zip(axes, first.values, strict=True):
                if name in repeated:
                    label = f",{label},".replace(f",{name}={value},", ",", 1).strip(",")
                else:
                    values.append(value)
            key = interval([*map(by.key, members), *missing])
            scored = key if sign > 0 else Interval(-key.mean, -key.high, -key.low, key.count)
            if are_identical(members, drawn=draws_in_training(self.plan.runs[first.number - 1].loaded)):
                scored = replace(scored, low=nan, high=nan)
            loss = interval([*(run.rank for run in members), *missing]).mean
            points.append((key.mean, first.number, _Point(label, tuple(values), loss, scored, len(members))))
        return [point for _, _, point in sorted(points, key=lambda each: each[:2])]

    def _told(self) -> str:
        return self._without_chance() + kernel_line(self.results)

    def _without_chance(self) -> str:
        if "seed" not in (axes := self.plan.axes):
            return ""
        drawn = {run.number: draws_in_training(run.loaded) for run in self.plan.runs}
        rows: dict[str, list[Result]] = {}
        for result in self.results:
            point = [f"{name}={value}" for name, value in zip(axes, result.values, strict=True) if name != "seed"]
            rows.setdefault(",".join(point), []).append(result)
        certain = [label for label, runs in rows.items() if are_identical(runs, drawn=drawn[runs[0].number])]
        return without_chance(certain, len(rows), max(map(len, rows.values()), default=0))

    def _row(self, result: Result, metrics: Sequence[str]) -> list[Any]:
        row = records.results_row(result)[1:]
        values, (status, final, best, steps, epochs, *hashes) = row[:-8], row[-8:]
        numbers = [value if isfinite(value := result.metrics.get(name, nan)) else None for name in metrics]
        return [*values, final, best, steps, epochs, status, *numbers, *(value or "-" for value in hashes)]

    def draw(self, warning: Warn) -> None:
        """Draw what the runs are ranked by, the final loss or a metric, over the axes."""
        files.draw(self.folder / "sweep.png", self.picture, warning)

    def picture(self, form: plots.Form = "png") -> bytes:
        """Return the picture of what the runs are ranked by over the axes."""
        plan, by = self.plan, self.plan.ranking
        label, title = run_picture.loss_label(plan.loaded), plan.loaded.spec.name
        best: plots.Best = "loss"
        if by.name != "final_loss":
            best = "highest" if by.highest_first else "lowest"
            label = f"{by.name.replace('_', ' ')} ({best} best)"
        if len(plan.axes) == 1:
            values = [result.values[0] for result in self.results]
            drawn = np.array([by.value(result) for result in self.results])
            return plots.in_form(plots.sweep_runs, form)(
                plan.axes[0], values, drawn, title=title, loss_label=label, best=best
            )
        return _profiles(plan.axes, self.results, title, label, by, best, form)


def _profiles(
    axes: Sequence[str], found: Sequence[Result], title: str, label: str, by: Ranking = _BY_LOSS,
    best: plots.Best = "loss", form: plots.Form = "png",
) -> bytes:  # fmt: skip
    """Return the picture of a product: what ranks its runs over its first axis of numbers, a line per combination of
    others.

    An axis of seeds is no combination, the line is the mean over them; nor is one that only repeats another, as in a
    zip.
    """
    columns = dict(zip(axes, zip(*(result.values for result in found), strict=True), strict=True))
    names = [name for name in axes if name not in ("seed", "fold")] or list(axes)
    varying = [name for name in names if len({str(value) for value in columns[name]}) > 1] or names
    x = next((name for name in varying if _of_numbers(columns[name])), varying[0])
    others = [name for name in varying if len(set(_pairs(columns, x, name))) > len(set(_pairs(columns, x, x)))]
    lines: dict[tuple[str, ...], dict[Any, list[float]]] = {}
    for k, result in enumerate(found):
        line = lines.setdefault(tuple(_word(columns[name][k]) for name in others), {})
        line.setdefault(_hashable(columns[x][k]), []).append(by.key(result))
    full = [", ".join(map("=".join, zip(others, words, strict=True))) for words in lines]
    short = len(others) > 1 and max(map(len, full)) > LONG
    rows = []
    for words, text, points in zip(lines, full, lines.values(), strict=True):
        means = [interval(losses_) for losses_ in points.values()]
        loss, low, high = (np.array([getattr(m, part) for m in means]) for part in ("mean", "low", "high"))
        if by.highest_first:  # the key is the value with its sign turned
            loss, low, high = -loss, -high, -low
        rows.append(plots.Curve(", ".join(words) if short else text, list(points), loss, low, high))
    runs = max(len(losses_) for line in lines.values() for losses_ in line.values())
    repeated = [name for name in ("seed", "fold") if name in axes]
    bars = f"bars: 95 % interval of the mean, {runs} {'runs' if len(repeated) != 1 else f'{repeated[0]}s'}"
    heading = ", ".join(others) if short else ""
    return plots.in_form(plots.sweep_profiles, form)(
        rows,
        title=title,
        loss_label=f"final {label}" if best == "loss" else label,
        x_label=x,
        heading=heading,
        bar_label=bars,
        best=best,
    )


LONG = 28
"""Characters of a line's name up to which it repeats the names of the axes; longer ones have them as a heading."""


def _of_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _pairs(columns: dict[str, tuple[Any, ...]], x: str, name: str) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in zip(columns[x], columns[name], strict=True)]


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
