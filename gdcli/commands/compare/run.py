"""A comparison from its rows to its folder: tuning, the runs of every seed, table and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from gdcli import records
from gdcli.commands.compare import figures, table
from gdcli.commands.compare.table import Line
from gdcli.commands.compare.tuning import Tuned, tune
from gdcli.engine.closed_form import solve
from gdcli.engine.evaluation import metric_names
from gdcli.engine.loop import Interrupt
from gdcli.plan import Trial
from gdcli.records import Effort, Result
from gdcli.report import plots
from gdcli.runner import record_run
from gdcli.runner.batch import (
    BatchCallbacks,
    Execution,
    Plan,
    ResultRows,
    counts,
    effort_of,
    end_batch,
    rows_of,
    run_all,
)
from gdcli.runner.jobs import Capture, Run
from gdcli.runner.provenance import Provenance, data_hash
from gdcli.runner.record_run import Timing, Warn
from gdcli.spec.document import Node
from gdcli.spec.load import Loaded
from gdcli.storage import csv_writer, files

ONE_BY_ONE = 20
"""Runs up to which a comparison trains each alone, with the bits of `run`; more train as fleets."""

CLOSED_FORM = "closed_form"


@dataclass(frozen=True, slots=True)
class Search:
    """The budget of tuning: the grid of learning rates, and what each tuning seed changes."""

    grid: Sequence[float]
    changes: Sequence[tuple[tuple[str, Any], ...]]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What is compared, and how."""

    loaded: Loaded
    document: Node
    rows: Sequence[Trial]  # values are label, lr and where it is from
    seeds: Sequence[int]
    changes: Sequence[tuple[tuple[str, Any], ...]]  # of each reporting seed; one empty tuple for the spec's own
    origin: Provenance
    base: Path
    execution: Execution
    search: Search | None = None
    target: float | None = None
    closed_form: bool = False
    x: figures.X | None = None
    plot: bool = True
    verify: bool = False
    folders: bool = True  # a sub-folder a run


