"""A comparison from its rows to its folder: tuning, the runs of every seed, table and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from gdcli import records
from gdcli.commands import specs
from gdcli.commands.compare import shown
from gdcli.commands.compare.shown import CLOSED_FORM
from gdcli.commands.over_seeds import Line
from gdcli.commands.stats import interval
from gdcli.engine.batches import draws_in_training, effort_of
from gdcli.engine.closed_form import Solution, solve
from gdcli.engine.evaluation import metric_names
from gdcli.engine.loop import Interrupt
from gdcli.plan import SpecFactory, Trial, extended, in_folds
from gdcli.records import Effort, Ranking, Result
from gdcli.report import plots
from gdcli.runner import run_picture
from gdcli.runner.batch import BatchCallbacks, Plan, ResultRows, kernel_line, rows_of, run_all
from gdcli.runner.jobs import Capture, PlannedRun, columns_of
from gdcli.runner.provenance import data_hash
from gdcli.runner.record_run import Warn
from gdcli.storage import csv_writer, files
from gdcli.storage.run_folder import Timing

ONE_BY_ONE = 20
"""Runs up to which a comparison trains each alone, with the bits of `run`; more train as fleets."""


@dataclass(slots=True, kw_only=True)
class ComparisonRun:
    """One comparison: its plan has no runs until those that tune are done."""

    plan: Plan
    factory: SpecFactory
    trials: Sequence[Trial]  # of the rows: values are label, lr and where it is from
    seeds: Sequence[int]
    changes: Sequence[tuple[tuple[str, Any], ...]]  # of each reporting seed; one empty tuple for the spec's own
    grid: Sequence[float] | None  # of learning rates, for tuning
    tuning_changes: Sequence[tuple[tuple[str, Any], ...]]  # of each tuning seed
    closed_form: bool = False
    x: shown.X | None = None
    folds: Sequence[int] = ()  # that each seed's rows are divided into
    tuned: list[Tuned] = field(default_factory=list)
    tuning: list[Result] = field(default_factory=list)  # of the runs that tuned
    folder: Path = Path()
    again: bool = False
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False

    @property
    def trained(self) -> Sequence[Result]:
        """The results of all runs, those that tuned too."""
        return [*self.tuning, *self.results]

    # --- what is run --------------------------------------------------------------------------------------------------

    def prepare(self, timing: Timing, interrupt: Interrupt, callbacks: BatchCallbacks) -> None:
        """Tune, and plan the runs of the table."""
        trials = self.trials
        if self.grid is not None:
            with timing.phase("tuning"):
                trials = self._tune(self.grid, interrupt, callbacks)
        runs = self._runs(self._points(trials))
        axes = ["label", "lr", "lr_from", *(["seed"] if len(self.seeds) > 1 else []), *(["fold"] if self.folds else [])]
        self.plan = replace(self.plan, runs=runs, axes=axes, fleets=self.plan.fleets and len(runs) > ONE_BY_ONE)

    def train(self, interrupt: Interrupt, callbacks: BatchCallbacks, rows: ResultRows) -> None:
        """Train the runs of the table, and solve for the closed form."""
        if not interrupt.requested and not self._stopped():
            self.results = run_all(self.plan, self.folder, interrupt, callbacks, rows, again=self.again)
        if self.closed_form and not interrupt.requested and not self._stopped():
            for result in self._solutions(len(self.plan.runs)):
                self.results.append(result)
                rows.add(result)

    def _stopped(self) -> bool:
        """Say whether a run failed where the first failure ends it all."""
        return self.plan.fail_fast and any(r.status == "failed" for r in self.trained)

    def _runs(self, points: Sequence[Trial]) -> list[PlannedRun]:
        return [PlannedRun(*each) for each in specs.checked(self.factory, points)]

    def _points(self, rows: Sequence[Trial]) -> list[Trial]:
        """Return row by row a point per seed and fold."""
        if len(self.seeds) == 1:
            found = [replace(row, changes=(*row.changes, *self.changes[0])) for row in rows]
        else:
            pairs = list(zip(self.seeds, self.changes, strict=True))
            found = [row.also(f" seed={seed}", seed, *change) for row in rows for seed, change in pairs]
        return in_folds(found, self.folds, " ")

    def _tune(self, grid: Sequence[float], interrupt: Interrupt, callbacks: BatchCallbacks) -> list[Trial]:
        """Return the rows with the learning rates that were found; tuning.csv and tuning.png tell of all."""
        axes = ["label", "lr", "seed", *(["fold"] if self.folds else [])]

        def train(points: Sequence[Trial]) -> list[Result]:
            found: list[Result] = []
            if points and not interrupt.requested and not self._stopped():
                runs, part = self._runs(points), f"tuning-{len(self.tuning)}"
                fleets = self.plan.fleets and len(runs) > ONE_BY_ONE
                plan = replace(self.plan, runs=runs, axes=axes, fleets=fleets, capture=Capture(), folders=False)
                found = run_all(plan, self.folder, interrupt, callbacks, None, again=self.again, part=part)
                self.tuning += found
            by_number = {result.number: result for result in found}
            missing = [Result(k, p.label, p.values, "failed", "interrupted") for k, p in enumerate(points, 1)]
            return [by_number.get(result.number, result) for result in missing]

        self.tuned, tried = tune(self.trials, grid, self.tuning_changes, train, self.plan.ranking, self.folds)
        metrics = metric_names(self.plan.measured)
        lines = [records.results_header(axes, metrics), *(records.results_row(result, metrics) for result in tried)]
        files.replace(self.folder / "tuning.csv", csv_writer.csv_rows(lines))
        return [_with_lr(row, tuned) for row, tuned in zip(self.trials, self.tuned, strict=True)]

    def _solutions(self, before: int) -> list[Result]:
        """Return the least-squares solution of each seed's data: its number follows those of the runs before it."""
        seeds, target = [seed for seed in self.seeds for _ in self.folds or [0]], self.plan.capture.target
        data: dict[int, tuple[Solution, str]] = {}  # solution and hash, once for seeds that share their rows
        found = []
        for number, (seed, run) in enumerate(zip(seeds, self.plan.runs, strict=False), before + 1):  # the first row's
            table = id(run.loaded.training)
            if table not in data:
                data[table] = solve(run.loaded), data_hash(run.loaded)
            solution, digest = data[table]
            loss = solution.loss
            fold = [self.folds[(number - before - 1) % len(self.folds)]] if self.folds else []
            values = (CLOSED_FORM, None, None, *([seed] if len(self.seeds) > 1 else []), *fold)
            found.append(
                Result(
                    number, CLOSED_FORM, values, "finished", "least squares", loss, loss, 0, 0, (None, digest, None),
                    metrics=solution.compared(solution.parameters), kernel=CLOSED_FORM,
                    to_target=0 if target is not None and loss <= target else None,
                )
            )  # fmt: skip
        return found

    # --- what is told -------------------------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """Return the rows of the table, in the order asked for."""
        runs = {run.number: run for run in self.plan.runs}
        grouped: dict[str, list[Result]] = {}
        for result in self.results:
            grouped.setdefault(str(result.values[0]), []).append(result)
        found = []
        for label, members in grouped.items():
            first = members[0]
            loaded = runs[first.number].loaded if first.number in runs else None
            effort = Effort(0, 1, 1) if loaded is None else effort_of(loaded)
            lr, lr_from = first.values[1], first.values[2] or "-"
            drawn = loaded is not None and draws_in_training(loaded)
            found.append(Line(label, lr, lr_from, tuple(members), effort, drawn))
        return found

    def table(self) -> str:
        """Return the table that is printed, and what has to be said of the learning rates."""
        lines = self.lines()
        return self._table(lines) + kernel_line(self.trained) if lines else "no run ended\n"

    def _table(self, lines: Sequence[Line]) -> str:
        metrics = columns_of(self.plan.measured, self.plan.capture)
        has_target = self.plan.capture.target is not None
        if len(self.seeds) > 1 or self.folds:
            text = shown.several_seeds(lines, metrics, self.plan.ranking, target=has_target, folds=len(self.folds))
        else:
            text = shown.one_seed(lines, metrics, target=has_target)
        if self.grid is None:
            searchable = any(path == "optimizer" for row in self.trials for path, _ in row.changes)
            return text + ("untuned: --tune N gives every optimizer the same search for its lr\n" if searchable else "")
        count = len(self.tuning_changes)
        seeds = "another seed" if count == 1 else f"{count} other seeds"
        by = self.plan.ranking
        score = by.name if by.name != "final_loss" else "final loss"
        score += ", the highest first," if by.highest_first else ""
        seeds += f" and {len(self.folds)} folds" if self.folds else ""
        text += f"tuned: {len(self.grid)} learning rates each, scored by the mean {score} over {seeds}\n"
        for tuned in self.tuned:
            if tuned.edge:
                where = "lowest" if tuned.edge == "low" else "highest"
                text += f"{tuned.label}: lr {tuned.lr:.6g} is the {where} that was tried, the grid was extended once\n"
        return text

    def summary(self) -> dict[str, Any]:
        """Return the table's rows."""
        return {"rows": self.data()}

    def data(self) -> list[dict[str, Any]]:
        """Return the table's rows as data."""
        target, columns = self.plan.capture.target is not None, columns_of(self.plan.measured, self.plan.capture)
        return shown.as_data(self.lines(), columns, self.plan.ranking, target=target)

    def json(self) -> str:
        """Return results and table as one JSON document."""
        return files.json_text(
            {"folder": str(self.folder), "runs": rows_of(self.plan, self.results), "rows": self.data()}
        )

    def pictures(self) -> dict[str, Callable[[plots.Form], bytes]]:
        """Return what draws the curves, the tuning, the paths, as far as there are any."""
        loaded, lines = self.plan.loaded, self.lines()
        title, label = loaded.spec.name, run_picture.loss_label(loaded)
        by = self.plan.ranking
        sign, score = (-1 if by.highest_first else 1), label if by.name == "final_loss" else f"mean {by.name}"
        curves = [plots.Curve(t.label, t.lrs, sign * np.array(t.losses), chosen=t.lr) for t in self.tuned]
        found: dict[str, Callable[[plots.Form], bytes]] = {
            "compare": lambda form: shown.curves(lines, loaded, self.x, form)
        }
        if self.tuned:
            found["tuning"] = lambda form: plots.in_form(plots.sensitivity, form)(curves, title=title, loss_label=score)
        if self.plan.capture.path:
            found["paths"] = lambda form: shown.paths(lines, loaded, form) or b""
        return found

    def draw(self, warning: Warn) -> None:
        """Draw all pictures."""
        for name, picture in self.pictures().items():
            files.draw(self.folder / f"{name}.png", partial(picture, "png"), warning)


