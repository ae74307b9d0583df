"""What a worker process gets, does and sends back.

Workers get the text of the spec and what each run changes in it, and make everything else of that by themselves, so
that a shard can be done again anywhere; its results do not depend on where, nor on which others were done before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gdcli.engine.loop import Interrupt
from gdcli.plan import SpecFactory, Trial
from gdcli.records import Result, failed_result
from gdcli.runner import Capture, Layout, Run, Shard, run_shard
from gdcli.runner.record_run import Provenance
from gdcli.spec import schema
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.sections import RunSpec

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
    trials: tuple[tuple[int, Trial], ...]  # with the runs' numbers
    together: bool
    folder: str | None  # None where runs have no folders; "" where the worker is to send the files
    count: int
    origin: Provenance
    capture: Capture
    partial_results: str | None  # where the worker writes its results; None where the receiver writes them
    cores: int  # of the process that gives the task: what `threads: auto` takes for large models


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a worker sends back: results, and the files of each run by its number where they are sent."""

    results: tuple[Result, ...]
    files: Mapping[int, Mapping[str, bytes]]


@lru_cache(maxsize=1)  # a worker's shards are of one spec, as a rule
def _specs(source: SpecSource, cores: int) -> SpecFactory:
    def parse(node: Any) -> RunSpec:
        return schema.parse(node, source.stem)

    def loaded(spec: RunSpec) -> Any:
        return load(spec, Path(source.base), cores=cores)

    document = read(source.text, "spec")
    return SpecFactory(document, loaded(parse(document)), parse, loaded)


def run_task(task: Task) -> TaskResult:
    """Run a shard in a worker process."""
    torch.set_num_threads(1)
    specs = _specs(task.spec, task.cores)
    runs = tuple(Run(number, trial, specs.of(trial)) for number, trial in task.trials)
    with contextlib.ExitStack() as stack:
        folder = task.folder
        if folder == "":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gdcli-"))
        layout = Layout(_path(folder), task.count, task.origin, _path(task.partial_results))
        results = tuple(run_shard(Shard(runs, task.together), layout, task.capture, Interrupt()))
        files = {run.number: _files(layout.of(run)) for run in runs} if task.folder == "" else {}
    return TaskResult(results, files)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _files(folder: Path | None) -> dict[str, bytes]:
    if folder is None or not folder.is_dir():
        return {}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def died(run: Run) -> Result:
    """Return the result of a run whose worker died as often as it was tried."""
    return failed_result(run.number, run.point.label, run.point.values, f"its worker process died {TRIES} times")


def start_worker(parent: int | None = None) -> None:
    """Leave the terminal's Ctrl-C to the process that gives the tasks, and end when that one does."""
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
