"""Shards run by a Dask cluster."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gdcli.engine.loop import Interrupt
from gdcli.errors import MachineError, SpecError
from gdcli.records import Result
from gdcli.runner.executors import worker
from gdcli.runner.executors.worker import AdvanceShard, Executor, Work
from gdcli.runner.jobs import Layout, PlannedRun, Shard, save_partial
from gdcli.storage import files
from gdcli.storage.run_folder import clear


def dask(address: str) -> Executor:
    """Return the executor on a Dask cluster: ``local:N`` processes on this machine, or a scheduler's address.

    Files come back with the results, so that workers need not share a file system. Dask gives a shard whose worker
    dies to others, and gives up those that were with it too: their runs are done one by one at the end, and one whose
    workers die then as well is failed. Raises SpecError for a number of processes that is none, MachineError without
    the package and for a scheduler that does not answer.
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

    def execute(work: Work, interrupt: Interrupt, advance: AdvanceShard) -> Iterator[Result]:
        with _client(distributed, address, int(count) if is_local else 0) as client:

            def submit(shard: Shard) -> Any:
                return client.submit(worker.run_task, work.task(shard, send=True), pure=False)

            running = {submit(shard): (k, shard) for k, shard in enumerate(work.shards)}
            suspects: list[tuple[int, Shard]] = []  # runs whose worker died, by their own fault or by a neighbour's
            careful = False  # only a suspect is at work: no neighbour dies with it
            while (running or suspects) and not interrupt.requested:
                if not running:
                    careful = True
                    k, shard = suspects.pop(0)
                    running = {submit(shard): (k, shard)}
                try:
                    done, _ = distributed.wait(  # type: ignore[no-untyped-call]  # it has no types
                        list(running), timeout=0.2, return_when="FIRST_COMPLETED"
                    )
                except TimeoutError:
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

    return execute


def _unpack(layout: Layout, run: PlannedRun, contents: Mapping[str, bytes]) -> None:
    """Write the files of a run, by their names, into its folder."""
    folder = layout.of(run)
    if not contents or folder is None:
        return
    clear(folder)  # what another worker left there
    files.make_below(folder)
    for name in sorted(contents, key=lambda name: name == "summary.json"):  # the mark of the end comes last
        files.replace(folder / name, contents[name])


@contextlib.contextmanager
def _client(distributed: Any, address: str, processes: int) -> Iterator[Any]:
    """Connect to a cluster; a local one has no dashboard and listens on the loopback only."""
    import dask

    gc.collect()  # a client that did not connect stops the next one's loop for ever, if it is collected in its thread
    quiet = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "10s",
        "distributed.admin.tick.limit": "1h",
        "distributed.scheduler.allowed-failures": worker.TRIES - 1,
    }
    with dask.config.set(quiet), contextlib.ExitStack() as stack:
        try:
            if processes:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gdcli-dask-"))
                cluster = distributed.LocalCluster(
                    n_workers=processes,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    silence_logs=50,
                    local_directory=scratch,
                )
                address = stack.enter_context(cluster)
            client = stack.enter_context(distributed.Client(address, timeout="5s"))
            if processes:
                client.run(worker.start_worker)
        except (OSError, TimeoutError, ValueError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MachineError(f"--cluster {address}: no answer from the cluster: {text}") from None
        yield client