def _with_lr(row: Trial, tuned: Tuned) -> Trial:
    label, _, _ = row.values
    finite = isfinite(tuned.losses[tuned.best])
    lr_from = "tuned, edge" if tuned.edge else "tuned" if finite else "tuned, none finite"
    return replace(row, values=(label, tuned.lr, lr_from), changes=(*row.changes, ("optimizer.lr", tuned.lr)))


# --- a learning rate for each row: the same grid and the same seeds for all, none of them reported --------------------

Train = Callable[[Sequence[Trial]], Sequence[Result]]
"""Trains points and returns their results in the same order."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was tried for one row: learning rates in order, the mean score of each, and the winner, with the least."""

    label: str
    lrs: tuple[float, ...]
    losses: tuple[float, ...]  # inf where a run diverged
    best: int

    @property
    def lr(self) -> float:
        """The learning rate with the lowest mean loss."""
        return self.lrs[self.best]

    @property
    def edge(self) -> str:
        """Where the winner lies: ``low`` or ``high`` at the end of what was tried, else nothing."""
        if not isfinite(self.losses[self.best]):
            return ""
        return "low" if self.best == 0 else "high" if self.best == len(self.lrs) - 1 else ""

    def joined(self, lrs: Sequence[float], losses: Sequence[float]) -> Tuned:
        """Return it with more that was tried, in order."""
        pairs = [*zip(self.lrs, self.losses, strict=True), *zip(lrs, losses, strict=True)]
        pairs.sort(key=lambda pair: pair[0])
        finite = tuple(loss if isfinite(loss) else inf for _, loss in pairs)
        return Tuned(self.label, tuple(lr for lr, _ in pairs), finite, finite.index(min(finite)))


