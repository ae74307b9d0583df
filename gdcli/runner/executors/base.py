"""Who carries out the shards of a sweep: this process, several processes, or a Dask cluster.

Workers get the text of the spec and what each run changes in it, and make everything else of that by themselves, so
that a shard can be done again anywhere; its results do not depend on where, nor on which others were done before.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gdcli.engine.loop import Interrupt
from gdcli.engine.problem import cores_of
from gdcli.errors import MachineError, SpecError
from gdcli.plan import SpecFactory, Trial
from gdcli.records import Result, failed_result
from gdcli.runner import Capture, Layout, Run, Shard, clear, folder_name, run_shard, save_partial
from gdcli.runner.executors.threads import lanes_of, side_by_side
from gdcli.runner.record_run import Provenance
from gdcli.spec import schema
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.storage import files

TRIES = 3
"""How often a run is given to a worker that then dies."""


@dataclass(frozen=True, slots=True)
class SpecSource:
    """A spec as text, with what its reading depends on."""

    text: str  # the document, overrides put in
    stem: str
    base: str  # the folder that a data file is relative to


@dataclass(frozen=True, slots=True)
class Task:
    """A shard as a worker gets it: no tensors, no code."""

    spec: SpecSource
    points: tuple[tuple[int, Trial], ...]
    together: bool
    folder: str | None  # None where runs have no folders; "" where the worker is to send the files
    count: int
    origin: Provenance
    wish: Capture
    kept: str | None  # where the worker keeps its results; None where whoever gets them does
    cores: int  # of whoever gives the work: what `threads: auto` takes for large models, here or there


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a worker sends back: results, and the files of each run by its number where they are sent."""

    results: tuple[Result, ...]
    files: Mapping[int, Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Work:
    """All shards of a sweep, where they go and what is kept of them."""

    shards: Sequence[Shard]
    place: Layout
    wish: Capture
    spec: SpecSource

    def errand(self, shard: Shard, *, send: bool) -> Task:
        """Return a shard as data."""
        folder = None if self.place.of(shard.runs[0]) is None else "" if send else str(self.place.folder)
        points = tuple((run.number, run.point) for run in shard.runs)
        count, origin = self.place.count, self.place.origin
        kept = None if send or self.place.kept is None else str(self.place.kept)
        cores = cores_of(shard.runs[0].loaded)
        return Task(self.spec, points, shard.together, folder, count, origin, self.wish, kept, cores)


Executor = Callable[[Work, Interrupt, Callable[[int, float], None]], Iterator[Result]]
"""Yields results as they come; tells (shard, share done) as it goes."""


def here(work: Work, interrupt: Interrupt, advance: Callable[[int, float], None]) -> Iterator[Result]:
    """Carry out the shards in this process: heavy fleets side by side, all else one after the other."""
    heavy = [shard for shard in work.shards if shard.together]
    lanes = lanes_of([run for shard in heavy for run in shard.runs]) if len(heavy) == len(work.shards) > 1 else 1
    if lanes > 1:
        yield from side_by_side([*work.shards], work.place, work.wish, interrupt, advance, lanes)
        return
    for k, shard in enumerate(work.shards):
        if interrupt.requested:
            return
        yield from run_shard(shard, work.place, work.wish, interrupt, lambda share, k=k: advance(k, share))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        advance(k, 1.0)


# --- workers ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)  # a worker's shards are of one spec, as a rule
def _specs(text: SpecSource, cores: int) -> SpecFactory:
    def parse(node: Any) -> schema.RunSpec:
        return schema.parse(node, text.stem)

    def loaded(spec: schema.RunSpec) -> Any:
        return load(spec, Path(text.base), cores=cores)

    document = read(text.text, "spec")
    return SpecFactory(document, loaded(parse(document)), parse, loaded)


def deliver(errand: Task) -> TaskResult:
    """Carry out an errand in a worker process."""
    torch.set_num_threads(1)
    specs = _specs(errand.spec, errand.cores)
    runs = tuple(Run(number, point, specs.of(point)) for number, point in errand.points)
    shard = Shard(runs, errand.together)
    with contextlib.ExitStack() as stack:
        folder = None
        if errand.folder is not None:
            folder = Path(errand.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="gdcli-")))
        place = Layout(folder, errand.count, errand.origin, None if errand.kept is None else Path(errand.kept))
        results = tuple(run_shard(shard, place, errand.wish, Interrupt()))
        files = {run.number: _files(place.of(run)) for run in runs} if errand.folder == "" else {}
    return TaskResult(results, files)


