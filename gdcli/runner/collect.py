"""What is captured of a run while it goes on, and the results of runs until all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Block, Floats, Outcome, Result
from gdcli.runner.jobs import Capture, Layout, PlannedRun
from gdcli.runner.provenance import Hashes
from gdcli.runner.record_run import Finished
from gdcli.storage import partial_results
from gdcli.storage.record import status_of


class Collector:
    """What is captured of runs of one structure, from their blocks."""

    def __init__(self, capture: Capture, runs: Sequence[PlannedRun]) -> None:
        loaded = runs[0].loaded
        batch, samples = loaded.spec.batch, loaded.samples
        self.capture, self.runs = capture, runs
        self.full_batch = batch.steps(samples) == 1 and not (batch.shuffles and samples)
        self.columns = {"parameters"} if capture.path else set()
        if capture.target is not None and not self.full_batch:
            self.columns.add("full_loss")
        self.states: list[list[NDArray[np.float64]]] = [[] for _ in runs]  # of each run, the parameters after its steps
        self.hits: list[int | None] = [None] * len(runs)  # after how many steps the whole set's loss was at the target

    def block(self, block: Block) -> None:
        """Take a block's columns. With full batches each step's loss is the whole set's before its update."""
        target = self.capture.target
        losses, before = (block.loss, 1) if self.full_batch else (block.full_loss, 0)
        for run, count in enumerate(block.count.tolist()) if self.columns or target is not None else ():
            if self.capture.path and block.parameters is not None:
                self.states[run].append(block.parameters[:count, run].astype(np.float64))
            if target is None or losses is None or self.hits[run] is not None:
                continue
            if (k := _first_at(losses[:count, run], target)) is not None:
                self.hits[run] = max(0, int(block.step[k]) - before)

    def result(self, k: int, outcome: Outcome, hashes: Hashes, kernel: str, finished: Finished | None) -> Result:
        """Return what is captured of a run, which has ended; with its losses where it has a recorder."""
        run, capture, hit, path = self.runs[k], self.capture, self.hits[k], None
        diverged = outcome.status == "diverged"
        if capture.target is not None:
            if self.full_batch and finished is not None:  # of the steps before a checkpoint too
                hit = _first_at(finished.losses, capture.target)
            if hit is None and not diverged and outcome.loss <= capture.target:
                hit = outcome.steps
        if capture.path and finished is not None:
            first = [parameter.values.astype(np.float64).ravel() for parameter in finished.start.parameters]
            path = np.concatenate([np.concatenate(first)[None], *self.states[k]])
        return Result(
            number=run.number,
            label=run.trial.label,
            values=run.trial.values,
            status=outcome.status,
            message=outcome.message,
            loss=float("nan") if diverged else outcome.loss,
            best_loss=outcome.best_loss,
            steps=outcome.steps,
            epochs=outcome.epochs,
            hashes=hashes,
            metrics=dict(outcome.metrics),
            to_target=hit,
            losses=finished.losses if capture.curve and finished is not None else None,
            parameters=outcome.parameters if capture.parameters else None,
            path=path,
            kernel=kernel,
        )


def _first_at(losses: Floats, target: float) -> int | None:
    """Return the position of the first loss that is at the target or below."""
    with np.errstate(invalid="ignore"):
        reached = np.flatnonzero(losses <= target)
    return int(reached[0]) if len(reached) else None


def ended(runs: Sequence[PlannedRun], layout: Layout) -> list[Result]:
    """Return the results of the runs that ended before: stored, and with the mark of their end where they have folders.

    A run whose folder the process died in before that mark is run again; it may have that of an interruption.
    """
    if layout.partial_results is None:
        return []
    trials = {run.number: run.trial for run in runs}
    folders = {run.number: layout.of(run) for run in runs}
    found = []
    for number, result in partial_results.read(layout.partial_results).items():
        folder, trial = folders.get(number), trials.get(number)
        if trial is not None and (folder is None or status_of(folder) == result.status):
            found.append(replace(result, label=trial.label, values=trial.values))
    return found


def save_partial(layout: Layout, found: Sequence[Result]) -> None:
    """Store the results of runs that ended by themselves."""
    done = [result for result in found if result.status not in ("interrupted", "failed")]
    if layout.partial_results is not None and done:
        partial_results.write(layout.partial_results, done)