def tune(
    rows: Sequence[Trial], grid: Sequence[float], changes: Sequence[tuple[tuple[str, object], ...]], train: Train,
    by: Ranking, folds: Sequence[int] = (),
) -> tuple[list[Tuned], list[Result]]:  # fmt: skip
    """Try every learning rate of the grid for every row, on every seed's ``changes``; extend it once at an edge.

    The score is the mean over the seeds, and over all ``folds`` of the rows, of the final loss, or of what the runs are
    ranked by, of which less is better here; a learning rate whose run diverges on any of them comes last.
    """
    found = [Tuned(row.label, (), (), 0) for row in rows]
    results: list[Result] = []
    lrs = [list(grid) for _ in rows]
    for _ in ("the grid", "beyond its edges"):
        tries = [point for row, each in zip(rows, lrs, strict=True) for point in _tries(row, each, changes)]
        ended = train(in_folds(tries, folds, " "))
        scores = _scores(ended, list(map(len, lrs)), len(changes) * max(len(folds), 1), by)
        found = [tuned.joined(*tried) for tuned, *tried in zip(found, lrs, scores, strict=True)]
        lrs = list(map(_beyond, found))
        results += ended
    return found, [replace(result, number=number) for number, result in enumerate(results, 1)]


def _tries(row: Trial, lrs: Sequence[float], changes: Sequence[tuple[tuple[str, object], ...]]) -> list[Trial]:
    return [
        Trial(
            f"{row.label} lr={lr:.6g} seed={dict(change)['seed']}",
            (row.label, lr, dict(change)["seed"]),
            (*row.changes, ("optimizer.lr", lr), *change),
        )
        for lr in lrs
        for change in changes
    ]


def _scores(results: Sequence[Result], lengths: Sequence[int], runs: int, by: Ranking) -> list[list[float]]:
    """Return the mean score of each learning rate, which has so many runs, row by row."""
    losses = iter([by.key(result) for result in results])
    return [[interval([next(losses) for _ in range(runs)]).mean for _ in range(length)] for length in lengths]


def _beyond(tuned: Tuned) -> list[float]:
    """Return the learning rates beyond the edge at which the winner lies."""
    if tuned.edge == "low":
        return extended(list(tuned.lrs), "low")[: -len(tuned.lrs)]
    return extended(list(tuned.lrs), "high")[len(tuned.lrs) :] if tuned.edge == "high" else []