def _files(folder: Path | None) -> dict[str, bytes]:
    if folder is None or not folder.is_dir():
        return {}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _start_worker(parent: int | None = None) -> None:
    """Leave the terminal's Ctrl-C to the process that gave the work, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent: a worker without one would write on in a folder that others may have."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


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
            self._jobs, mp_context=self._context, initializer=_start_worker, initargs=(os.getpid(),)
        )

    def submit(self, errand: Task) -> Future[TaskResult]:
        """Give an errand to a worker."""
        try:
            return self._pool.submit(deliver, errand)
        except BrokenProcessPool:
            self.renew()
            return self._pool.submit(deliver, errand)

    def renew(self) -> None:
        """Replace processes of which one died."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._new()

    def stop(self) -> None:
        """Stop all workers, those at work too."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def processes(jobs: int) -> Executor:
    """Return the executor of several processes on this machine, each with one thread.

    When a worker dies, all that was being done is done again, one shard at a time; a shard whose worker dies again is
    split into its runs, and a run whose worker dies then too is failed.
    """

    def execute(work: Work, interrupt: Interrupt, advance: Callable[[int, float], None]) -> Iterator[Result]:
        pool = _Pool(jobs)
        waiting = [(k, shard, 0) for k, shard in enumerate(work.shards)][::-1]
        running: dict[Future[TaskResult], tuple[int, Shard, int]] = {}
        try:
            while waiting or running:
                # a run that may kill its worker goes alone, so that the others need not be done again with it
                careful = any(tries for _, _, tries in running.values()) or bool(waiting and waiting[-1][2])
                while waiting and not interrupt.requested and len(running) < (1 if careful else jobs):
                    k, shard, tries = waiting.pop()
                    future = pool.submit(work.errand(shard, send=False))
                    running[future] = k, shard, tries
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
                    broken += running.values()
                    running.clear()
                    pool.renew()
                    for k, shard, tries in reversed(broken):
                        yield from _again(k, shard, tries, waiting)
        finally:
            pool.stop()

    return execute


def _again(k: int, shard: Shard, tries: int, waiting: list[tuple[int, Shard, int]]) -> Iterator[Result]:
    """Put a shard whose worker died back: whole, then run by run; yield a failure for a run tried often enough."""
    tries += 1
    if tries >= TRIES:
        for run in shard.runs:
            yield failed_result(run.number, run.point.label, run.point.values, f"its worker process died {TRIES} times")
    elif tries == 1:
        waiting.append((k, shard, tries))
    else:
        waiting.extend((k, replace(shard, runs=(run,)), tries) for run in reversed(shard.runs))


# --- Dask -------------------------------------------------------------------------------------------------------------


def dask(address: str) -> Executor:
    """Return the executor on a Dask cluster: ``local:N`` processes on this machine, or a scheduler's address.

    Files come back with the results, so that workers need not share a file system. Dask gives a shard whose worker
    dies to others, and gives up those that were with it too: their runs are done one by one at the end, and one whose
    workers die then as well is failed. Raises SpecError for a
    number of processes that is none, MachineError without the package and for a scheduler that does not answer.
    """
    kind, _, count = address.partition(":")
    is_local = kind == "local"
    if is_local and not (count.isdecimal() and int(count) >= 1):
        raise SpecError(f"--cluster {address}: write local:N, with N processes of at least 1")
    try:
        import distributed
    except ModuleNotFoundError:
        raise MachineError(
            "--cluster needs Dask, which is not installed: pip install 'gradient-descent-cli[dask]'"
        ) from None
    if not is_local:  # before a folder is made
        with _client(distributed, address, 0):
            pass

    def execute(work: Work, interrupt: Interrupt, advance: Callable[[int, float], None]) -> Iterator[Result]:
        with _client(distributed, address, int(count) if is_local else 0) as client:

            def submit(shard: Shard) -> Any:
                return client.submit(deliver, work.errand(shard, send=True), pure=False)

            tasks = {submit(shard): (k, shard) for k, shard in enumerate(work.shards)}
            suspects: list[tuple[int, Shard]] = []  # runs whose worker died, by their own fault or by a neighbour's
            careful = False  # only a suspect is at work: no neighbour dies with it
            while (tasks or suspects) and not interrupt.requested:
                if not tasks:
                    careful = True
                    k, shard = suspects.pop(0)
                    tasks = {submit(shard): (k, shard)}
                try:
                    done, _ = distributed.wait(  # type: ignore[no-untyped-call]  # it has no types
                        list(tasks), timeout=0.2, return_when="FIRST_COMPLETED"
                    )
                except TimeoutError:
                    continue
                for future in done:
                    k, shard = tasks.pop(future)
                    try:
                        delivery = future.result()
                    except distributed.KilledWorker:
                        if not careful:
                            suspects += [(k, replace(shard, runs=(run,))) for run in shard.runs]
                            continue
                        run = shard.runs[0]
                        died = f"its worker process died {TRIES} times"
                        yield failed_result(run.number, run.point.label, run.point.values, died)
                        continue
                    save_partial(work.place, delivery.results)
                    for number, files in delivery.files.items():
                        _unpack(work.place, number, shard, files)
                    yield from delivery.results
                    advance(k, 1.0)

    return execute


def _unpack(place: Layout, number: int, shard: Shard, contents: Mapping[str, bytes]) -> None:
    run = next(run for run in shard.runs if run.number == number)
    assert place.folder is not None
    folder = place.folder / folder_name(number, run.point.label, place.count)
    if not contents:
        return
    clear(folder)  # what another worker left there
    with files.naming(folder):
        folder.mkdir()
    for name in sorted(contents, key=lambda name: name == "summary.json"):  # the mark of the end comes last
        files.replace(folder / name, contents[name])


@contextlib.contextmanager
def _client(distributed: Any, address: str, processes: int) -> Iterator[Any]:
    """Connect to a cluster; a local one has no dashboard and listens on the loopback only."""
    import dask

    quiet = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "10s",
        "distributed.admin.tick.limit": "1h",
        "distributed.scheduler.allowed-failures": TRIES - 1,
    }
    with dask.config.set(quiet), contextlib.ExitStack() as stack:
        try:
            if processes:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gdcli-dask-"))
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=processes,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address=None,
                        silence_logs=50,
                        local_directory=scratch,
                    )
                )
            client = stack.enter_context(distributed.Client(address, timeout="5s"))
            if processes:
                client.run(_start_worker)
        except (OSError, TimeoutError, ValueError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MachineError(f"--cluster {address}: no answer from the cluster: {text}") from None
        yield client
