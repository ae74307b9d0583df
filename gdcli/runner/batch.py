"""The runs of a sweep or a comparison: run by an executor, their rows written as they come, some verified alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np

from gdcli import records
from gdcli.engine.batches import effort_of
from gdcli.engine.loop import Interrupt
from gdcli.engine.prediction import bytes_of
from gdcli.engine.problem import FLEET_OF_LAYERS
from gdcli.records import Result
from gdcli.runner.all_models import AllModels
from gdcli.runner.executors.threads import here, threads_of
from gdcli.runner.executors.worker import Executor, SpecSource, Work
from gdcli.runner.fixed_fleets import fixed_fleets, unfinished
from gdcli.runner.jobs import FOLDERS, Capture, Layout, PlannedRun, Shard, columns_of, ended
from gdcli.runner.provenance import Provenance
from gdcli.runner.record_run import Warn
from gdcli.runner.shards import begun, run_single, shards_of
from gdcli.spec.load import Loaded
from gdcli.spec.metrics import chosen_by
from gdcli.storage import csv_writer, files, models
from gdcli.storage.record import ENDED
from gdcli.storage.run_folder import Log, Timing, write_end


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The runs of a sweep or a comparison, how they are executed and what is captured of them."""

    loaded: Loaded  # the base spec
    measured: Loaded  # what says which numbers a row has, and what ranks it
    source: SpecSource  # the same as text
    runs: Sequence[PlannedRun]
    axes: Sequence[str]  # the first columns of results.csv
    origin: Provenance
    fleets: bool  # together, or one by one
    vmapped: bool = False  # torch's own layers together too, where they can be
    executor: Executor
    workers: int
    fail_fast: bool  # the first failure ends it
    capture: Capture
    folders: bool  # a sub-folder a run, up to 100 runs
    shards: Sequence[Shard] = ()  # of all runs without folders for one worker, where they have been cut already

    @property
    def ranking(self) -> records.Ranking:
        """What the runs are ranked by."""
        return chosen_by(self.measured).ranking


@dataclass(frozen=True, slots=True)
class BatchCallbacks:
    """What is called for each result as it comes, for warnings, and for the number of runs done."""

    result: Callable[[Result], None] = lambda result: None
    warning: Warn = lambda text: None
    share: Callable[[float], None] = lambda share: None  # in runs
    note: Warn = lambda text: None


PARTIAL_RESULTS = ".results"
"""The folder, in that of a sweep or comparison, of the results of runs that have ended, until all have."""


def run_all(
    plan: Plan,
    folder: Path,
    interrupt: Interrupt,
    callbacks: BatchCallbacks,
    rows: ResultRows | None,
    *,
    again: bool = False,
    part: str = "runs",
) -> list[Result]:
    """Run all and return the results in the order asked for; ``rows`` gets them in this order too.

    A run that fails does not stop the others, unless the plan says so. With ``again``, runs of this part that have
    ended before are not run again. Models that are captured go into one file.
    """
    if not plan.capture.models:
        return _run_all(plan, folder, interrupt, callbacks, rows, again=again, part=part)
    with AllModels(folder, keep=plan.capture.parameters) as kept:
        found = _run_all(plan, folder, interrupt, callbacks, rows, again=again, part=part, taken=kept.taken)
        if not interrupt.requested:
            kept.write()
        return found


