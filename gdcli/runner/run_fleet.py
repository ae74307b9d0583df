"""Runs of one structure, trained as one fleet, each with its own files, and with a checkpoint of all of them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.engine import checkpoint_state
from gdcli.engine.evaluation import starts_of
from gdcli.engine.gradient_log import Keep
from gdcli.engine.loop import Interrupt, Loop
from gdcli.engine.problem import TrainingProblem, build, build_fleet
from gdcli.errors import DamagedError
from gdcli.records import Block, Outcome, Outcomes, Result, Start, State
from gdcli.report.styles import STYLES
from gdcli.runner.collect import Collector, first_at, result_of, save_partial
from gdcli.runner.jobs import Advance, Capture, Layout, PlannedRun, Shard, is_of, recorded
from gdcli.runner.provenance import Hashes, hashes_of, head
from gdcli.runner.record_run import Callbacks, Finished, RunRecorder, Timing, train, write_end
from gdcli.storage.checkpoints import Checkpoints, Logs, SavedState
from gdcli.storage.files import json_file, lenient

PREFIX = "fleet-"

_BUILDING = threading.Lock()  # start values are drawn from torch's one global generator


def run_fleet(
    runs: Sequence[PlannedRun], layout: Layout, capture: Capture, interrupt: Interrupt, advance: Advance | None
) -> Iterator[Result]:
    """Train runs of one structure as one fleet, from its last checkpoint where there is one."""
    timing = Timing()
    with _BUILDING:
        fleet = _Fleet(runs, layout, capture, interrupt)
    fleet.open()

    def after_block(block: Block) -> None:
        fleet.after_block(block)
        if advance is not None:
            advance(float(block.epoch[-1]) / fleet.loop.spec.settings.epochs)

    with timing.phase("train"):
        outcomes = train(fleet.loop, [member.recorder for member in fleet.members], after_block)
    timing.steps = int(outcomes.steps.sum())
    results = fleet.results(outcomes)
    checkpoints, goes_on = fleet.checkpoints, fleet.loop.interrupted
    if checkpoints is None or not goes_on:  # else runs that have ended are in the checkpoint, which resumes with all
        save_partial(layout, results)
    for k, result in enumerate(results):
        if fleet.members:
            fleet.members[k].end(timing)
        yield result
    if checkpoints is not None and not goes_on:
        checkpoints.remove()


class _Fleet:
    """Runs in training: their loop, their members, and their checkpoints in the folder of the results.

    Runs of which no more than a row is wanted have no members. Where paths are captured, which are of tiny models,
    there are no checkpoints.
    """

    def __init__(self, runs: Sequence[PlannedRun], layout: Layout, capture: Capture, interrupt: Interrupt) -> None:
        self.problem = build_fleet([run.loaded for run in runs])
        self.runs, self.layout, self.capture, spec = runs, layout, capture, runs[0].loaded.spec
        self.collector = Collector(capture, runs[0].loaded)
        columns = self.collector.columns
        keep: Keep = "none"
        has_folders = layout.of(runs[0]) is not None
        if has_folders:
            keep = "norms" if spec.record.gradients == "auto" else spec.record.gradients
            columns = columns | STYLES[spec.style].columns
        self.hashes = hashes_of(self.problem)
        self.hits: list[int | None] = [None] * len(runs)  # of the target, where there are no members
        self.members: list[_Member] = []
        if has_folders or capture.curve or capture.path:
            self.members = [_Member(self, k, start, keep) for k, start in enumerate(starts_of(self.problem))]
        self.loop = Loop(self.problem, columns, keep, interrupt)
        self.checkpoints: Checkpoints | None = None
        if layout.partial_results is not None and not capture.path:
            key = json.dumps([[run.number, repr(run.trial.changes)] for run in runs])
            name = PREFIX + hashlib.sha256(key.encode()).hexdigest()[:16]
            logs = layout.folder or layout.partial_results.parent  # runs without folders have none
            every = spec.checkpoint.every_seconds
            self.checkpoints = Checkpoints(layout.partial_results, key, every, name=name, logs=logs)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the members' folders, or resume in them from the last checkpoint: with its losses and its hits."""
        found: SavedState | None = None
        logs: Logs = {}
        if self.checkpoints is not None:
            at_most = checkpoint_state.size(self.loop) + 8 * self.loop.runs * self.loop.all_steps
            found = self.checkpoints.latest(at_most, self._fit, lambda text: None)
        if found is not None:
            checkpoint_state.restore(self.loop, _of_loop(found.state))
            self.hits, logs = list(found.state.numbers["hits"]), found.logs
        for k, member in enumerate(self.members):
            member.open(None if found is None else found.state.arrays[f"losses.{k}"], self.hits[k], logs)

    def _fit(self, state: State) -> None:
        """Raise DamagedError for a state that is not of these runs, or whose folders are not theirs."""
        checkpoint_state.fits(self.loop, _of_loop(state))
        hits = state.numbers.get("hits")
        if not isinstance(hits, list) or len(hits) != len(self.runs):
            raise DamagedError("its runs are not these")
        if any(f"losses.{k}" not in state.arrays for k in range(len(self.members))):
            raise DamagedError("it lacks the losses of a run")
        if not all(member.is_there() for member in self.members):
            raise DamagedError("a run's folder is not as it was")

    def after_block(self, block: Block) -> None:
        """Look for the target, and write a checkpoint if it is time, or if the fleet was interrupted."""
        if not self.members and self.capture.target is not None:
            self._look(block, self.capture.target)
        if self.checkpoints is None or not (self.loop.interrupted or self.checkpoints.due()):
            return
        state = checkpoint_state.capture(self.loop)
        hits = [member.collector.hit for member in self.members] or self.hits
        numbers = state.numbers | {"hits": hits, "runs": [run.number for run in self.runs]}
        losses = {f"losses.{k}": member.recorder.losses() for k, member in enumerate(self.members)}
        logs = {name: log for member in self.members for name, log in member.logs().items()}
        self.checkpoints.write(replace(state, numbers=numbers, arrays=state.arrays | losses), logs)

    # --- results ------------------------------------------------------------------------------------------------------

    def _look(self, block: Block, target: float) -> None:
        losses, before = (block.loss, 1) if self.collector.full_batch else (block.full_loss, 0)
        assert losses is not None
        for run, hit in enumerate(self.hits):
            if hit is None and (k := first_at(losses[: block.count[run], run], target)) is not None:
                self.hits[run] = int(block.step[k]) - before

    def results(self, outcomes: Outcomes) -> list[Result]:
        """Return each run's result, all its files but the mark of the end written."""
        kernel, as_parameters = self.problem.kernel_name, self.problem.theta.as_parameters
        found = []
        for k, (run, hashes) in enumerate(zip(self.runs, self.hashes, strict=True)):
            if self.members:
                found.append(self.members[k].result(outcomes.of_run(k, as_parameters), hashes, kernel))
            else:
                outcome = outcomes.of_run(k, as_parameters if self.capture.parameters else lambda values: ())
                found.append(result_of(run, outcome, hashes, kernel, self.capture, self.hits[k]))
        return found