@dataclass(slots=True)
class Comparison:
    """One comparison: ``run`` fills results and folder."""

    options: CompareOptions
    checked: Callable[[Sequence[Trial]], list[Run]]
    folder: Path
    again: bool = False  # the runs that have ended stay
    results: list[Result] = field(default_factory=list)
    tuned: list[Tuned] = field(default_factory=list)
    tuning: list[Result] = field(default_factory=list)  # of the runs that tuned
    plan: Plan | None = None
    two: bool = False  # parameters, so that paths can be drawn
    interrupted: bool = False

    @property
    def trained(self) -> Sequence[Result]:
        """The results of all runs, those that tuned too."""
        return [*self.tuning, *self.results]

    def run(self, interrupt: Interrupt, callbacks: BatchCallbacks) -> None:
        """Tune, run, write the folder; a run that fails is counted, the others go on."""
        options, timing, folder, again = self.options, Timing(), self.folder, self.again
        self.two = sum(p.values.size for p in _parameters(options.loaded)) == 2
        rows = list(options.rows)
        if options.search is not None:
            with timing.phase("tuning"):
                rows = self._tune(options.search, interrupt, callbacks)
        self.plan = self._plan(self.checked(self._points(rows)))
        written = ResultRows(folder / "results.csv", self.plan, again=again)
        try:
            with timing.phase("runs"):
                if not interrupt.requested and not self._stopped():
                    self.results = run_all(self.plan, folder, interrupt, callbacks, written, again=again)
                if options.closed_form and not interrupt.requested and not self._stopped():
                    for result in self._solutions(len(self.plan.runs)):
                        self.results.append(result)
                        written.add(result)
        finally:
            written.close()
        timing.steps = sum(result.steps or 0 for result in self.results)
        if options.plot and self.results and not interrupt.requested:
            with timing.phase("plot"):
                self._draw(callbacks.warning)
        files.replace(folder / "log.txt", self.table())
        end_batch(folder, timing, self._summary(interrupt))
        self.interrupted = interrupt.requested

    # --- what is run --------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        """Say whether a run failed where the first failure ends it all."""
        return self.options.execution.fail_fast and any(r.status == "failed" for r in self.trained)

    def _axes(self) -> list[str]:
        return ["label", "lr", "lr_from", *(["seed"] if len(self.options.seeds) > 1 else [])]

    def _points(self, rows: Sequence[Trial]) -> list[Trial]:
        """Return row by row a point per seed."""
        several = len(self.options.seeds) > 1
        return [
            replace(
                row,
                label=f"{row.label} seed={seed}" if several else row.label,
                values=(*row.values, seed) if several else row.values,
                changes=(*row.changes, *change),
            )
            for row in rows
            for seed, change in zip(self.options.seeds, self.options.changes, strict=True)
        ]

    def _plan(self, runs: Sequence[Run], *, tuning: bool = False) -> Plan:
        options = self.options
        capture = Capture(
            curve=options.plot and not tuning,
            path=options.plot and not tuning and self.two,
            parameters=options.verify and not tuning,
            target=None if tuning else options.target,
        )
        execution = replace(options.execution, fleets=options.execution.fleets and len(runs) > ONE_BY_ONE)
        axes = ["label", "lr", "seed"] if tuning else self._axes()
        folders = options.folders and not tuning
        origin, base = options.origin, options.base
        return Plan(options.loaded, options.document, runs, axes, origin, base, execution, capture, folders)

    def _tune(self, search: Search, interrupt: Interrupt, callbacks: BatchCallbacks) -> list[Trial]:
        """Return the rows with the learning rates that were found; tuning.csv and tuning.png tell of all."""

        def train(points: Sequence[Trial]) -> list[Result]:
            if not points or interrupt.requested or self._stopped():
                return [records.failed_result(k, p.label, p.values, "interrupted") for k, p in enumerate(points, 1)]
            plan, part = self._plan(self.checked(points), tuning=True), f"tuning-{len(self.tuning)}"
            found = run_all(plan, self.folder, interrupt, callbacks, None, again=self.again, part=part)
            self.tuning += found
            by_number = {result.number: result for result in found}
            missing = [records.failed_result(k, p.label, p.values, "interrupted") for k, p in enumerate(points, 1)]
            return [by_number.get(result.number, result) for result in missing]

        self.tuned, tried = tune(self.options.rows, search.grid, search.changes, train)
        metrics = metric_names(self.options.loaded)
        lines = [records.results_header(["label", "lr", "seed"], metrics)]
        lines += [records.results_row(result, metrics) for result in tried]
        files.replace(self.folder / "tuning.csv", csv_writer.csv_rows(lines))
        return [_with_lr(row, tuned) for row, tuned in zip(self.options.rows, self.tuned, strict=True)]

    def _solutions(self, before: int) -> list[Result]:
        """Return the least-squares solution of each seed's data: its number follows those of the runs before it."""
        assert self.plan is not None
        seeds, target = self.options.seeds, self.options.target
        data: dict[int, tuple[float, str]] = {}  # loss and hash, once for seeds that share their rows
        found = []
        for number, (seed, run) in enumerate(zip(seeds, self.plan.runs, strict=False), before + 1):  # the first row's
            table = id(run.loaded.training)
            if table not in data:
                data[table] = solve(run.loaded).loss, data_hash(run.loaded)
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
        assert self.plan is not None
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
        lines, metrics, target = self.lines(), metric_names(self.options.loaded), self.options.target is not None
        if not lines:
            return "no run ended\n"
        several = len(self.options.seeds) > 1
        text = (table.several_seeds if several else table.one_seed)(lines, metrics, target=target)
        if self.options.search is None:
            searchable = any(path == "optimizer" for row in self.options.rows for path, _ in row.changes)
            return text + ("untuned: --tune N gives every optimizer the same search for its lr\n" if searchable else "")
        count, seeds = len(self.options.search.grid), len(self.options.search.changes)
        text += f"tuned: {count} learning rates each, scored by the mean final loss over {_seeds(seeds)}\n"
        for tuned in self.tuned:
            if tuned.edge:
                where = "lowest" if tuned.edge == "low" else "highest"
                text += f"{tuned.label}: lr {tuned.lr:.6g} is the {where} that was tried, the grid was extended once\n"
        return text

    def _summary(self, interrupt: Interrupt) -> dict[str, Any]:
        ended = not interrupt.requested and self.plan is not None and len(self.results) >= len(self.plan.runs)
        status = "finished" if ended else "interrupted"
        return {"status": status, "runs": len(self.results), **counts(self.results), "rows": self.data()}

    def data(self) -> list[dict[str, Any]]:
        """Return the table's rows as data."""
        metrics = metric_names(self.options.loaded)
        return table.as_data(self.lines(), metrics, target=self.options.target is not None)

    def json(self) -> str:
        """Return results and table as one JSON document."""
        assert self.plan is not None
        runs = rows_of(self.plan, self.results)
        return files.json_text({"folder": str(self.folder), "runs": runs, "rows": self.data()})

    def _draw(self, warning: Warn) -> None:
        options, lines = self.options, self.lines()
        folder = self.folder
        record_run.draw(folder / "compare.png", lambda: figures.curves(lines, options.loaded, options.x), warning)
        if self.tuned:
            rows, label = [tuned.curve() for tuned in self.tuned], record_run.loss_label(options.loaded)
            record_run.draw(
                folder / "tuning.png",
                lambda: plots.sensitivity(rows, title=options.loaded.spec.name, loss_label=label),
                warning,
            )
        if self.plan is not None and self.plan.capture.path:
            record_run.draw(folder / "paths.png", lambda: figures.paths(lines, options.loaded) or b"", warning)


def _seeds(count: int) -> str:
    return "another seed" if count == 1 else f"{count} other seeds"


def _with_lr(row: Trial, tuned: Tuned) -> Trial:
    label, _, _ = row.values
    finite = isfinite(tuned.losses[tuned.best])
    lr_from = "tuned, edge" if tuned.edge else "tuned" if finite else "tuned, none finite"
    return replace(row, values=(label, tuned.lr, lr_from), changes=(*row.changes, ("optimizer.lr", tuned.lr)))


def _parameters(loaded: Loaded) -> Any:
    from gdcli.engine.problem import build

    return build(loaded).theta.parameters()
