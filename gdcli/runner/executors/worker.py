"""The contract of executors, which run the shards of a sweep, and what a worker process gets, does and sends back.

Workers get the text of the spec and what each run changes in it, and make everything else of that by themselves, so
that a shard can be done again anywhere; its results do not depend on where, nor on which others were done before.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from gdcli.engine.device import cores_of
from gdcli.engine.loop import Interrupt
from gdcli.errors import MachineError, SpecError
from gdcli.plan import SpecFactory, Trial
from gdcli.records import Result
from gdcli.runner.jobs import Capture, Layout, PlannedRun, Shard, failed_run
from gdcli.runner.shards import run_shard
from gdcli.spec import schema
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.storage.run_folder import scratch
from gdcli.zoo import plugins
from gdcli.zoo.data_files import Moved
from gdcli.zoo.plugins import Plugin

TRIES = 3
"""How often a run is given to a worker that then dies."""


@dataclass(frozen=True, slots=True)
class SpecSource:
    """A spec as text, with what its reading depends on."""

    text: str  # the document, overrides put in
    stem: str
    base: str  # the folder that a data file is relative to
    moved: Moved | None = None  # where else it may be
    plugins: tuple[Plugin, ...] = ()  # that it may have names of
    bounded: bool = True  # size limits count


@dataclass(frozen=True, slots=True)
class Task:
    """A shard as a worker gets it: no tensors, no code."""

    work: Work  # that it is part of, without all shards
    trials: tuple[tuple[int, Trial], ...]  # with the runs' numbers
    together: bool
    send: bool  # files go back with the results, for the receiver to write both into the layout's folders
    cores: int  # of the process that gives the task: what `threads: auto` takes for large models


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a worker sends back: results, and the files of each run by its number where they are sent."""

    results: tuple[Result, ...]
    files: Mapping[int, Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Work:
    """All shards of a sweep, where they go and what is captured of them."""

    shards: Sequence[Shard]
    layout: Layout
    capture: Capture
    spec: SpecSource

    def task(self, shard: Shard, *, send: bool) -> Task:
        """Return a shard as data; with ``send`` its files are to come back with the results."""
        return Task(
            work=replace(self, shards=()),
            trials=tuple((run.number, run.trial) for run in shard.runs),
            together=shard.together,
            send=send,
            cores=cores_of(shard.runs[0].loaded),
        )


AdvanceShard = Callable[[int, float], None]  # which shard, and the share of it that is done
Executor = Callable[[Work, Interrupt, AdvanceShard], Iterator[Result]]
"""Yields results as they come."""


@lru_cache(maxsize=1)  # a worker's shards are of one spec, as a rule
def _specs(source: SpecSource, cores: int) -> SpecFactory:
    _load(source.plugins)
    parse = partial(schema.parse, stem=source.stem)
    loaded = partial(load, base=Path(source.base), bounded=source.bounded, cores=cores, moved=source.moved)
    document = read(source.text, "spec")
    return SpecFactory(document, loaded(parse(document, alone=False)), parse, loaded)


def _load(wanted: Sequence[Plugin]) -> None:
    """Load the plugins of the command that gives the tasks; no source is sent. Raises MachineError for others."""
    for plugin in wanted:
        if plugin in plugins.loaded():  # of the process that this one was forked from
            continue
        try:
            (found,) = plugins.load([plugin.source])
        except SpecError as error:
            raise MachineError(f"the plugin {plugin.name} is not installed where the worker is: {error}") from None
        if found.sha256 != plugin.sha256:
            raise MachineError(f"the plugin {plugin.name} is another one where the worker is")


def run_task(task: Task) -> TaskResult:
    """Run a shard in a worker process."""
    torch.set_num_threads(1)
    work, specs = task.work, _specs(task.work.spec, task.cores)
    runs = tuple(PlannedRun(number, trial, specs.of(trial)) for number, trial in task.trials)
    layout, shard = work.layout, Shard(runs, task.together)
    if not task.send:
        return TaskResult(tuple(run_shard(shard, layout, work.capture, Interrupt())), {})
    with scratch("task") as folder:
        layout = replace(layout, folder=None if layout.folder is None else folder, partial_results=None)
        results = tuple(run_shard(shard, layout, work.capture, Interrupt()))
        return TaskResult(results, {run.number: _files(layout.of(run)) for run in runs})


def _files(folder: Path | None) -> dict[str, bytes]:
    if folder is None or not folder.is_dir():
        return {}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def died(run: PlannedRun) -> Result:
    """Return the result of a run whose worker died as often as it was tried."""
    return failed_run(run, MachineError(f"its worker process died {TRIES} times"))


def start_worker(parent: int | None = None) -> None:
    """Leave the terminal's Ctrl-C to the process that gives the tasks, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def dask_setup(worker: Any) -> None:
    """Prepare a new worker of a local cluster: Dask calls the function of this name in a module that it preloads."""
    worker.http_server.stop()
    start_worker()


def _end_with(parent: int) -> None:
    """End this process soon after its parent: a worker without one would write on in a folder that others may have."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
