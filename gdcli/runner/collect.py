"""What is kept of a run while it goes on, and the results of runs until all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.errors import MachineError
from gdcli.records import Floats, Result, Start, StepBlock
from gdcli.runner.jobs import Capture, Layout, Run
from gdcli.runner.record_run import Finished
from gdcli.spec.load import Loaded
from gdcli.storage import partial_results
from gdcli.storage.files import json_file


class Collector:
    """What a wish keeps of a run, from its blocks."""

    def __init__(self, wish: Capture, loaded: Loaded) -> None:
        batch, samples = loaded.spec.batch, loaded.samples
        self.wish = wish
        self.full_batch = batch.steps(samples) == 1 and not (batch.shuffles and samples)
        self.columns = {"parameters"} if wish.path else set()
        if wish.target is not None and not self.full_batch:
            self.columns.add("full_loss")
        self.states: list[NDArray[np.float64]] = []
        self.hit: int | None = None

    def block(self, block: StepBlock) -> None:
        """Take a block's columns."""
        if self.wish.path and block.parameters is not None:
            self.states.append(block.parameters.astype(np.float64))
        if self.wish.target is not None and self.hit is None and block.full_loss is not None:
            k = self._first(block.full_loss)
            self.hit = None if k is None else int(block.step[k])

    def at_end(self, finished: Finished) -> int | None:
        """Return the number of steps after which the whole set's loss was first at the target.

        With full batches each step's loss is the whole set's before its update, of the steps before a checkpoint too.
        """
        outcome = finished.outcome
        if self.wish.target is None:
            return None
        hit = self._first(finished.losses) if self.full_batch else self.hit
        at_last = outcome.status != "diverged" and outcome.loss <= self.wish.target
        return hit if hit is not None else outcome.steps if at_last else None

    def _first(self, losses: Floats) -> int | None:
        assert self.wish.target is not None
        with np.errstate(invalid="ignore"):
            reached = np.flatnonzero(losses <= self.wish.target)
        return int(reached[0]) if len(reached) else None

    def path(self, start: Start) -> NDArray[np.float64] | None:
        """Return the parameters at the start and after every step."""
        if not self.wish.path:
            return None
        first = np.concatenate([p.values.astype(np.float64).ravel() for p in start.parameters])[None]
        return np.concatenate([first, *self.states])


def result_of(run: Run, finished: Finished, kept: Collector, kernel: str) -> Result:
    """Return what is kept of a run that ended."""
    outcome = finished.outcome
    loss = float("nan") if outcome.status == "diverged" else outcome.loss
    return Result(
        number=run.number,
        label=run.point.label,
        values=run.point.values,
        status=outcome.status,
        message=outcome.message,
        loss=loss,
        best_loss=outcome.best_loss,
        steps=outcome.steps,
        epochs=outcome.epochs,
        hashes=(finished.weights_hash, finished.data_hash, finished.order_hash),
        metrics=dict(outcome.metrics),
        to_target=kept.at_end(finished),
        losses=finished.losses if kept.wish.curve else None,
        parameters=outcome.parameters if kept.wish.parameters else None,
        path=kept.path(finished.start),
        kernel=kernel,
    )


def ended(runs: Sequence[Run], place: Layout) -> list[Result]:
    """Return the results of the runs that ended before: kept, and with the mark of their end where they have folders.

    A run whose folder the process died in before that mark is run again; it may have that of an interruption.
    """
    if place.partial_results is None:
        return []
    points = {run.number: run.point for run in runs}
    folders = {run.number: place.of(run) for run in runs}
    found = []
    for number, result in partial_results.read(place.partial_results).items():
        folder, point = folders.get(number), points.get(number)
        if point is not None and (folder is None or _status(folder) == result.status):
            found.append(replace(result, label=point.label, values=point.values))
    return found


def _status(folder: Path) -> Any:
    try:
        return (json_file(folder / "summary.json") or {}).get("status")
    except MachineError:
        return None


def save_partial(place: Layout, found: Sequence[Result]) -> None:
    """Keep the results of runs that ended by themselves."""
    done = [result for result in found if result.status not in ("interrupted", "failed")]
    if place.partial_results is not None and done:
        partial_results.write(place.partial_results, done)
