"""The contract of those who run the shards of a sweep, and the one that does it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gdcli.engine.device import cores_of
from gdcli.engine.loop import Interrupt
from gdcli.records import Result
from gdcli.runner import Capture, Layout, Shard, run_shard
from gdcli.runner.executors.threads import side_by_side, threads_of
from gdcli.runner.executors.worker import SpecSource, Task


@dataclass(frozen=True, slots=True)
class Work:
    """All shards of a sweep, where they go and what is captured of them."""

    shards: Sequence[Shard]
    layout: Layout
    capture: Capture
    spec: SpecSource

    def task(self, shard: Shard, *, send: bool) -> Task:
        """Return a shard as data; with ``send`` its files are to come back with the results."""
        layout = self.layout
        folder = None if layout.of(shard.runs[0]) is None else "" if send else str(layout.folder)
        return Task(
            spec=self.spec,
            trials=tuple((run.number, run.point) for run in shard.runs),
            together=shard.together,
            folder=folder,
            count=layout.count,
            origin=layout.origin,
            capture=self.capture,
            partial_results=None if send or layout.partial_results is None else str(layout.partial_results),
            cores=cores_of(shard.runs[0].loaded),
        )


AdvanceShard = Callable[[int, float], None]  # which shard, and the share of it that is done
Executor = Callable[[Work, Interrupt, AdvanceShard], Iterator[Result]]
"""Yields results as they come."""


def here(work: Work, interrupt: Interrupt, advance: AdvanceShard) -> Iterator[Result]:
    """Run the shards in this process: heavy fleets side by side, all else one after the other."""
    heavy = [shard for shard in work.shards if shard.together]
    threads = threads_of([run for shard in heavy for run in shard.runs]) if len(heavy) == len(work.shards) > 1 else 1
    if threads > 1:
        yield from side_by_side([*work.shards], work.layout, work.capture, interrupt, advance, threads)
        return
    for k, shard in enumerate(work.shards):
        if interrupt.requested:
            return
        yield from run_shard(shard, work.layout, work.capture, interrupt, lambda share, k=k: advance(k, share))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        advance(k, 1.0)
