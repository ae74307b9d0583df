"""Runs put into shards, and a shard carried out."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdcli.engine.batches import effort_of
from gdcli.engine.evaluation import starts_of
from gdcli.engine.gradient_log import Keep
from gdcli.engine.grouping import Seen, chunk_of, is_stacked, structure, why_alone
from gdcli.engine.loop import Interrupt, Loop, columns_of_best
from gdcli.engine.problem import FLEET_OF_LAYERS, TrainingProblem, build, build_fleet
from gdcli.errors import MachineError, NoMemoryError
from gdcli.records import Block, Result
from gdcli.report.styles import STYLES
from gdcli.runner import provenance
from gdcli.runner.epoch_rows import EpochRows
from gdcli.runner.jobs import CALL, Advance, Capture, Collector, Layout, PlannedRun, Shard, failed_run, save_partial
from gdcli.runner.provenance import Hashes, Provenance
from gdcli.runner.record_run import LOGS, Training, alone
from gdcli.runner.run_recorder import RunRecorder, ignored
from gdcli.runner.step_files import columns_for
from gdcli.spec.world_size import require_world
from gdcli.storage.checkpoints import Checkpoints
from gdcli.storage.files import json_file, lenient
from gdcli.storage.record import status_of
from gdcli.storage.run_folder import RecordFolder, Timing, clear, most_logs

PREFIX = "fleet-"
WITH_MARK = ("finished", "stopped", "diverged")
"""How runs end by themselves: one of a fleet that is done once more, for others, keeps its files as they are."""

_BUILDING = threading.Lock()  # start values are drawn from torch's one global generator


def shards_of(
    runs: Sequence[PlannedRun],
    *,
    fleets: bool,
    workers: int = 1,
    folders: bool = True,
    begun: Sequence[tuple[int, ...]] = (),
    fixed: Sequence[tuple[int, ...]] = (),
) -> list[Shard]:
    """Return runs as shards: those of one structure together, in chunks that stay in cache and feed all workers.

    The chunks do not change a run's bits. Fleets that have ``begun``, by their runs' numbers, stay as they are, as do
    those ``fixed``, of torch's layers, whose bits depend on their members. Runs with ``folders`` hold their logs open,
    as many as the process may.
    """
    together: dict[Any, list[PlannedRun]] = {}
    found: list[Shard] = []
    seen: Seen = {}
    for run in _without([*runs], fixed, found) if fixed else runs:
        loaded = run.loaded if fleets else None
        if loaded is None or why_alone(loaded) or (folders and "sample" in STYLES[loaded.spec.style].columns):
            found.append(Shard((run,), together=False))
        else:
            together.setdefault(structure(loaded, seen), []).append(run)
    open_at_once = max(1, most_logs() // LOGS // workers) if folders else len(runs)
    share = -(-workers // max(1, len(together)))  # of the workers: several structures keep them busy together
    for members in together.values():
        members = _without(members, begun, found)
        if not members:
            continue
        size = min(chunk_of(members[0].loaded), -(-len(members) // share), open_at_once)
        chunks = [tuple(members[k : k + size]) for k in range(0, len(members), size)]
        found += [Shard(chunk, together=True) for chunk in chunks]
    return sorted(found, key=lambda shard: shard.runs[0].number)


def _without(members: list[PlannedRun], begun: Sequence[tuple[int, ...]], found: list[Shard]) -> list[PlannedRun]:
    """Move the members of fleets that have begun, all of which are there, to shards; return the others."""
    by_number = {run.number: run for run in members}
    for numbers in filter(None, begun):
        if by_number.keys() >= set(numbers):
            fleet = tuple(by_number.pop(number) for number in numbers)
            found.append(Shard(fleet, together=True))
    return [*by_number.values()]


def begun(folder: Path | None) -> list[tuple[int, ...]]:
    """Return the numbers of the runs of each fleet that has a checkpoint among the partial results."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.json")) if folder is not None else []:
        numbers = (lenient(None, json_file, path) or {}).get("runs")
        if isinstance(numbers, list) and all(type(number) is int for number in numbers):
            found.append(tuple(numbers))
    return found


# --- a shard carried out ----------------------------------------------------------------------------------------------


def run_single(run: PlannedRun, capture: Capture, interrupt: Interrupt) -> Result:
    """Train a run by itself in memory, as `run` does."""
    (result,) = run_in_memory([run], capture, interrupt)
    return result


def run_in_memory(runs: Sequence[PlannedRun], capture: Capture, interrupt: Interrupt) -> list[Result]:
    """Train runs without folders, those of one structure together, and return their results in the runs' order."""
    layout = Layout(None, len(runs), Provenance(b"", ()))
    found: dict[int, Result] = {}
    for shard in shards_of(runs, fleets=len(runs) > 1, folders=False):
        found |= {result.number: result for result in run_shard(shard, layout, capture, interrupt)}
    return [found[run.number] for run in runs]


