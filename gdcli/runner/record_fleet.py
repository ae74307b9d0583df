"""The runs of a fleet, each with its own files and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli.engine.device import resolve_threads
from gdcli.engine.evaluation import starts_of
from gdcli.engine.gradient_log import Keep
from gdcli.engine.problem import TrainingProblem
from gdcli.errors import DamagedError
from gdcli.records import Block, Outcome, Outcomes, Result, Start, State, StepBlock
from gdcli.report.styles import STYLES
from gdcli.runner import record_run
from gdcli.runner.collect import Collector, result_of
from gdcli.runner.jobs import Capture, Layout, Run, is_of, recorded
from gdcli.runner.record_run import Finished, Timing, Writer
from gdcli.storage.checkpoints import Logs, SavedState


class Members:
    """The runs of a fleet, each with its files and with what is kept of it; ``open`` comes before the first block."""

    def __init__(self, fleet: TrainingProblem, runs: Sequence[Run], place: Layout, wish: Capture) -> None:
        self.fleet, self.runs, self.place, self.wish = fleet, runs, place, wish
        spec = runs[0].loaded.spec
        wanted = spec.record.gradients
        self.keep: Keep = "none"
        self.columns: set[str] = Collector(wish, runs[0].loaded).columns
        self.recorded = place.of(runs[0]) is not None
        if self.recorded:
            self.keep = "norms" if wanted == "auto" else wanted
            self.columns |= STYLES[spec.style].columns
        values = fleet.theta.values[: len(runs)].cpu().numpy()
        self.hashes = _hashes(runs, values[:, fleet.theta.model_order])
        self.hits: list[int | None] = [None] * len(runs)
        self.members: list[Member] = []
        if self.recorded or wish.curve or wish.path:
            starts = zip(runs, starts_of(fleet), strict=True)
            self.members = [Member(fleet, run, start, place, self.keep, wish) for run, start in starts]
        self.kept = Collector(wish, runs[0].loaded)

    def open(self, found: SavedState | None) -> None:
        """Make the members' folders, or go on with them from a checkpoint: with its losses and its hits."""
        logs: Logs = {} if found is None else found.logs
        if found is not None:
            self.hits = list(found.state.numbers["hits"])
        for k, member in enumerate(self.members):
            losses = None if found is None else found.state.arrays[f"losses.{k}"]
            member.open(losses, self.hits[k], logs)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]], Logs]:
        """Return what `open` needs to go on: numbers, arrays, and the logs, which are on the disk."""
        hits = [member.kept.hit for member in self.members] or self.hits
        losses = {f"losses.{k}": member.all_losses() for k, member in enumerate(self.members)}
        logs = {name: log for member in self.members for name, log in member.logs().items()}
        return {"hits": hits, "runs": [run.number for run in self.runs]}, losses, logs

    def fit(self, state: State) -> None:
        """Raise DamagedError for a state that is not of these members, or whose folders are not theirs."""
        hits = state.numbers.get("hits")
        if not isinstance(hits, list) or len(hits) != len(self.runs):
            raise DamagedError("its runs are not these")
        if any(f"losses.{k}" not in state.arrays for k in range(len(self.members))):
            raise DamagedError("it lacks the losses of a run")
        if not all(member.is_there() for member in self.members):
            raise DamagedError("a run's folder is not as it was")

    def block(self, block: Block) -> None:
        """Hand a block to each member; without members look for the target alone."""
        for k, member in enumerate(self.members):
            part = block.of_run(k)
            if part is not None:
                member.block(part)
        if not self.members and self.wish.target is not None:
            self._look(block)

    def _look(self, block: Block) -> None:
        losses, before = (block.loss, 1) if self.kept.full_batch else (block.full_loss, 0)
        assert losses is not None
        assert self.wish.target is not None
        counted = np.arange(len(block.step))[:, None] < block.count
        with np.errstate(invalid="ignore"):
            reached = (losses <= self.wish.target) & counted  # [K, R]
        for k in np.flatnonzero(reached.any(axis=0)).tolist():
            if self.hits[k] is None:
                self.hits[k] = int(block.step[np.argmax(reached[:, k])]) - before

    def results(self, outcome: Outcomes) -> list[Result]:
        """Return each member's result."""
        if not self.members:
            return [self._row(outcome, k) for k in range(len(self.runs))]
        theta = self.fleet.theta
        return [
            member.result(outcome.of_run(k, theta.as_parameters), hashes)
            for k, (member, hashes) in enumerate(zip(self.members, self.hashes, strict=True))
        ]

    def _row(self, found: Outcomes, k: int) -> Result:
        run, diverged, loss = self.runs[k], found.status[k] == "diverged", float(found.loss[k])
        hit = self.hits[k]
        if hit is None and self.wish.target is not None and not diverged and loss <= self.wish.target:
            hit = int(found.steps[k])
        return Result(
            number=run.number,
            label=run.point.label,
            values=run.point.values,
            status=found.status[k],
            message=found.message[k],
            loss=float("nan") if diverged else loss,
            best_loss=float(found.best_loss[k]),
            steps=int(found.steps[k]),
            epochs=int(found.epochs[k]),
            hashes=self.hashes[k],
            metrics={} if diverged else {name: float(column[k]) for name, column in found.metrics.items()},
            to_target=hit,
            parameters=self.fleet.theta.as_parameters(found.values[k]) if self.wish.parameters else None,
            kernel=self.fleet.kernel_name,
        )