def _run_all(
    plan: Plan, folder: Path, interrupt: Interrupt, callbacks: BatchCallbacks, rows: ResultRows | None, *,
    again: bool, part: str, taken: Callable[[Result], Result] = lambda result: result,
) -> list[Result]:  # fmt: skip
    root, results = folder if plan.folders else None, folder / PARTIAL_RESULTS / part
    layout = Layout(root, len(plan.runs), plan.origin, results, keep_models(plan))
    found = list(map(taken, ended(plan.runs, layout))) if again else []
    done = {result.number for result in found}
    fixed = unfinished(fixed_fleets(plan.runs, folder, part, again=again), done) if plan.vmapped else []
    if rows is not None:
        for result in found:
            rows.add(result)
    left = [run for run in plan.runs if run.number not in done]
    has_folders = layout.folder is not None and len(plan.runs) <= FOLDERS
    workers = threads_of(left) if plan.executor is here and left else plan.workers
    before = begun(layout.partial_results) if again else []
    if plan.shards and len(left) == len(plan.runs) and workers == 1 and not (has_folders or before or fixed):
        shards = plan.shards  # of a million runs cutting them again is a sixth of the work
    else:
        shards = shards_of(left, fleets=plan.fleets, workers=workers, folders=has_folders, begun=before, fixed=fixed)
    shares = [0.0] * len(shards)

    def advance(k: int, share: float) -> None:
        shares[k] = share
        made = sum(share * len(shard.runs) for share, shard in zip(shares, shards, strict=True))
        callbacks.share(len(done) + made)

    for result in plan.executor(Work(shards, layout, plan.capture, plan.source), interrupt, advance):
        found.append(taken(result))
        callbacks.result(result)
        if rows is not None:
            rows.add(result)
        if plan.fail_fast and result.status == "failed":
            break
    return sorted(found, key=lambda result: result.number)


def keep_models(plan: Plan) -> bool:
    """Say whether each run's folder has its model: there are folders, and the models are small enough together."""
    return plan.folders and len(plan.runs) <= FOLDERS and models_size(plan) <= models.MOST_TOGETHER


def models_size(plan: Plan) -> int:
    """Return how many bytes the models of all runs have."""
    return sum(bytes_of(run.loaded.spec, run.loaded.architecture) for run in plan.runs)


def models_left_out(plan: Plan) -> str:
    """Return why the runs' folders have no models, for summary.json; nothing where they have, or have no folders."""
    if not plan.folders or len(plan.runs) > FOLDERS or keep_models(plan):
        return ""
    most = models.megabytes(models.MOST_TOGETHER)
    return f"none in the folders of the runs: all have {models.megabytes(models_size(plan))}, more than {most}"


class ResultRows:
    """results.csv while it grows: a row as soon as all before it are there, so that their order is that of the runs."""

    def __init__(self, path: Path, plan: Plan, *, again: bool = False, flush_every: float = 0.5) -> None:
        header, self._row = _table_of(plan)
        self._log = Log(path, 0 if again else None)
        self._log.write(csv_writer.csv_rows([header]))
        self._log.flush()
        self._waiting: dict[int, Result] = {}
        self._next = 1
        self._flushed, self._every = time.perf_counter(), flush_every

    def add(self, result: Result) -> None:
        """Take a result; write what is in turn."""
        self._waiting[result.number] = result
        written = []
        while self._next in self._waiting:
            written.append(self._row(self._waiting.pop(self._next)))
            self._next += 1
        if written:
            self._log.write(csv_writer.csv_rows(written))
        if time.perf_counter() - self._flushed > self._every:
            self._log.flush()
            self._flushed = time.perf_counter()

    def close(self) -> None:
        """Write what waits for runs that never came, bring all to the disk, and close."""
        self._log.write(csv_writer.csv_rows([self._row(self._waiting[number]) for number in sorted(self._waiting)]))
        try:
            self._log.sync()
        finally:
            self._log.close()


def _table_of(plan: Plan) -> tuple[list[str], Callable[[Result], list[Any]]]:
    """Return the header of results.csv, and the function that makes a row of a result."""
    metrics, target = columns_of(plan.measured, plan.capture), plan.capture.target is not None
    efforts = {run.number: effort_of(run.loaded) for run in plan.runs} if target else {}
    none = records.Effort(0, 1, 1) if target else None  # of a row that was not run
    header = records.results_header(plan.axes, metrics, target=target)
    return header, lambda result: records.results_row(result, metrics, efforts.get(result.number, none))


