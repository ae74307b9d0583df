"""Some runs of many, carried out in this process: as one fleet, or each alone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdcli import execute, keeping, store
from gdcli.engine.build import build, resolve_threads
from gdcli.engine.fleet.build import Fleet, build_fleet, chunk_of, structure, why_alone
from gdcli.engine.fleet.train import Keep, prediction, start_of, train_fleet
from gdcli.engine.train import Interrupt, train
from gdcli.errors import GdcliError, MachineError
from gdcli.execute import Finished, Origin, Record, Timing, Watch, Writer
from gdcli.plan import Point
from gdcli.records import FleetBlock, FleetOutcome, Outcome, Start, StepBlock
from gdcli.results import Result, failed
from gdcli.spec.load import Loaded
from gdcli.styles import STYLES

FOLDERS = 100
"""Each run has a sub-folder up to this many runs."""

CALL = (GdcliError, RuntimeError, ArithmeticError, MemoryError, ValueError, TypeError, LookupError)
"""What a run may raise without taking the others down: torch's layers refuse a batch with any of them.

A full disk is not among the run's own faults.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run to carry out."""

    number: int  # from 1
    point: Point
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class Wish:
    """What is kept of each run besides its row of results.csv."""

    curve: bool = False  # the loss of every step
    path: bool = False  # the parameters after every step
    parameters: bool = False  # at the end
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Runs that are carried out one after the other, or together as one fleet."""

    runs: tuple[Run, ...]
    together: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs' sub-folders go, of how many, where the runs come from, and where their results are kept.

    Results are kept until all runs have ended, so that none that has is run again after a crash.
    """

    folder: Path | None
    count: int
    origin: Origin
    kept: Path | None = None

    def of(self, run: Run) -> Path | None:
        """Return a run's own folder; None beyond 100 runs."""
        if self.folder is None or self.count > FOLDERS:
            return None
        return self.folder / folder_name(run.number, run.point.label, self.count)


def folder_name(number: int, label: str, count: int) -> str:
    """Return the name of a run's sub-folder: its number, and its label in letters that every file system takes.

    >>> folder_name(7, "lr=0.1,momentum=0.9", 12)
    '07-lr=0.1_momentum=0.9'
    """
    safe = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "._=-" else "_" for letter in label)
    return f"{number:0{len(str(count))}d}-{safe[:48]}"


