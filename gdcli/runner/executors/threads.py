"""Shards run in this process: one after the other, or those of heavy fleets side by side, a thread each.

Torch lets go of Python's lock while it computes. Two halves of a fleet on two cores take little more than half the
time, where torch's own threads would share each operation, wait for each other, and cut it at places that change
bits; the halves have the bits of the whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import torch

from gdcli.engine.device import cores_of, multiply_adds, resolve_threads
from gdcli.engine.loop import Interrupt
from gdcli.engine.problem import FLEET_OF_LAYERS, kernel_name
from gdcli.engine.start_values import hashable
from gdcli.records import Result
from gdcli.runner.executors.worker import AdvanceShard, Work
from gdcli.runner.jobs import PlannedRun, Shard
from gdcli.runner.shards import run_shard
from gdcli.spec.load import Loaded

HEAVY = 10**6
"""Multiply-adds of a step of all runs from which a fleet is split: its operations then take far longer than Python."""


def threads_of(runs: list[PlannedRun]) -> int:
    """Return how many threads the shards of these runs are worth: the cores for heavy fleets of large operations."""
    cores = cores_of(runs[0].loaded)
    if cores == 1 or len(runs) < 2 * cores or not _is_of_one_thread(runs[0].loaded):
        return 1
    alike: dict[Any, list[Loaded]] = {}
    for run in runs:
        alike.setdefault(_work_key(run.loaded), []).append(run.loaded)
    if not all(_is_of_one_thread(members[0]) for members in alike.values()):
        return 1
    return cores if sum(len(members) * multiply_adds(members[0]) for members in alike.values()) >= HEAVY else 1


def _work_key(loaded: Loaded) -> Hashable:
    """Return what the work of a run's step follows from: the same for most runs of a sweep."""
    model, settings = loaded.spec.model, loaded.spec.settings
    return model.name, hashable(model.arguments), loaded.spec.batch.rows(loaded.samples), settings.threads


def _is_of_one_thread(loaded: Loaded) -> bool:
    """Say whether a fleet of these runs works on one thread, in operations for which torch lets go of Python's lock."""
    settings = loaded.spec.settings
    if (
        settings.threads != "auto"
        or settings.device != "cpu"
        or kernel_name(loaded) not in ("batched", FLEET_OF_LAYERS)
    ):
        return False
    return resolve_threads(loaded) == 1


def _work_of(shard: Shard) -> int:
    return len(shard.runs) * multiply_adds(shard.runs[0].loaded)


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
            for k in sorted(range(len(work.shards)), key=lambda k: -_work_of(work.shards[k])):  # they end together
                pool.submit(run, k, work.shards[k])
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
