"""Shards run by a Dask cluster."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from gdcli.engine.loop import Interrupt
from gdcli.errors import MachineError, SpecError
from gdcli.records import Result
from gdcli.runner.executors import worker
from gdcli.runner.executors.worker import AdvanceShard, Executor, Work
from gdcli.runner.jobs import Layout, PlannedRun, Shard, save_partial
from gdcli.runner.record_run import Warn
from gdcli.storage import files
from gdcli.storage.run_folder import clear, scratch

GONE_SECONDS = 120
"""So long a local cluster may have no worker: Dask starts one that dies again, but gives up one that cannot start."""


class Cluster:
    """The executor on a Dask cluster, which is started or connected to with the first shards and left by ``close``.

    So the runs that tune and those of the table have the same workers. A worker that is lost is told.
    """

    def __init__(self, distributed: Any, address: str, processes: int, security: Any, warning: Warn) -> None:
        """``processes``: of a local cluster; 0 for one that is there."""
        self._distributed, self._address, self._processes = distributed, address, processes
        self._security, self._warning = security, warning
        self._client: Any = None
        self._open = contextlib.ExitStack()
        self._lost: SimpleQueue[Any] = SimpleQueue()  # workers, as Dask tells it in a thread of its own

    def close(self) -> None:
        """Leave the cluster, and end a local one."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # of a scheduler that is gone; else it would tell a client that leaves
                self._client.unsubscribe_topic("all")
        self._client = None
        self._open.close()

    def connect(self) -> Any:
        """Return a client that is connected. Raises MachineError for a cluster that does not answer."""
        if self._client is None:
            client = _client(self._distributed, self._address, self._processes, self._security)
            self._client = self._open.enter_context(client)
            self._client.subscribe_topic("all", self._note)
        return self._client

    def _note(self, event: tuple[float, Any]) -> None:
        _, told = event
        if isinstance(told, dict) and told.get("action") == "remove-worker" and not told.get("expected"):
            self._lost.put(told.get("worker", "one"))

    def _tell_lost(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                worker = self._lost.get_nowait()
                self._warning(f"--cluster {self._address}: lost a worker, {worker}; what it was doing is done again")

    def __call__(self, work: Work, interrupt: Interrupt, advance: AdvanceShard) -> Iterator[Result]:
        """Yield the results of shards as they come back."""
        client, distributed = self.connect(), self._distributed

        def submit(shard: Shard) -> Any:
            return client.submit(worker.run_task, work.task(shard, send=True), pure=False)

        running = {submit(shard): (k, shard) for k, shard in enumerate(work.shards)}
        suspects: list[tuple[int, Shard]] = []  # runs whose worker died, by their own fault or by a neighbour's
        careful = False  # only a suspect is at work: no neighbour dies with it
        seen = time.monotonic()  # a worker
        try:
            while (running or suspects) and not interrupt.requested:
                self._tell_lost()
                if not running:
                    careful = True
                    k, shard = suspects.pop(0)
                    running = {submit(shard): (k, shard)}
                try:
                    done, _ = distributed.wait(list(running), timeout=0.2, return_when="FIRST_COMPLETED")
                except TimeoutError:
                    if not self._processes or client.cluster.scheduler.workers:
                        seen = time.monotonic()
                    elif time.monotonic() - seen > GONE_SECONDS:
                        gone = "all workers are gone, and none comes back"
                        raise MachineError(f"--cluster {self._address}: {gone}") from None
                    continue
                for future in done:
                    k, shard = running.pop(future)
                    try:
                        found = future.result()
                    except distributed.KilledWorker:
                        if careful:
                            yield worker.died(shard.runs[0])
                        else:
                            suspects += [(k, replace(shard, runs=(run,))) for run in shard.runs]
                        continue
                    save_partial(work.layout, found.results)
                    for run in shard.runs:
                        _unpack(work.layout, run, found.files.get(run.number, {}))
                    yield from found.results
                    advance(k, 1.0)
            self._tell_lost()
        finally:
            if running and self._client is not None:
                client.cancel(list(running))  # the next shards do not wait for what nobody asks for any more


def dask(address: str, warning: Warn) -> Cluster:
    """Return the executor on a Dask cluster: ``local:N`` processes on this machine, or a scheduler's address.

    Whoever can connect to a scheduler can run code as its workers' user. A local one lets nobody in but this command:
    its connections are encrypted, both ends with a certificate that was made for it and is in memory alone.

    Files come back with the results, so that workers need not share a file system. Dask gives a shard whose worker
    dies to others, and gives up those that were with it too: their runs are done one by one at the end, and one whose
    workers die then as well is failed. Raises SpecError for a number of processes that is none, MachineError without
    the package, for a scheduler that does not answer, and for a local cluster without workers.
    """
    kind, _, count = address.partition(":")
    is_local = kind == "local"
    if is_local and not (count.isdecimal() and int(count) >= 1):
        raise SpecError(f"--cluster {address}: write local:N, with N processes of at least 1")
    try:
        import distributed

        security = distributed.Security.temporary() if is_local else None  # type: ignore[no-untyped-call]
    except ImportError as error:
        what = "Dask" if isinstance(error, ModuleNotFoundError) else "cryptography"
        raise MachineError(
            f"--cluster needs {what}, which is not installed: pip install 'gradient-descent-cli[dask]'"
        ) from None
    cluster = Cluster(distributed, address, int(count) if is_local else 0, security, warning)
    if not is_local:  # before a folder is made
        cluster.connect()
    return cluster


@contextlib.contextmanager
def closing(executor: Executor) -> Iterator[None]:
    """Leave the cluster, if it is one, at the end."""
    try:
        yield
    finally:
        if isinstance(executor, Cluster):
            executor.close()


def _unpack(layout: Layout, run: PlannedRun, contents: Mapping[str, bytes]) -> None:
    """Write the files of a run, by their names, into its folder."""
    folder = layout.of(run)
    if not contents or folder is None:
        return
    clear(folder)  # what another worker left there
    files.make_below(folder)
    for name in sorted(contents, key=lambda name: name == "summary.json"):  # the mark of the end comes last
        files.replace(folder / name, contents[name])


def _stop_web_server(dask_scheduler: Any) -> None:
    dask_scheduler.http_server.stop()


@contextlib.contextmanager
def _client(distributed: Any, address: str, processes: int, security: Any = None) -> Iterator[Any]:
    """Connect to a cluster; a local one has no dashboard and listens on the loopback only."""
    import dask

    gc.collect()  # a client that did not connect stops the next one's loop for ever, if it is collected in its thread
    quiet = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "60s" if processes else "10s",  # a busy machine's own workers are slow
        "distributed.admin.tick.limit": "1h",
        "distributed.scheduler.allowed-failures": worker.TRIES - 1,
    }
    with dask.config.set(quiet), contextlib.ExitStack() as stack:
        try:
            if processes:
                cluster = distributed.LocalCluster(
                    n_workers=processes,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a web server that is stopped below
                    preload=worker.__name__,
                    security=security,
                    silence_logs=50,
                    local_directory=str(stack.enter_context(scratch("dask"))),
                )
                address = stack.enter_context(cluster)
            client = stack.enter_context(distributed.Client(address, timeout="5s"))
            if processes:
                client.run_on_scheduler(_stop_web_server)
        except (OSError, TimeoutError, ValueError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MachineError(f"--cluster {address}: no answer from the cluster: {text}") from None
        yield client