def rows_of(plan: Plan, found: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the rows of results.csv by column."""
    header, row = _table_of(plan)
    return [dict(zip(header, row(result), strict=True)) for result in found]


def end_batch(folder: Path, timing: Timing, summary: Mapping[str, Any]) -> None:
    """Write the times, and last the summary, the mark of the end; remove what was there to resume from.

    Results stay where a run failed: it can be run again alone. What a process left that died while it replaced a file
    goes.
    """
    files.remove_temporaries(folder)
    write_end(folder, timing, summary)
    if summary["status"] == "finished":
        shutil.rmtree(folder / PARTIAL_RESULTS, ignore_errors=True)


def ranked(found: Sequence[Result], by: records.Ranking) -> list[Result]:
    """Return results by final loss or a metric, the best first, diverged and failed ones last."""
    return sorted(found, key=lambda result: (by.key(result), result.number))


def counts(found: Sequence[Result]) -> dict[str, int]:
    """Return how many runs ended in which way."""
    tally = {name: sum(result.status == name for result in found) for name in ENDED}
    return {name: count for name, count in tally.items() if count}


@dataclass(frozen=True, slots=True)
class Verified:
    """How far runs of fleets are from the same runs alone."""

    runs: int
    largest: float  # of the parameters, relative to their norm
    where: str  # the label of the run with the largest difference
    allowed: float

    def text(self) -> str:
        """Return one line for people."""
        if not self.largest:
            return f"verified {self.runs} runs alone: bit-identical"
        if isinf(self.largest):
            return f"verified {self.runs} runs alone: {self.where} ended otherwise alone, or after another step"
        return f"verified {self.runs} runs alone: largest relative difference {self.largest:.3g}, of {self.where}"


ALLOWED = {"float64": 1e-12, "float32": 1e-4}
ALLOWED_VMAPPED = {"float64": 1e-10, "float32": 1e-4}
"""Of torch's own layers."""


def verify(plan: Plan, found: Sequence[Result], count: int, interrupt: Interrupt) -> Verified:
    """Run some of a fleet's runs alone, spread over the sweep, and return the largest difference of parameters.

    ‖θ_fleet − θ_alone‖ / ‖θ_alone‖, over runs that ended alike; infinite where they ended differently.
    """
    candidates = [result for result in found if result.parameters is not None and result.status != "failed"]
    chosen = [candidates[k] for k in np.linspace(0, len(candidates) - 1, min(count, len(candidates))).astype(int)]
    runs = {run.number: run for run in plan.runs}
    largest, where = 0.0, ""
    for result in chosen:
        alone = run_single(runs[result.number], Capture(parameters=True), interrupt)
        difference = _difference(result, alone)
        if difference >= largest:
            largest, where = difference, result.label
    allowed = ALLOWED_VMAPPED if of_layers(found) else ALLOWED
    return Verified(len(chosen), largest, where, allowed[plan.loaded.spec.settings.dtype])


def of_layers(found: Sequence[Result]) -> int:
    """Return how many of the runs trained in fleets of torch's own layers."""
    return sum(result.kernel == FLEET_OF_LAYERS for result in found)


def kernel_line(found: Sequence[Result]) -> str:
    """Return the line of a table of which runs trained in fleets of torch's own layers; nothing where none did."""
    count = of_layers(found)
    runs = "" if count == len(found) else f" ({count:,} of {len(found):,} runs)"
    return f"kernel: vmapped{runs}, the numbers of gdcli run to rounding\n" if count else ""


def _difference(ours: Result, alone: Result) -> float:
    if alone.parameters is None or ours.parameters is None or (ours.status, ours.steps) != (alone.status, alone.steps):
        return float("inf")
    a, b = (np.concatenate([np.empty(0), *(p.values.ravel() for p in r.parameters or ())]) for r in (ours, alone))
    if a.tobytes() == b.tobytes():
        return 0.0
    finite = np.isfinite(b)
    if (np.isfinite(a) != finite).any():
        return float("inf")
    return float(np.linalg.norm(a[finite] - b[finite]) / (np.linalg.norm(b[finite]) or 1))
