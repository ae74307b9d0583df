"""What `sweep` and `compare` share: the runs of a record, their table, who is told meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gdcli.commands.context import Context, Frontend
from gdcli.commands.recorded_size import tell_size_of_many
from gdcli.engine.device import resolve_threads
from gdcli.engine.evaluation import metric_names
from gdcli.engine.grouping import is_stacked, why_alone
from gdcli.engine.loop import Interrupt
from gdcli.engine.problem import kernel_name
from gdcli.errors import GdcliError, MachineError, SpecError
from gdcli.records import Result
from gdcli.runner import batch
from gdcli.runner.batch import BatchCallbacks, Plan, ResultRows, Verified
from gdcli.runner.executors.dask import closing, dask
from gdcli.runner.executors.processes import processes
from gdcli.runner.executors.threads import here
from gdcli.runner.executors.worker import SpecSource
from gdcli.runner.jobs import FOLDERS, Capture, PlannedRun, Shard
from gdcli.runner.provenance import batch_head
from gdcli.runner.shards import matches_single, shards_of
from gdcli.spec.load import Loaded, require_memory
from gdcli.spec.nodes import Node
from gdcli.spec.writing import write
from gdcli.storage import files, models
from gdcli.storage.request import CompareRequest, SweepRequest
from gdcli.storage.run_folder import Timing
from gdcli.zoo import plugins

if TYPE_CHECKING:
    from gdcli.commands.compare.run import ComparisonRun
    from gdcli.commands.sweep.runs import TrainingSweep


def plan_of(
    request: SweepRequest | CompareRequest, context: Context, node: Node, loaded: Loaded, runs: Sequence[PlannedRun],
    axes: Sequence[str], capture: Capture,
) -> Plan:  # fmt: skip
    """Return the plan of runs as they are asked for. Raises SpecError for processes and a cluster at once."""
    jobs, cluster = context.options.jobs, context.options.cluster
    warning = context.frontend.warning
    executor, workers = here if jobs == 1 else processes(jobs, warning), jobs
    if cluster is not None:
        if jobs > 1:
            raise SpecError("--jobs and --cluster exclude each other: a cluster has workers of its own")
        local = cluster.removeprefix("local:")
        executor, workers = dask(cluster, warning), int(local) if local.isdecimal() else 8
    return Plan(
        loaded=loaded, measured=_measured(loaded, runs), source=_source(node, loaded, context), runs=runs, axes=axes,
        origin=context.provenance(), fleets=request.fleet != "off", vmapped=request.fleet == "vmapped",
        executor=executor, workers=workers, fail_fast=request.fail_fast, capture=capture,
        folders=context.output is not None,
    )  # fmt: skip


def _measured(loaded: Loaded, runs: Sequence[PlannedRun]) -> Loaded:
    """Return the base spec, or the first run's where all runs alike have other metrics, as with rows held out."""
    names = metric_names(runs[0].loaded if runs else loaded)
    if names == metric_names(loaded) or any(metric_names(run.loaded) != names for run in runs):
        return loaded
    return runs[0].loaded


def _source(node: Node, loaded: Loaded, context: Context) -> SpecSource:
    source = context.source
    text, base = write(node.plain()), str(source.path.parent)
    return SpecSource(text, loaded.spec.name, base, source.moved, plugins.loaded(), loaded.bounded)


BatchRun: TypeAlias = "TrainingSweep | ComparisonRun"
"""The runs of a sweep or a comparison, one folder, a table of them: what :func:`record` fills."""

Work = TypeVar("Work", "TrainingSweep", "ComparisonRun")


def record(work: Work, request: SweepRequest | CompareRequest, context: Context, digest: str, total: int) -> Work:
    """Run all, write the folder; a run that fails is counted, the others go on.

    Meanwhile it is told how many of the total are done, the best so far, and failures as they come.
    """
    loaded, frontend, ranking, best = work.plan.loaded, context.frontend, work.plan.ranking, inf
    _require_same_threads(context, loaded)
    if work.plan.folders and total <= FOLDERS:
        tell_size_of_many([run.loaded for run in work.plan.runs] or [loaded], total, context)

    def result(result: Result) -> None:
        nonlocal best
        best = min(best, ranking.key(result))
        if result.status == "failed":
            frontend.note(f"{result.label}: failed: {result.message}")

    with (
        closing(work.plan.executor),
        context.folder(request, loaded, digest, batch_head(loaded, work.plan.origin)) as folder,
        frontend.interruptible() as interrupt,
        frontend.progress("run", total) as show,
    ):
        work.folder, work.again = folder, context.again is not None
        frontend.opened(folder)
        sign = -1 if ranking.highest_first else 1
        callbacks = BatchCallbacks(result, frontend.warning, lambda done: show(done, sign * best, done), frontend.note)
        _run(work, interrupt, callbacks, plot=request.plot and context.keeps)
    return work