class Member:
    """One run of a fleet with its files."""

    def __init__(
        self, fleet: TrainingProblem, run: Run, start: Start, place: Layout, keep: Keep, wish: Capture
    ) -> None:
        self.run, self.start, self.folder, self.kernel = run, start, place.of(run), fleet.kernel_name
        self.kept, self.keep = Collector(wish, run.loaded), keep
        self.losses: list[NDArray[np.float64]] = []
        self.finished: Finished | None = None
        self.steps_per_epoch = fleet.batches.per_epoch
        self.config = ""
        self.files: dict[str, bytes | str] = {}
        if self.folder is not None:
            threads, engine = resolve_threads(run.loaded), _ENGINES[fleet.kernel_name]
            self.config, self.files = record_run.head_of(run.loaded, place.origin, fleet.device, threads, engine, keep)

    def is_there(self) -> bool:
        """Say whether the folder is that of this run."""
        return self.folder is None or is_of(self.folder, self.config)

    def open(self, losses: NDArray[np.float64] | None, hit: int | None, logs: Logs) -> None:
        """Begin, or go on after the steps with these losses, with the logs as they were then."""
        recorded(self.folder, self.config, self.files, again=losses is not None)
        lengths = None
        if losses is not None and self.folder is not None:
            above = f"{self.folder.name}/"
            lengths = {name.removeprefix(above): log[0] for name, log in logs.items() if name.startswith(above)}
        self.writer = Writer(self.run.loaded.spec, self.start, self.folder, self.keep, lengths=lengths)
        if losses is None:
            self.writer.text(self.start)
        else:
            self.losses, self.kept.hit = [losses], hit

    def logs(self) -> Logs:
        """Return length and sha256 of the files, once they are on the disk, by their path below the folder of all."""
        return {f"{self.folder.name}/{name}": log for name, log in self.writer.state().items()} if self.folder else {}

    def all_losses(self) -> NDArray[np.float64]:
        """Return the loss of every step so far."""
        return np.concatenate(self.losses) if self.losses else np.empty(0)

    def block(self, block: StepBlock) -> None:
        """Take a block."""
        self.writer.text(block)
        self.writer.block(block)
        self.kept.block(block)
        self.losses.append(block.loss.astype(np.float64))

    def result(self, outcome: Outcome, hashes: tuple[str, str, str]) -> Result:
        """Return the result, all files but the mark of the end written."""
        self.writer.text(outcome)
        self.writer.sync()
        self.writer.close()
        self.finished = Finished(self.start, outcome, self.all_losses(), self.steps_per_epoch, *hashes, self.folder)
        return result_of(self.run, self.finished, self.kept, self.kernel)

    def end(self, timing: Timing) -> None:
        """Write the mark of the end."""
        if self.folder is not None and self.finished is not None:
            record_run.write_end(self.folder, self.finished, timing)


_ENGINES = {"elementwise": "by_hand", "batched": "by_hand", "objective": "autograd"}


def _hashes(runs: Sequence[Run], values: NDArray[Any]) -> list[tuple[str, str, str]]:
    """Return each run's hashes; data and orders are the same for many."""
    data: dict[int, str] = {}
    orders: dict[int, str] = {}
    found = []
    for run, row in zip(runs, values, strict=True):
        table, seed = id(run.loaded.training), run.loaded.spec.settings.seed
        if table not in data:
            data[table] = record_run.data_hash(run.loaded)
        if seed not in orders:
            orders[seed] = record_run.order_hash(run.loaded)
        found.append((record_run.weights_hash(row), data[table], orders[seed]))
    return found
