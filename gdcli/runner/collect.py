"""What is captured of a run while it goes on, and the results of runs until all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gdcli.records import Floats, Outcome, Result, StepBlock
from gdcli.runner.jobs import Capture, Layout, PlannedRun
from gdcli.runner.provenance import Hashes
from gdcli.runner.record_run import Finished
from gdcli.spec.load import Loaded
from gdcli.storage import partial_results
from gdcli.storage.record import status_of


class Collector:
    """What is captured of a run, from its blocks."""

    def __init__(self, capture: Capture, loaded: Loaded) -> None:
        batch, samples = loaded.spec.batch, loaded.samples
        self.capture = capture
        self.full_batch = batch.steps(samples) == 1 and not (batch.shuffles and samples)
        self.columns = {"parameters"} if capture.path else set()
        if not self.full_batch:  # for the best loss and for the target
            self.columns.add("full_loss")
        self.states: list[NDArray[np.float64]] = []
        self.hit: int | None = None

    def block(self, block: StepBlock) -> None:
        """Take a block's columns."""
        if self.capture.path and block.parameters is not None:
            self.states.append(block.parameters.astype(np.float64))
        if self.capture.target is not None and self.hit is None and block.full_loss is not None:
            k = first_at(block.full_loss, self.capture.target)
            self.hit = None if k is None else int(block.step[k])

    def result(self, run: PlannedRun, finished: Finished, kernel: str) -> Result:
        """Return what is captured of the run, which has ended.

        With full batches each step's loss is the whole set's before its update, of the steps before a checkpoint too.
        """
        hit, path = self.hit, None
        if self.capture.target is not None and self.full_batch:
            hit = first_at(finished.losses, self.capture.target)
        if self.capture.path:
            first = np.concatenate([p.values.astype(np.float64).ravel() for p in finished.start.parameters])[None]
            path = np.concatenate([first, *self.states])
        found = result_of(run, finished.outcome, finished.hashes, kernel, self.capture, hit)
        return replace(found, losses=finished.losses if self.capture.curve else None, path=path)


def first_at(losses: Floats, target: float) -> int | None:
    """Return the position of the first loss that is at the target or below."""
    with np.errstate(invalid="ignore"):
        reached = np.flatnonzero(losses <= target)
    return int(reached[0]) if len(reached) else None


def result_of(
    run: PlannedRun, outcome: Outcome, hashes: Hashes, kernel: str, capture: Capture, hit: int | None
) -> Result:
    """Return the result of a run; ``hit`` is after how many steps the whole set's loss was first at the target."""
    diverged = outcome.status == "diverged"
    if hit is None and capture.target is not None and not diverged and outcome.loss <= capture.target:
        hit = outcome.steps
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
        parameters=outcome.parameters if capture.parameters else None,
        kernel=kernel,
    )


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
