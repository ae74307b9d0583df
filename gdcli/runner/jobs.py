"""The runs of a sweep or a comparison: where they go, what is captured of them, their results until all have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.engine.batches import each_step_has_the_whole_loss
from gdcli.engine.closed_form import Solution, compared_names, solve
from gdcli.engine.evaluation import metric_names
from gdcli.errors import GdcliError
from gdcli.plan import SpecFactory, Trial
from gdcli.records import Block, Floats, Outcome, Result
from gdcli.runner.provenance import Hashes, Provenance
from gdcli.runner.run_recorder import Finished
from gdcli.spec.load import Loaded
from gdcli.storage import partial_results
from gdcli.storage.record import status_of

FOLDERS = 100
"""Up to this many runs, each has a sub-folder."""

CALL = (GdcliError, RuntimeError, ArithmeticError, MemoryError, ValueError, TypeError, LookupError)
"""What a run may raise without taking the others down: torch's layers refuse a batch with any of them.

A full disk is not among the run's own faults.
"""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep or a comparison."""

    number: int  # from 1
    trial: Trial
    made: Loaded | SpecFactory  # its spec with its data, or, of one of very many, what makes it each time

    @property
    def loaded(self) -> Loaded:
        """Its spec with its data."""
        return self.made if isinstance(self.made, Loaded) else self.made.of(self.trial)


@dataclass(frozen=True, slots=True)
class Capture:
    """What is captured of each run besides its row of results.csv."""

    curve: bool = False  # the loss of every step
    path: bool = False  # the parameters after every step
    parameters: bool = False  # at the end
    target: float | None = None
    closed_form: bool = False  # the parameters beside those of the lowest loss
    models: bool = False  # parameters and buffers, for one file of all

    @property
    def ends(self) -> bool:
        """Whether a result has the parameters and buffers at the run's end."""
        return self.parameters or self.models


def columns_of(loaded: Loaded, capture: Capture) -> list[str]:
    """Return the names of the metrics that the results of runs have."""
    return metric_names(loaded) + (compared_names(loaded) if capture.closed_form else [])


@dataclass(frozen=True, slots=True)
class Shard:
    """Runs done one after the other, or together as one fleet."""

    runs: tuple[PlannedRun, ...]
    together: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the runs' sub-folders go, how many runs there are, where they come from, and where their results wait.

    Results wait there until all runs have ended, so that after a crash no finished run is run again.
    """

    folder: Path | None
    count: int
    origin: Provenance
    partial_results: Path | None = None
    models: bool = True  # whether each run's folder has its model

    def of(self, run: PlannedRun) -> Path | None:
        """Return a run's own folder; None beyond 100 runs."""
        if self.folder is None or self.count > FOLDERS:
            return None
        return self.folder / folder_name(run.number, run.trial.label, self.count)


def folder_name(number: int, label: str, count: int) -> str:
    """Return the name of a run's sub-folder: its number, and its label in letters that every file system takes.

    >>> folder_name(7, "lr=0.1,momentum=0.9", 12)
    '07-lr=0.1_momentum=0.9'
    """
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._=-" else "_" for letter in label)
    return f"{number:0{len(str(count))}d}-{safe[:48]}"


NO_METRICS: Mapping[str, float] = {}
"""Those of all runs that have none."""

Advance = Callable[[float], None]  # the share of the shard that is done


def failed_run(run: PlannedRun, error: BaseException) -> Result:
    """Return the result of a run that raised, with what it raised in one line."""
    text = str(error).splitlines()[0] if str(error) else ""
    why = text if isinstance(error, GdcliError) else f"{type(error).__name__}: {text}"
    return Result(run.number, run.trial.label, run.trial.values, "failed", why)


# --- what is captured, and kept until all runs have ended ------------------------------------------------------------


class Collector:
    """What is captured of runs of one structure, from their blocks."""

    def __init__(self, capture: Capture, runs: Sequence[PlannedRun]) -> None:
        self.capture, self.runs = capture, runs
        self.whole_loss = each_step_has_the_whole_loss(runs[0].loaded)
        self.columns = {"parameters"} if capture.path else set()
        if capture.target is not None and not self.whole_loss:
            self.columns.add("full_loss")
        self.states: list[list[NDArray[np.float64]]] = [[] for _ in runs]  # of each run, the parameters after its steps
        self._solutions: dict[int, Solution] = {}
        self.hits: list[int | None] = [None] * len(runs)  # after how many steps the whole set's loss was at the target

    def block(self, block: Block) -> None:
        """Take a block's columns. Each step's loss may be the whole set's before its update."""
        target = self.capture.target
        losses, before = (block.loss, 1) if self.whole_loss else (block.full_loss, 0)
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
            if self.whole_loss and finished is not None:  # of the steps before a checkpoint too
                hit = _first_at(finished.losses, capture.target)
            if hit is None and not diverged and outcome.loss <= capture.target:
                hit = outcome.steps
        if capture.path and finished is not None:
            first = [parameter.values.astype(np.float64).ravel() for parameter in finished.start.parameters]
            path = np.concatenate([np.concatenate(first)[None], *self.states[k]])
            if diverged:  # its loss may go before its parameters do
                path = np.concatenate([path, np.full((1, path.shape[1]), np.nan)])
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
            metrics={**_numbers(outcome), **self._compared(run, outcome)} or NO_METRICS,
            to_target=hit,
            losses=finished.losses if capture.curve and finished is not None else None,
            parameters=(*outcome.parameters, *outcome.buffers) if capture.ends else None,
            path=path,
            kernel=kernel,
        )

    def _compared(self, run: PlannedRun, outcome: Outcome) -> dict[str, float]:
        if not self.capture.closed_form or outcome.status == "diverged":
            return {}
        loaded = run.loaded
        if id(loaded.training) not in self._solutions:  # once for runs that share their rows
            self._solutions[id(loaded.training)] = solve(loaded)
        return self._solutions[id(loaded.training)].compared(outcome.parameters)


def _numbers(outcome: Outcome) -> dict[str, float]:
    """Return the metrics that are numbers."""
    return {name: value for name, value in outcome.metrics.items() if isinstance(value, int | float)}


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
