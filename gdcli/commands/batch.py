"""What `sweep` and `compare` share: their runs, who carries them out, and what is told meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gdcli.commands import specs
from gdcli.commands.context import Context, Frontend
from gdcli.errors import GdcliError, MachineError, SpecError

if TYPE_CHECKING:
    from gdcli.commands.compare.run import Comparison
    from gdcli.commands.sweep.runs import TrainingSweep
    from gdcli.plan import SpecFactory, Trial
    from gdcli.records import Result
    from gdcli.runner.batch import BatchCallbacks, Execution, Plan, Verified
    from gdcli.runner.jobs import Run, Shard
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded


def specs_of(context: Context, document: Node, loaded: Loaded, name: str) -> SpecFactory:
    """Return what makes a spec of each point."""
    from gdcli.plan import SpecFactory

    return SpecFactory(
        document,
        loaded,
        lambda node: specs.parse(context.source, node, name),
        lambda spec: specs.load(context.source, spec, cores=loaded.cores),
    )


def runs_of(factory: SpecFactory, points: Sequence[Trial], frontend: Frontend) -> list[Run]:
    """Return the runs of points, each checked. Raises SpecError for the first that is no valid spec."""
    checked = []
    for number, point in enumerate(points, 1):
        loaded = factory.of(point)
        specs.require_optimizer(loaded.spec)
        checked.append((number, point, loaded))
    frontend.engine()
    from gdcli.runner.jobs import Run

    return [Run(*each) for each in checked]


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Who carries runs out, and what is looked at besides: nothing that changes a record."""

    jobs: int = 1
    cluster: str | None = None
    verify: int = 0  # runs that are trained again alone

    def execution(self, *, fleets: bool, fail_fast: bool) -> Execution:
        """Return it with its executor. Raises SpecError for processes and a cluster at once."""
        from gdcli.runner.batch import Execution
        from gdcli.runner.executors.dask import dask
        from gdcli.runner.executors.processes import processes
        from gdcli.runner.executors.threads import here

        if self.cluster is not None and self.jobs > 1:
            raise SpecError("--jobs and --cluster exclude each other: a cluster has workers of its own")
        if self.cluster is not None:
            local = self.cluster.removeprefix("local:")
            workers = int(local) if local.isdecimal() else 8
            return Execution(fleets, dask(self.cluster), workers, fail_fast)
        executor = here if self.jobs == 1 else processes(self.jobs)
        return Execution(fleets, executor, self.jobs, fail_fast)


def require_same_threads(context: Context, loaded: Loaded) -> None:
    """Refuse to go on with runs that would take another number of threads here: the bits would differ."""
    if context.again is None:
        return
    from gdcli.engine.device import resolve_threads
    from gdcli.storage.files import json_file

    recorded, here = (json_file(context.again / "environment.json") or {}).get("threads"), resolve_threads(loaded)
    if recorded != here:
        raise MachineError(
            f"{context.again}: begun with {recorded} threads, here {here}: say threads={here} in a new one"
        )


def require_memory(plan: Plan) -> None:
    """Refuse fleets for which the machine has no memory."""
    from gdcli.runner.shards import shards_of
    from gdcli.spec.load import require_memory

    largest: dict[int, Shard] = {}
    for shard in shards_of(plan.runs, fleets=plan.execution.fleets, folders=False):
        largest.setdefault(len(shard.runs), shard)
    for size, shard in largest.items():
        if shard.together:
            require_memory(shard.runs[0].loaded, size)


def warn_of_rounding(plan: Plan, frontend: Frontend) -> None:
    """Say where this processor's products keep fleets of tiny layers from the bits of `run`."""
    from gdcli.engine.problem import kernel_name
    from gdcli.runner.run_fleet import matches_single
    from gdcli.runner.shards import shards_of

    for shard in shards_of(plan.runs, fleets=plan.execution.fleets, folders=False)[:1]:
        loaded = shard.runs[0].loaded
        one_row = loaded.samples and loaded.spec.batch.rows(loaded.samples) == 1
        if not (shard.together and one_row and kernel_name(loaded) == "elementwise"):
            continue
        with contextlib.suppress(GdcliError):  # a run that cannot be is told when its turn comes
            if not matches_single(shard):
                text = "on this processor the runs of a fleet agree with gdcli run to rounding, not bit by bit"
                frontend.warning(text)


@contextlib.contextmanager
def told(frontend: Frontend, total: int) -> Iterator[BatchCallbacks]:
    """Yield who is told of runs while they go on: how many are done, the best so far, and failures as they come."""
    from gdcli.runner.batch import BatchCallbacks

    best = float("inf")
    with frontend.progress("run", total) as show:

        def result(result: Result) -> None:
            nonlocal best
            best = min(best, result.rank)
            if result.status == "failed":
                frontend.note(f"{result.label}: failed: {result.message}")

        yield BatchCallbacks(result, frontend.warning, lambda done: show(done, best, done))


def verified(batch: TrainingSweep | Comparison, count: int, frontend: Frontend) -> Verified | None:
    """Train some of the runs again alone and compare them; None where none is asked for, or a signal came."""
    from gdcli.runner.batch import verify

    if not count or batch.interrupted or batch.plan is None:
        return None
    with frontend.interruptible() as interrupt:
        return verify(batch.plan, batch.results, count, interrupt)