def _run(work: BatchRun, interrupt: Interrupt, callbacks: BatchCallbacks, *, plot: bool) -> None:
    timing = Timing()
    work.prepare(timing, interrupt, callbacks)
    if work.plan.capture.models and work.plan.runs:
        callbacks.note(f"{models.ALL} will have {models.megabytes(batch.models_size(work.plan))}")
    rows = ResultRows(work.folder / "results.csv", work.plan, again=work.again)
    try:
        with timing.phase("runs"):
            work.train(interrupt, callbacks, rows)
    finally:
        rows.close()
    timing.steps = sum(result.steps or 0 for result in work.results)
    if plot and work.results and not interrupt.requested:
        with timing.phase("plot"):
            work.draw(callbacks.warning)
    files.replace(work.folder / "log.txt", work.table())
    ended = not interrupt.requested and len(work.results) >= len(work.plan.runs)
    failed = any(result.status == "failed" for result in work.trained)
    status = "interrupted" if not ended else "failed" if failed else "finished"
    summary = {"status": status, "runs": len(work.results), **batch.counts(work.results), **work.summary()}
    if left_out := batch.models_left_out(work.plan):
        summary["models"] = left_out
        where = f"{models.ALL} has all" if work.plan.capture.models else "--keep-models writes one file of all"
        callbacks.note(f"models: {left_out}; {where}")
    if work.plan.capture.models and not interrupt.requested:
        summary["sha256"] = {models.ALL: models.digest(work.folder / models.ALL)}
    batch.end_batch(work.folder, timing, summary)
    work.interrupted = interrupt.requested


def verified(work: BatchRun, count: int, frontend: Frontend) -> Verified | None:
    """Train some of the runs again alone and compare them; None where none is asked for, or a signal came."""
    if not count or work.interrupted:
        return None
    with frontend.interruptible() as interrupt:
        return batch.verify(work.plan, work.results, count, interrupt)


def _require_same_threads(context: Context, loaded: Loaded) -> None:
    """Refuse to go on with runs that would take another number of threads here: the bits would differ."""
    if context.again is None:
        return
    recorded = (files.json_file(context.again / "environment.json") or {}).get("threads")
    threads = resolve_threads(loaded)
    if recorded != threads:
        raise MachineError(
            f"{context.again}: begun with {recorded} threads, here {threads}: say threads={threads} in a new one"
        )


def look_ahead(plan: Plan, frontend: Frontend) -> Plan:
    """Refuse fleets for which the machine has no memory, and warn of those that agree with `run` to rounding alone.

    Return the plan with the shards that this was found of.
    """
    shards = shards_of(plan.runs, fleets=plan.fleets, folders=False)
    largest: dict[int, Shard] = {}
    for shard in shards:
        largest.setdefault(len(shard.runs), shard)
    for size, shard in largest.items():
        if shard.together:
            require_memory(shard.runs[0].loaded, size)
    for shard in shards[:1]:
        warn_of_rounding(shard, frontend)
    tell_of_layers(plan, shards, frontend)
    return replace(plan, shards=shards)


def tell_of_layers(plan: Plan, shards: Sequence[Shard], frontend: Frontend) -> None:
    """Tell which runs of torch's own layers train one by one: by default, or because a layer is for one run."""
    if not plan.fleets:
        return
    count, reasons = 0, set()
    for shard in shards:
        if not shard.together and is_stacked(loaded := shard.runs[0].loaded):
            count += 1
            reasons.add(why_alone(loaded, vmapped=True))
    if count < 2:
        return
    if plan.vmapped:
        for reason in sorted(filter(None, reasons)):
            frontend.note(f"kernel: single, not vmapped: {reason}")
    elif "" in reasons:
        frontend.note(
            "torch's layers train one by one, as gdcli run: --fleet vmapped trains them together, to rounding"
        )


def warn_of_rounding(shard: Shard, frontend: Frontend) -> None:
    """Say where this processor's products keep fleets of tiny layers from the bits of `run`."""
    loaded = shard.runs[0].loaded
    one_row = loaded.samples and loaded.spec.batch.rows(loaded.samples) == 1
    if not (shard.together and one_row and kernel_name(loaded) == "elementwise"):
        return
    with contextlib.suppress(GdcliError, RuntimeError, ValueError):  # what cannot run is told in its turn
        if not matches_single(shard):
            text = "on this processor the runs of a fleet agree with gdcli run to rounding, not bit by bit"
            frontend.warning(text)