def shards_of(runs: Sequence[Run], *, fleets: bool, workers: int = 1, folders: bool = True) -> list[Shard]:
    """Return runs as shards: those of one structure together, in chunks that stay in cache and feed all workers.

    The chunks do not change a run's bits.
    """
    together: dict[Any, list[Run]] = {}
    found = []
    for run in runs:
        if not fleets or why_alone(run.loaded) or (folders and "sample" in STYLES[run.loaded.spec.style].columns):
            found.append(Shard((run,), together=False))
        else:
            together.setdefault(structure(run.loaded), []).append(run)
    for members in together.values():
        size = min(chunk_of(members[0].loaded), -(-len(members) // workers))
        chunks = [tuple(members[k : k + size]) for k in range(0, len(members), size)]
        found += [Shard(chunk, together=True) for chunk in chunks]
    return sorted(found, key=lambda shard: shard.runs[0].number)


Tell = Callable[[Result], None]
Advance = Callable[[float], None]  # the share of the shard that is done


def carry_out(
    shard: Shard, place: Place, wish: Wish, interrupt: Interrupt, advance: Advance | None = None
) -> Iterator[Result]:
    """Carry out a shard and yield the results; a run that fails does not stop the others.

    Runs of a fleet that cannot be made, or that raises, are tried one by one: only the bad one fails.
    """
    if shard.together:
        try:
            yield from _fleet(shard.runs, place, wish, interrupt, advance)
            return
        except MachineError:
            raise
        except CALL as error:
            if len(shard.runs) == 1:
                yield _failed(shard.runs[0], error)
                return
            for run in shard.runs:
                clear(place.of(run))
    for run in shard.runs:
        if interrupt.requested:
            return
        if shard.together:
            yield from carry_out(Shard((run,), together=True), place, wish, interrupt)
        else:
            yield _alone(run, place, wish, interrupt, advance)


def ended(runs: Sequence[Run], place: Place) -> list[Result]:
    """Return the results of the runs that ended before: kept, and with the mark of their end where they have folders.

    A run whose folder the process died in before that mark is run again.
    """
    if place.kept is None:
        return []
    points = {run.number: run.point for run in runs}
    folders = {run.number: place.of(run) for run in runs}
    found = []
    for number, result in keeping.read(place.kept).items():
        folder, point = folders.get(number), points.get(number)
        if point is not None and (folder is None or (folder / "summary.json").is_file()):
            found.append(replace(result, label=point.label, values=point.values))
    return found


def keep(place: Place, found: Sequence[Result]) -> None:
    """Keep the results of runs that ended by themselves."""
    done = [result for result in found if result.status not in ("interrupted", "failed")]
    if place.kept is not None and done:
        keeping.write(place.kept, done)


def _failed(run: Run, error: BaseException) -> Result:
    return failed(run.number, run.point.label, run.point.values, why(error))


def why(error: BaseException) -> str:
    """Return what a run raised in one line."""
    text = str(error).splitlines()[0] if str(error) else ""
    return text if isinstance(error, GdcliError) else f"{type(error).__name__}: {text}"


def clear(folder: Path | None) -> None:
    """Take away what a run left that is tried again."""
    if folder is None:
        return
    with store.naming(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)


# --- alone ------------------------------------------------------------------------------------------------------------


def _alone(run: Run, place: Place, wish: Wish, interrupt: Interrupt, advance: Advance | None) -> Result:
    """Run as `run` does, in a folder of its own."""
    epochs = max(1, run.loaded.spec.settings.epochs)
    kept = _Kept(wish, run.loaded)

    def block(block: StepBlock) -> None:
        kept.block(block)
        if advance is not None:
            advance(float(block.epoch[-1]) / epochs)

    watch = Watch(block=block, columns=frozenset(kept.columns))
    found: list[Result] = []

    def ended(finished: Finished) -> None:
        name = "single" if built.kernel_name == "by_hand" else built.kernel_name
        found.append(_result(run, finished, kept, name))
        keep(place, found)

    try:
        built = execute.prepared(run.loaded)
        record = _recorded(place.of(run), *execute.head(built, place.origin), again=not kept.columns)
        execute.run(built, record, watch=watch, interrupt=interrupt, plot=False, ended=ended)
    except MachineError:
        raise
    except CALL as error:
        return _failed(run, error)
    return found[0]


def _recorded(
    folder: Path | None, config: str, files: Mapping[str, bytes | str], *, again: bool = False
) -> Record | None:
    """Make a run's folder with its first files; with ``again`` one that is there, of the same run, is gone on with."""
    if folder is None:
        return None
    if again and _is_of(folder, config):
        return Record(folder, config, again=True)
    clear(folder)
    with store.naming(folder):
        folder.mkdir()
        for name, content in files.items():
            store.write(folder / name, content)
    return Record(folder, config)


def _is_of(folder: Path, config: str) -> bool:
    """Say whether a folder is that of a run of this config.yaml."""
    try:
        return (folder / "config.yaml").read_bytes() == config.encode() and not folder.is_symlink()
    except OSError:
        return False


class _Kept:
    """What a wish keeps of a run, from its blocks."""

    def __init__(self, wish: Wish, loaded: Loaded) -> None:
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
        if self.wish.target is not None and self.hit is None:
            self.hit = self._first(block)

    def _first(self, block: StepBlock) -> int | None:
        """Return the number of steps after which the whole set's loss was at the target, if that was in this block."""
        losses, before = (block.loss, 1) if self.full_batch else (block.full_loss, 0)
        assert losses is not None
        assert self.wish.target is not None
        with np.errstate(invalid="ignore"):
            reached = np.flatnonzero(losses <= self.wish.target)
        return int(block.step[reached[0]]) - before if len(reached) else None

    def at_end(self, outcome: Outcome) -> int | None:
        """Return the steps to the target, the loss at the end counted."""
        if self.wish.target is None or self.hit is not None:
            return self.hit
        return outcome.steps if outcome.status != "diverged" and outcome.loss <= self.wish.target else None

    def path(self, start: Start) -> NDArray[np.float64] | None:
        """Return the parameters at the start and after every step."""
        if not self.wish.path:
            return None
        first = np.concatenate([p.values.astype(np.float64).ravel() for p in start.parameters])[None]
        return np.concatenate([first, *self.states])


def _result(run: Run, finished: Finished, kept: _Kept, kernel: str) -> Result:
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
        to_target=kept.at_end(outcome),
        losses=finished.losses if kept.wish.curve else None,
        parameters=outcome.parameters if kept.wish.parameters else None,
        path=kept.path(finished.start),
        kernel=kernel,
    )


# --- together ---------------------------------------------------------------------------------------------------------


_BUILDING = threading.Lock()  # start values are drawn from torch's one global generator


def _fleet(
    runs: Sequence[Run], place: Place, wish: Wish, interrupt: Interrupt, advance: Advance | None
) -> Iterator[Result]:
    """Train runs of one structure as one fleet."""
    loaded = runs[0].loaded
    timing, folders = Timing(), [place.of(run) for run in runs]
    with _BUILDING:
        fleet = build_fleet([run.loaded for run in runs])
        together = _Together(fleet, runs, folders, wish, place.origin)
    epochs = loaded.spec.settings.epochs
    outcome: FleetOutcome | None = None
    try:
        with timing.phase("train"):
            for event in train_fleet(fleet, together.columns, together.keep, interrupt):
                if isinstance(event, FleetOutcome):
                    outcome = event
                    continue
                together.block(event)
                if advance is not None:
                    advance(float(event.epoch[-1]) / epochs)
    except BaseException:
        for member in together.members:
            member.writer.close()
        raise
    assert outcome is not None
    timing.steps = int(outcome.steps.sum())
    found = together.results(outcome)
    keep(place, found)
    for member, result in zip(together.members, found, strict=False):
        member.end(timing)
        yield result
    yield from found[len(together.members) :]


class _Together:
    """The members of a fleet, each with its files and with what is kept of it."""

    def __init__(
        self, fleet: Fleet, runs: Sequence[Run], folders: Sequence[Path | None], wish: Wish, origin: Origin
    ) -> None:
        self.fleet, self.runs, self.folders, self.wish = fleet, runs, folders, wish
        spec = runs[0].loaded.spec
        wanted = spec.record.gradients
        self.keep: Keep = "none"
        self.columns: set[str] = _Kept(wish, runs[0].loaded).columns
        self.recorded = folders[0] is not None
        if self.recorded:
            self.keep = "norms" if wanted == "auto" else wanted
            self.columns |= STYLES[spec.style].columns
        values = fleet.theta.values[: len(runs)].cpu().numpy()
        self.hashes = _hashes(runs, values[:, fleet.theta.model_order])
        self.hits: list[int | None] = [None] * len(runs)
        self.members: list[_Member] = []
        if self.recorded or wish.curve or wish.path:
            start = next(iter(train(build(runs[0].loaded))))
            assert isinstance(start, Start)
            self.members = [
                _Member(fleet, k, run, start_of(fleet, k, start), folders[k], self.keep, wish, origin)
                for k, run in enumerate(runs)
            ]
        self.kept = _Kept(wish, runs[0].loaded)

    def block(self, block: FleetBlock) -> None:
        """Hand a block to each member; without members look for the target alone."""
        for k, member in enumerate(self.members):
            part = block.of_run(k)
            if part is not None:
                member.block(part)
        if not self.members and self.wish.target is not None:
            self._look(block)

    def _look(self, block: FleetBlock) -> None:
        losses, before = (block.loss, 1) if self.kept.full_batch else (block.full_loss, 0)
        assert losses is not None
        assert self.wish.target is not None
        counted = np.arange(len(block.step))[:, None] < block.count
        with np.errstate(invalid="ignore"):
            reached = (losses <= self.wish.target) & counted  # [K, R]
        for k in np.flatnonzero(reached.any(axis=0)).tolist():
            if self.hits[k] is None:
                self.hits[k] = int(block.step[np.argmax(reached[:, k])]) - before

    def results(self, outcome: FleetOutcome) -> list[Result]:
        """Return each member's result."""
        if not self.members:
            return [self._row(outcome, k) for k in range(len(self.runs))]
        return [member.result(self._outcome(outcome, k), self.hashes[k]) for k, member in enumerate(self.members)]

    def _outcome(self, found: FleetOutcome, k: int) -> Outcome:
        return Outcome(
            status=found.status[k],
            message=found.message[k],
            steps=int(found.steps[k]),
            epochs=int(found.epochs[k]),
            loss=float(found.loss[k]),
            best_loss=float(found.best_loss[k]),
            best_step=int(found.best_step[k]),
            parameters=self.fleet.theta.as_parameters(found.values[k]),
            metrics={} if found.status[k] == "diverged" else _metrics(found, k),
            prediction=prediction(self.fleet, k),
        )

    def _row(self, found: FleetOutcome, k: int) -> Result:
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
            metrics={} if diverged else _metrics(found, k),
            to_target=hit,
            parameters=self.fleet.theta.as_parameters(found.values[k]) if self.wish.parameters else None,
            kernel=self.fleet.kernel_name,
        )


