"""A sweep over keys of the spec: a run per point, one folder, a table, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gdcli import execute, plots, results, store, tables
from gdcli.engine.train import Interrupt, metric_names
from gdcli.execute import Timing, Watch
from gdcli.many import Onlooker, Plan, Rows, counts, head, ranked, run_all, runs_json
from gdcli.results import Result
from gdcli.shards import FOLDERS

SHOWN = 50
"""Rows of a printed table; a sweep of more shows its best."""


@dataclass(slots=True)
class Sweep:
    """A sweep over keys: its runs, one folder, a table of them."""

    plan: Plan
    output: Path
    results: list[Result] = field(default_factory=list)
    folder: Path = Path()

    def run(self, interrupt: Interrupt, onlooker: Onlooker, *, plot: bool) -> None:
        """Run all, write the folder; a run that fails is counted, the others go on."""
        timing, plan = Timing(), self.plan
        names = [*plan.axes, *(run.point.label for run in plan.runs[:FOLDERS])]
        self.folder = head(plan.loaded, plan.origin, self.output, names)
        rows = Rows(self.folder / "results.csv", plan)
        try:
            with timing.phase("runs"):
                self.results = run_all(plan, self.folder, interrupt, onlooker, rows)
        finally:
            rows.close()
        timing.steps = sum(result.steps or 0 for result in self.results)
        if plot and self.results:
            with timing.phase("plot"):
                execute.draw(self.folder / "sweep.png", self._picture, Watch(warning=onlooker.warning))
        store.replace(self.folder / "log.txt", self.table())
        store.replace(self.folder / "timing.json", timing.text())
        store.replace(self.folder / "summary.json", store.json_text(self._summary(interrupt)))

    def _summary(self, interrupt: Interrupt) -> dict[str, Any]:
        status = "interrupted" if interrupt.requested else "finished"
        best = ranked(self.results)[0] if self.results else None
        lowest = {"best": best.label, "best_loss": best.loss} if best is not None else {}
        return {"status": status, "runs": len(self.results), **counts(self.results), **lowest}

    def table(self) -> str:
        """Return the table that is printed: a row per run in the order asked for; of many, the best and the count."""
        shown, note = self.results, ""
        if len(shown) > SHOWN:
            shown = ranked(shown)[:SHOWN]
            tally = ", ".join(f"{count:,} {status}" for status, count in counts(self.results).items())
            note = f"{len(self.results):,} runs, {tally}; the {SHOWN} best are shown, results.csv has all\n"
        metrics = metric_names(self.plan.loaded)
        names = [*self.plan.axes, "final loss", "best loss", "steps", "epochs", "status", *metrics]
        names += ["weights", "data", "order"]
        return tables.aligned(names, [self._row(result, metrics) for result in shown]) + note

    def _row(self, result: Result, metrics: Sequence[str]) -> list[Any]:
        row = results.row(result)[1:]
        values, (status, final, best, steps, epochs, *hashes) = row[:-8], row[-8:]
        numbers = [result.metrics.get(name) for name in metrics]
        return [*values, final, best, steps, epochs, status, *numbers, *(value or "-" for value in hashes)]

    def json(self) -> str:
        """Return the results as one JSON document."""
        return runs_json(self.folder, self.plan, self.results)

    def _picture(self) -> bytes:
        plan = self.plan
        label, title = execute.loss_label(plan.loaded), plan.loaded.spec.name
        if len(plan.axes) == 1:
            values = [result.values[0] for result in self.results]
            losses_ = np.array([result.loss for result in self.results])
            return plots.sweep_runs(plan.axes[0], values, losses_, title=title, loss_label=label)
        curves = [
            plots.Curve(result.label, np.arange(1.0, len(result.losses) + 1), result.losses)
            for result in self.results
            if result.losses is not None
        ]
        return plots.comparison(curves, title=title, loss_label=label)
