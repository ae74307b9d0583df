"""Shards run by several processes on this machine, which may die."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from gdcli.engine.loop import Interrupt
from gdcli.records import Result
from gdcli.runner.executors import worker
from gdcli.runner.executors.worker import AdvanceShard, Executor, Task, TaskResult, Work
from gdcli.runner.jobs import Shard
from gdcli.runner.record_run import Warn

PATIENCE = 10.0
"""Seconds until a worker that was told to end is killed."""


class _Pool:
    """Processes that may die: a pool is made anew when one of them did."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        # a forked worker has torch already; where a process cannot be forked, each imports it
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._jobs, mp_context=self._context, initializer=worker.start_worker, initargs=(os.getpid(),)
        )

    def submit(self, task: Task) -> Future[TaskResult]:
        """Give a task to a worker."""
        try:
            return self._pool.submit(worker.run_task, task)
        except BrokenProcessPool:
            self.renew()
            return self._pool.submit(worker.run_task, task)

    def renew(self) -> None:
        """Replace processes of which one died."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._new()

    def stop(self) -> None:
        """Stop all workers, those at work too, and see them end: while one lives, it holds the record's lock."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(PATIENCE)
            process.kill()
            process.join()


def processes(jobs: int, warning: Warn) -> Executor:
    """Return the executor of several processes on this machine, each with one thread; the loss of one is told.

    When a worker dies, all that was being done is done again, one shard at a time; a shard whose worker dies again is
    split into its runs, and a run whose worker dies then too is failed.
    """

    def execute(work: Work, interrupt: Interrupt, advance: AdvanceShard) -> Iterator[Result]:
        pool = _Pool(jobs)
        waiting = [(k, shard, 0) for k, shard in enumerate(work.shards)][::-1]
        running: dict[Future[TaskResult], tuple[int, Shard, int]] = {}
        try:
            while waiting or running:
                # a run that may kill its worker goes alone, so that the others need not be done again with it
                careful = any(tries for _, _, tries in running.values()) or bool(waiting and waiting[-1][2])
                while waiting and not interrupt.requested and len(running) < (1 if careful else jobs):
                    k, shard, tries = waiting.pop()
                    running[pool.submit(work.task(shard, send=False))] = k, shard, tries
                    careful = careful or tries > 0
                if interrupt.requested:
                    return
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                broken = []
                for future in done:
                    k, shard, tries = running.pop(future)
                    try:
                        yield from future.result().results
                        advance(k, 1.0)
                    except BrokenProcessPool:
                        broken.append((k, shard, tries))
                if broken:
                    warning(f"--jobs {jobs}: a worker process died; what was being done is done again")
                    broken += running.values()
                    running.clear()
                    pool.renew()
                    for k, shard, tries in reversed(broken):
                        yield from _again(k, shard, tries + 1, waiting)
        finally:
            pool.stop()

    return execute


def _again(k: int, shard: Shard, tries: int, waiting: list[tuple[int, Shard, int]]) -> Iterator[Result]:
    """Put a shard whose worker died back: whole, then run by run; yield a failure for a run tried often enough."""
    if tries >= worker.TRIES:
        yield from map(worker.died, shard.runs)
    elif tries == 1:
        waiting.append((k, shard, tries))
    else:
        waiting.extend((k, replace(shard, runs=(run,)), tries) for run in reversed(shard.runs))
