"""What `sweep` and `compare` share: who carries out the runs, what is told while they go on, and how it ends."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gdcli.cli import common
from gdcli.errors import GdcliError, MachineError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdcli.plan import SpecFactory, Trial
    from gdcli.records import Result
    from gdcli.runner import Run, Shard
    from gdcli.runner.batch import BatchCallbacks, Execution, Plan, Verified
    from gdcli.spec.bundled import Source
    from gdcli.spec.document import Node
    from gdcli.spec.load import Loaded

JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, max=1024, help="Processes to train in.")]
ClusterOption = Annotated[
    str | None, typer.Option(help="Train on a Dask cluster: a scheduler's address, or local:N processes.")
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")]
MaxRunsOption = Annotated[int | None, typer.Option(min=1, help="Most runs, or points, to allow.")]
FleetOption = Annotated[
    Literal["auto", "off"], typer.Option(help="off trains the runs one by one, exactly as run does.")
]
VerifyOption = Annotated[int, typer.Option(min=0, help="Train so many runs again alone; tell the largest difference.")]


def specs_of(source: Source, document: Node, loaded: Loaded, name: str) -> SpecFactory:
    """Return what makes a spec of each point."""
    from gdcli.plan import SpecFactory

    return SpecFactory(
        document,
        loaded,
        lambda node: common.parse(source, node, name),
        lambda spec: common.load(source, spec, bounded=True, cores=loaded.cores),
    )


def runs_of(specs: SpecFactory, points: Sequence[Trial]) -> list[Run]:
    """Return the runs of points, each checked. Raises SpecError for the first that is no valid spec."""
    checked = []
    for number, point in enumerate(points, 1):
        loaded = specs.of(point)
        common.require_optimizer(loaded.spec)
        checked.append((number, point, loaded))
    common.engine()
    from gdcli.runner import Run

    return [Run(*each) for each in checked]


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Who carries runs out, and what is looked at besides: nothing that changes a record."""

    jobs: int = 1
    cluster: str | None = None
    verify: int = 0

    def carried_out(self, *, fleets: bool, fail_fast: bool) -> Execution:
        """Return it with its executor. Raises SpecError for processes and a cluster at once."""
        from gdcli.runner.batch import Execution
        from gdcli.runner.executors import base

        if self.cluster is not None and self.jobs > 1:
            raise SpecError("--jobs and --cluster exclude each other: a cluster has workers of its own")
        if self.cluster is not None:
            local = self.cluster.removeprefix("local:")
            workers = int(local) if local.isdecimal() else 8
            return Execution(fleets, base.dask(self.cluster), workers, fail_fast)
        executor = base.here if self.jobs == 1 else base.processes(self.jobs)
        return Execution(fleets, executor, self.jobs, fail_fast)


def require_same_threads(job: common.Context, loaded: Loaded) -> None:
    """Refuse to go on with runs that would take another number of threads here: the bits would differ."""
    if job.again is None:
        return
    from gdcli.engine.problem import resolve_threads
    from gdcli.storage.record import json_file

    recorded, here = (json_file(job.again / "environment.json") or {}).get("threads"), resolve_threads(loaded)
    if recorded != here:
        raise MachineError(f"{job.again}: begun with {recorded} threads, here {here}: say threads={here} in a new one")


def require_memory(plan: Plan) -> None:
    """Refuse fleets for which the machine has no memory."""
    from gdcli.runner import shards_of
    from gdcli.spec.load import require_memory

    largest: dict[int, Shard] = {}
    for shard in shards_of(plan.runs, fleets=plan.how.fleets, folders=False):
        largest.setdefault(len(shard.runs), shard)
    for size, shard in largest.items():
        if shard.together:
            require_memory(shard.runs[0].loaded, size)


class BatchProgress:
    """A bar on a terminal: runs done, their rate, the time left, the best so far; failures as they come."""

    def __init__(self, total: int, job: common.Context) -> None:
        self._total, self._job = total, job
        self._wanted = not job.quiet and not job.silent and sys.stderr.isatty()
        self._begun = time.perf_counter()
        self._best = float("inf")
        self._bar: Any = None
        self._task: Any = None

    def onlooker(self) -> BatchCallbacks:
        """Return who is told."""
        from gdcli.runner.batch import BatchCallbacks

        return BatchCallbacks(self.result, self.warning, self.share)

    def result(self, result: Result) -> None:
        """Note a result; tell of a failure at once."""
        self._best = min(self._best, result.rank)
        if result.status == "failed":
            self.hide()
            self._job.note(f"{result.label}: failed: {result.message}")

    def warning(self, text: str) -> None:
        """Print a warning."""
        self.hide()
        self._job.warn(text)

    def share(self, done: float) -> None:
        """Show how far it is, once that takes over a second."""
        seconds = time.perf_counter() - self._begun
        if not self._wanted or seconds < common.Progress.AFTER_SECONDS:
            return
        if self._bar is None:
            self._start()
        best = f"best {self._best:.6g}" if self._best < float("inf") else ""
        self._bar.update(self._task, completed=done, done=int(done), best=best, rate=f"{done / seconds:,.1f} runs/s")
        if not self._bar.live.is_started:
            self._bar.start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("run {task.fields[done]:,}/{task.total:,}"), BarColumn(), TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[best]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._total, done=0, best="", rate="")

    def hide(self) -> None:
        """Take the bar off the screen; the next share shows it again."""
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()


def told_of_fleets(plan: Plan, job: common.Context) -> None:
    """Say where this processor's products keep fleets of tiny layers from the bits of `run`."""
    from gdcli.engine.fleet_problem import kernel_name
    from gdcli.runner import matches_single, shards_of

    for shard in shards_of(plan.runs, fleets=plan.how.fleets, folders=False)[:1]:
        loaded = shard.runs[0].loaded
        one_row = loaded.samples and loaded.spec.batch.rows(loaded.samples) == 1
        if not (shard.together and one_row and kernel_name(loaded) == "written_out"):
            continue
        with contextlib.suppress(GdcliError):  # a run that cannot be is told when its turn comes
            if not matches_single(shard):
                job.warn("on this processor the runs of a fleet agree with gdcli run to rounding, not bit by bit")


def exit_code(job: common.Context, results: Sequence[Result], came: Sequence[int], verified: Verified | None) -> int:
    """Return 130 or 143 after a signal, 1 when a run failed or one verified is too far off, else 0."""
    failures = sum(result.status == "failed" for result in results)
    if failures:
        job.note(f"{failures:,} of {len(results):,} runs failed")
    if came:
        return common.stopped_code(came)
    return int(failures > 0 or (verified is not None and not verified.largest <= verified.allowed))


def where(folder: Path, job: common.Context, came: Sequence[int] = ()) -> None:
    """Tell where the record is, and how to go on with one that was stopped."""
    if not job.quiet:
        job.note(f"record: {common.shown_path(folder)}")
        if came:
            job.note(f"go on with: gdcli resume {common.shown_path(folder)}")
