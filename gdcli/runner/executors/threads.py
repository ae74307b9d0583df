"""Shards run in this process: one after the other, or those of heavy fleets side by side, a thread each.

Torch lets go of Python's lock while it computes. Two halves of a fleet on two cores take little more than half the
time, where torch's own threads would share each operation, wait for each other, and cut it at places that change
bits; the halves have the bits of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import torch

from gdcli.engine.device import cores_of, multiply_adds, resolve_threads
from gdcli.engine.loop import Interrupt
from gdcli.engine.problem import kernel_name
from gdcli.records import Result
from gdcli.runner.executors.worker import AdvanceShard, Work
from gdcli.runner.jobs import PlannedRun, Shard
from gdcli.runner.shards import run_shard

HEAVY = 10**6
"""Multiply-adds of a step of all runs from which a fleet is split: its operations then take far longer than Python."""


def threads_of(runs: list[PlannedRun]) -> int:
    """Return how many threads the shards of these runs are worth: the cores for heavy fleets of the batched kernel."""
    loaded = runs[0].loaded
    cores = cores_of(loaded)
    if cores == 1 or len(runs) < 2 * cores or loaded.spec.settings.threads != "auto":
        return 1
    if kernel_name(loaded) != "batched" or resolve_threads(loaded) > 1 or loaded.spec.settings.device != "cpu":
        return 1
    return cores if len(runs) * multiply_adds(loaded) >= HEAVY else 1


def here(work: Work, interrupt: Interrupt, advance: AdvanceShard) -> Iterator[Result]:
    """Run the shards in this process: heavy fleets side by side, all else one after the other."""
    heavy = [shard for shard in work.shards if shard.together]
    threads = threads_of([run for shard in heavy for run in shard.runs]) if len(heavy) == len(work.shards) > 1 else 1
    if threads > 1:
        yield from _side_by_side(work, interrupt, advance, threads)
        return
    for k, shard in enumerate(work.shards):
        if interrupt.requested:
            return
        yield from run_shard(shard, work.layout, work.capture, interrupt, partial(advance, k))
        advance(k, 1.0)


def _side_by_side(work: Work, interrupt: Interrupt, advance: AdvanceShard, threads: int) -> Iterator[Result]:
    """Yield the results of shards as they come from this many threads."""
    queue: SimpleQueue[Any] = SimpleQueue()
    mine = Interrupt()

    def run(k: int, shard: Shard) -> None:
        try:
            torch.set_num_threads(1)
            for result in run_shard(shard, work.layout, work.capture, mine, lambda share: queue.put((k, share))):
                queue.put(result)
            queue.put(k)
        except BaseException as error:  # handed on to the thread that waits
            queue.put(error)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for k, shard in enumerate(work.shards):
                pool.submit(run, k, shard)
            waiting = len(work.shards)
            while waiting:
                mine.requested = interrupt.requested
                try:
                    item = queue.get(timeout=0.2)
                except Empty:
                    continue
                if isinstance(item, Result):
                    yield item
                elif isinstance(item, tuple):
                    advance(*item)
                elif isinstance(item, BaseException):
                    raise item
                else:
                    waiting -= 1
                    advance(item, 1.0)
        finally:
            mine.requested = True
            pool.shutdown(cancel_futures=True)