class _Member:
    """One run of a fleet with its files."""

    def __init__(
        self, fleet: Fleet, k: int, run: Run, start: Start, folder: Path | None, keep: Keep, wish: Wish, origin: Origin
    ) -> None:
        self.run, self.start, self.folder, self.kernel = run, start, folder, fleet.kernel_name
        self.kept = _Kept(wish, run.loaded)
        self.losses: list[NDArray[np.float64]] = []
        self.finished: Finished | None = None
        self.steps_per_epoch = fleet.batches.per_epoch
        if folder is not None:
            threads, engine = resolve_threads(run.loaded), _ENGINES[fleet.kernel_name]
            _recorded(folder, *execute.head_of(run.loaded, origin, fleet.device, threads, engine, keep))
        self.writer = Writer(run.loaded.spec, start, folder, keep)
        self.writer.text(start)

    def block(self, block: StepBlock) -> None:
        self.writer.text(block)
        self.writer.block(block)
        self.kept.block(block)
        self.losses.append(block.loss.astype(np.float64))

    def result(self, outcome: Outcome, hashes: tuple[str, str, str]) -> Result:
        self.writer.text(outcome)
        self.writer.sync()
        self.writer.close()
        losses = np.concatenate(self.losses) if self.losses else np.empty(0)
        self.finished = Finished(self.start, outcome, losses, self.steps_per_epoch, *hashes, self.folder)
        return _result(self.run, self.finished, self.kept, self.kernel)

    def end(self, timing: Timing) -> None:
        """Write the mark of the end."""
        if self.folder is not None and self.finished is not None:
            execute.write_end(self.folder, self.finished, timing)


