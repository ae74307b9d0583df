"""A comparison from its rows to its folder: tuning, the runs of every seed, table and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from gdcli import records
from gdcli.commands import specs
from gdcli.commands.batch import BatchRun
from gdcli.commands.compare import figures, table
from gdcli.commands.compare.figures import CLOSED_FORM
from gdcli.commands.compare.table import Line
from gdcli.commands.compare.tuning import Tuned, tune
from gdcli.engine.closed_form import solve
from gdcli.engine.evaluation import metric_names
from gdcli.engine.loop import Interrupt
from gdcli.plan import SpecFactory, Trial
from gdcli.records import Effort, Result
from gdcli.report import plots
from gdcli.runner import Capture, Run, record_run
from gdcli.runner.batch import BatchCallbacks, Execution, ResultRows, effort_of, run_all
from gdcli.runner.record_run import Callbacks, Timing
from gdcli.storage import csv_writer, files

ONE_BY_ONE = 20
"""Runs up to which a comparison trains each alone, with the bits of `run`; more train as fleets."""


@dataclass(frozen=True, slots=True)
class Search:
    """The budget of tuning: the grid of learning rates, and what each tuning seed changes."""

    grid: Sequence[float]
    changes: Sequence[tuple[tuple[str, Any], ...]]


@dataclass(slots=True, kw_only=True)
class ComparisonRun(BatchRun):
    """One comparison: its plan has no runs until those that tune are done."""

    factory: SpecFactory
    trials: Sequence[Trial]  # of the rows: values are label, lr and where it is from
    seeds: Sequence[int]
    changes: Sequence[tuple[tuple[str, Any], ...]]  # of each reporting seed; one empty tuple for the spec's own
    search: Search | None = None
    closed_form: bool = False
    x: figures.X | None = None
    tuned: list[Tuned] = field(default_factory=list)
    tuning: list[Result] = field(default_factory=list)  # of the runs that tuned

    @property
    def trained(self) -> Sequence[Result]:
        """The results of all runs, those that tuned too."""
        return [*self.tuning, *self.results]

    # --- what is run --------------------------------------------------------------------------------------------------

    def _prepare(self, timing: Timing, interrupt: Interrupt, callbacks: BatchCallbacks) -> None:
        trials = self.trials
        if self.search is not None:
            with timing.phase("tuning"):
                trials = self._tune(self.search, interrupt, callbacks)
        runs = self._runs(self._points(trials))
        axes = ["label", "lr", "lr_from", *(["seed"] if len(self.seeds) > 1 else [])]
        self.plan = replace(self.plan, runs=runs, axes=axes, execution=self._execution(runs))

    def _train(self, interrupt: Interrupt, callbacks: BatchCallbacks, rows: ResultRows) -> None:
        if not interrupt.requested and not self._stopped():
            self.results = run_all(self.plan, self.folder, interrupt, callbacks, rows, again=self.again)
        if self.closed_form and not interrupt.requested and not self._stopped():
            for result in self._solutions(len(self.plan.runs)):
                self.results.append(result)
                rows.add(result)

    def _stopped(self) -> bool:
        """Say whether a run failed where the first failure ends it all."""
        return self.plan.execution.fail_fast and any(r.status == "failed" for r in self.trained)

    def _runs(self, points: Sequence[Trial]) -> list[Run]:
        return [Run(*each) for each in specs.checked(self.factory, points)]

    def _execution(self, runs: Sequence[Run]) -> Execution:
        execution = self.plan.execution
        return replace(execution, fleets=execution.fleets and len(runs) > ONE_BY_ONE)

    def _points(self, rows: Sequence[Trial]) -> list[Trial]:
        """Return row by row a point per seed."""
        several = len(self.seeds) > 1
        return [
            replace(
                row,
                label=f"{row.label} seed={seed}" if several else row.label,
                values=(*row.values, seed) if several else row.values,
                changes=(*row.changes, *change),
            )
            for row in rows
            for seed, change in zip(self.seeds, self.changes, strict=True)
        ]

    def _tune(self, search: Search, interrupt: Interrupt, callbacks: BatchCallbacks) -> list[Trial]:
        """Return the rows with the learning rates that were found; tuning.csv and tuning.png tell of all."""
        axes = ["label", "lr", "seed"]

        def train(points: Sequence[Trial]) -> list[Result]:
            found: list[Result] = []
            if points and not interrupt.requested and not self._stopped():
                runs, part = self._runs(points), f"tuning-{len(self.tuning)}"
                execution = self._execution(runs)
                plan = replace(self.plan, runs=runs, axes=axes, execution=execution, capture=Capture(), folders=False)
                found = run_all(plan, self.folder, interrupt, callbacks, None, again=self.again, part=part)
                self.tuning += found
            by_number = {result.number: result for result in found}
            missing = [records.failed_result(k, p.label, p.values, "interrupted") for k, p in enumerate(points, 1)]
            return [by_number.get(result.number, result) for result in missing]

        self.tuned, tried = tune(self.trials, search.grid, search.changes, train)
        metrics = metric_names(self.plan.loaded)
        lines = [records.results_row(result, metrics) for result in tried]
        files.replace(self.folder / "tuning.csv", csv_writer.csv_text(records.results_header(axes, metrics), lines))
        return [_with_lr(row, tuned) for row, tuned in zip(self.trials, self.tuned, strict=True)]

    def _solutions(self, before: int) -> list[Result]:
        """Return the least-squares solution of each seed's data: its number follows those of the runs before it."""
        seeds, target = self.seeds, self.plan.capture.target
        data: dict[int, tuple[float, str]] = {}  # loss and hash, once for seeds that share their rows
        found = []
        for number, (seed, run) in enumerate(zip(seeds, self.plan.runs, strict=False), before + 1):  # the first row's
            table = id(run.loaded.training)
            if table not in data:
                data[table] = solve(run.loaded).loss, record_run.data_hash(run.loaded)
            loss, digest = data[table]
            values = (CLOSED_FORM, None, None, *([seed] if len(seeds) > 1 else []))
            found.append(
                Result(
                    number, CLOSED_FORM, values, "finished", "least squares", loss, loss, 0, 0, (None, digest, None),
                    to_target=0 if target is not None and loss <= target else None, kernel=CLOSED_FORM,
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
            effort = effort_of(runs[first.number].loaded) if first.number in runs else Effort(0, 1, 1)
            lr, lr_from = first.values[1], first.values[2] or "-"
            found.append(Line(label, lr, lr_from, tuple(members), effort))
        return found

    def table(self) -> str:
        """Return the table that is printed, and what has to be said of the learning rates."""
        lines, metrics = self.lines(), metric_names(self.plan.loaded)
        if not lines:
            return "no run ended\n"
        several = len(self.seeds) > 1
        table_of = table.several_seeds if several else table.one_seed
        text = table_of(lines, metrics, target=self.plan.capture.target is not None)
        if self.search is None:
            searchable = any(path == "optimizer" for row in self.trials for path, _ in row.changes)
            return text + ("untuned: --tune N gives every optimizer the same search for its lr\n" if searchable else "")
        count, seeds = len(self.search.grid), len(self.search.changes)
        text += f"tuned: {count} learning rates each, scored by the mean final loss over {_seeds(seeds)}\n"
        for tuned in self.tuned:
            if tuned.edge:
                where = "lowest" if tuned.edge == "low" else "highest"
                text += f"{tuned.label}: lr {tuned.lr:.6g} is the {where} that was tried, the grid was extended once\n"
        return text

    def _summary(self) -> dict[str, Any]:
        return {"rows": self.data()}

    def data(self) -> list[dict[str, Any]]:
        """Return the table's rows as data."""
        target = self.plan.capture.target is not None
        return table.as_data(self.lines(), metric_names(self.plan.loaded), target=target)

    def json(self) -> str:
        """Return results and table as one JSON document."""
        return files.json_text({"folder": str(self.folder), "runs": self.rows(), "rows": self.data()})

    def _draw(self, callbacks: Callbacks) -> None:
        loaded, lines = self.plan.loaded, self.lines()
        title, label = loaded.spec.name, record_run.loss_label(loaded)
        curves = [tuned.curve() for tuned in self.tuned]
        pictures = {"compare.png": lambda: figures.curves(lines, loaded, self.x)}
        if self.tuned:
            pictures["tuning.png"] = lambda: plots.sensitivity(curves, title=title, loss_label=label)
        if self.plan.capture.path:
            pictures["paths.png"] = lambda: figures.paths(lines, loaded) or b""
        for name, picture in pictures.items():
            record_run.draw(self.folder / name, picture, callbacks)


def _seeds(count: int) -> str:
    return "another seed" if count == 1 else f"{count} other seeds"


def _with_lr(row: Trial, tuned: Tuned) -> Trial:
    label, _, _ = row.values
    finite = isfinite(tuned.losses[tuned.best])
    lr_from = "tuned, edge" if tuned.edge else "tuned" if finite else "tuned, none finite"
    return replace(row, values=(label, tuned.lr, lr_from), changes=(*row.changes, ("optimizer.lr", tuned.lr)))