def _of_loop(state: State) -> State:
    arrays = {name: array for name, array in state.arrays.items() if not name.startswith("losses.")}
    return replace(state, arrays=arrays)


class _Member:
    """One run of a fleet with its files and with what is captured of it."""

    def __init__(self, fleet: _Fleet, k: int, start: Start, keep: Keep) -> None:
        run, layout = fleet.runs[k], fleet.layout
        self.run, self.folder, self.collector = run, layout.of(run), Collector(fleet.capture, run.loaded)
        callbacks = Callbacks(block=self.collector.block)
        self.recorder = RunRecorder(run.loaded.spec, start, self.folder, keep, callbacks)
        self.finished: Finished | None = None
        self.config, self.files = ("", {}) if self.folder is None else head(fleet.problem, layout.origin, k, keep)

    def is_there(self) -> bool:
        """Say whether the folder is that of this run."""
        return self.folder is None or is_of(self.folder, self.config)

    def open(self, losses: NDArray[np.float64] | None, hit: int | None, logs: Logs) -> None:
        """Begin, or resume after the steps with these losses, with the logs as they were then."""
        recorded(self.folder, self.config, self.files, again=losses is not None)
        above, self.collector.hit = f"{self.folder.name}/" if self.folder is not None else "", hit
        mine = {name.removeprefix(above): log for name, log in logs.items() if name.startswith(above)}
        self.recorder.open(losses, None if losses is None else mine)

    def logs(self) -> Logs:
        """Return length and sha256 of the files, once they are on the disk, by their path below the folder of all."""
        return {f"{self.folder.name}/{name}": log for name, log in self.recorder.logs().items()} if self.folder else {}

    def result(self, outcome: Outcome, hashes: Hashes, kernel: str) -> Result:
        """Return the result, all files but the mark of the end written."""
        self.finished = self.recorder.finish(outcome, hashes)
        return self.collector.result(self.run, self.finished, kernel)

    def end(self, timing: Timing) -> None:
        """Write the mark of the end."""
        if self.folder is not None and self.finished is not None:
            write_end(self.folder, timing, self.finished.summary())


def begun(folder: Path | None) -> list[tuple[int, ...]]:
    """Return the numbers of the runs of each fleet that has a checkpoint among the partial results."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.json")) if folder is not None else []:
        numbers = (lenient(None, json_file, path) or {}).get("runs")
        if isinstance(numbers, list) and all(type(number) is int for number in numbers):
            found.append(tuple(numbers))
    return found


def matches_single(shard: Shard) -> bool:
    """Say whether the first gradient of a fleet's first run has the bits of `run`: the self-test of written-out layers.

    The products of a tiny layer are made by torch as a product and a sum on most processors, and by a fused operation
    on others; then fleets agree among themselves, and with `run` to rounding.
    """

    def first_gradient(problem: TrainingProblem) -> bytes:
        rows = next(iter(problem.batches.epoch()))
        with np.errstate(all="ignore"):
            problem.kernel.step(rows.x, rows.y)
        return problem.theta.gradient[0].cpu().numpy()[problem.theta.columns].tobytes()

    loaded = shard.runs[0].loaded
    return first_gradient(build_fleet([loaded])) == first_gradient(build(loaded))