def _metrics(found: FleetOutcome, k: int) -> dict[str, float]:
    return {name: float(column[k]) for name, column in found.metrics.items()}


_ENGINES = {"written_out": "by_hand", "batched": "by_hand", "objective": "autograd"}


def _hashes(runs: Sequence[Run], values: NDArray[Any]) -> list[tuple[str, str, str]]:
    """Return each run's hashes; data and orders are the same for many."""
    data: dict[int, str] = {}
    orders: dict[int, str] = {}
    found = []
    for run, row in zip(runs, values, strict=True):
        table, seed = id(run.loaded.training), run.loaded.spec.settings.seed
        if table not in data:
            data[table] = execute.data_hash(run.loaded)
        if seed not in orders:
            orders[seed] = execute.order_hash(run.loaded)
        found.append((execute.weights_hash(row), data[table], orders[seed]))
    return found


def matches_single(shard: Shard) -> bool:
    """Say whether the first gradient of a fleet's first run has the bits of `run`: the self-test of written-out layers.

    The products of a tiny layer are made by torch as a product and a sum on most processors, and by a fused operation
    on others; then fleets agree among themselves, and with `run` to rounding.
    """
    loaded = shard.runs[0].loaded
    fleet, single = build_fleet([loaded]), build(loaded)
    rows, alone = next(iter(fleet.batches.epoch())), next(iter(single.batches.epoch()))
    fleet.kernel.step(rows.x, rows.y)
    single.kernel.step(alone.x, alone.y)
    columns = single.theta.columns
    ours = fleet.theta.gradient[0].cpu().numpy()[fleet.theta.columns]
    return bool(ours.tobytes() == single.theta.gradient[0].cpu().numpy()[columns].tobytes())