def run_shard(
    shard: Shard, layout: Layout, capture: Capture, interrupt: Interrupt, advance: Advance = ignored
) -> Iterator[Result]:
    """Carry out a shard and yield the results; a run that fails does not stop the others.

    Runs of a fleet that cannot be made, or that raises, are tried one by one: only the bad one fails.
    """
    try:
        yield from train_shard(shard, layout, capture, interrupt, advance)
        return
    except CALL as error:
        if isinstance(error, MachineError) and not isinstance(error, NoMemoryError):
            raise
        if len(shard.runs) == 1:
            yield failed_run(shard.runs[0], error)
            return
    for run in shard.runs:
        clear(layout.of(run))
    together = shard.together and not is_stacked(shard.runs[0].loaded)
    for run in shard.runs:
        if interrupt.requested:
            return
        yield from run_shard(Shard((run,), together), layout, capture, interrupt)


def train_shard(
    shard: Shard, layout: Layout, capture: Capture, interrupt: Interrupt, advance: Advance
) -> Iterator[Result]:
    """Train the runs of a shard as one fleet, or its one run as `run` does, from the last checkpoint there is."""
    timing, collector = Timing(), Collector(capture, shard.runs)
    with _BUILDING:
        training = _training(shard, layout, collector, interrupt)
    problem, epochs = training.loop.problem, max(1, training.loop.spec.settings.epochs)
    all_hashes = provenance.hashes_of(problem)

    def after_block(block: Block) -> None:
        collector.block(block)
        advance(float(block.epoch[-1]) / epochs)

    outcomes = training.train(timing, after_block)
    kernel = "single" if problem.kernel_name == "by_hand" else problem.kernel_name
    as_parameters = problem.theta.as_parameters if capture.ends else lambda values: ()
    results: list[Result] = []
    same: dict[Hashes, Hashes] = {}
    for k, hashes in enumerate(all_hashes):
        hashes = same.setdefault(hashes, hashes)  # one object for all runs that share their start, rows and order
        finished = training.finished[k] if training.finished else None
        outcome = outcomes.of_run(k, as_parameters) if finished is None else finished.outcome
        results.append(collector.result(k, outcome, hashes, kernel, finished))
    # else runs that have ended are in the checkpoint, which resumes with all
    keeps = training.checkpoints is None or "interrupted" not in outcomes.status
    if problem.kernel_name == FLEET_OF_LAYERS:  # a fleet that stays the same has ended as a whole, or not
        for k in range(len(training.recorders)):
            training.end(k, timing)
    if keeps:
        save_partial(layout, results)
    for k, result in enumerate(results):
        if training.recorders and problem.kernel_name != FLEET_OF_LAYERS:
            training.end(k, timing)
        yield result
    training.remove_checkpoints()


def _training(shard: Shard, layout: Layout, collector: Collector, interrupt: Interrupt) -> Training:
    """Return the runs of a shard in training.

    A fleet has its checkpoints in the folder of the results. Where paths are captured, which are of tiny models, there
    are none.
    """
    runs, capture, spec, columns = shard.runs, collector.capture, shard.runs[0].loaded.spec, collector.columns
    folders = [layout.of(run) for run in runs]
    if not shard.together:
        built = provenance.prepared(runs[0].loaded)
        record = None if folders[0] is None else RecordFolder(folders[0], *provenance.head(built, layout.origin))
        return alone(built, record, interrupt, columns, keeps_model=layout.models)
    require_world(runs[0].loaded, 1)
    problem = build_fleet([run.loaded for run in runs])
    keep: Keep = "none"
    if folders[0] is not None:
        keep = "norms" if spec.record.gradients == "auto" else spec.record.gradients
        columns = columns | STYLES[spec.style].columns | columns_for(spec.record) | {"epochs"}
    loop = Loop(problem, columns | columns_of_best(problem), keep, interrupt)
    recorders, checkpoints = [], None
    for k, start in enumerate(starts_of(problem) if folders[0] is not None or capture.curve or capture.path else ()):
        folder, record = folders[k], None
        if folder is not None and not (problem.layers is not None and status_of(folder) in WITH_MARK):
            record = RecordFolder(folder, *provenance.head(problem, layout.origin, k, keep))
        above = "" if folder is None else f"{folder.name}/"
        epochs = None if record is None else EpochRows(loop.ends.columns, effort_of(runs[k].loaded))
        recorders.append(RunRecorder(runs[k].loaded.spec, start, record, keep, above=above, epochs=epochs))
    if layout.partial_results is not None and not capture.path:
        key = json.dumps([[run.number, repr(run.trial.changes)] for run in runs])
        name = PREFIX + hashlib.sha256(key.encode()).hexdigest()[:16]
        logs = layout.folder or layout.partial_results.parent  # runs without folders have none
        checkpoints = Checkpoints(layout.partial_results, key, spec.checkpoint.every_seconds, name=name, logs=logs)
    lists: dict[str, list[Any]] = {"hits": collector.hits, "runs": [run.number for run in runs]}
    return Training(loop, recorders, checkpoints, lists, keeps_models=layout.models)


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
