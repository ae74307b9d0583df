"""What the tests of many runs share: a record as bytes, and workers that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gdcli.plan import Trial
from gdcli.runner.executors.worker import Task, TaskResult, run_task
from gdcli.runner.jobs import PlannedRun, Shard
from gdcli.runner.shards import matches_single
from gdcli.spec import bundled, document, load, schema
from tests.conftest import only_folder

OTHER = ("timing.json", "environment.json", "request.json")
"""Files that name times, the command line and what it asked for."""

VICTIM = 3
"""The run at which a worker dies."""

NORMED = """
data: {generate: {kind: linear, n: 8, weights: [3, 1], bias: 4, noise: 1, x: {uniform: [0, 2]}}}
model:
  type: sequential
  layers:
    - {layer: Linear, in_features: 2, out_features: 3}
    - {layer: BatchNorm1d, num_features: 3}
    - {layer: Linear, in_features: 3, out_features: 1}
loss: mse
optimizer: {name: sgd, lr: 0.01}
batch: {mode: mini-batch, size: 4}
epochs: 3
"""
"""A model that torch refuses to train on a batch of one row, with a ValueError."""


def contents(output: Path, *without: str) -> dict[str, bytes]:
    """All files of the one record below a folder."""
    root = only_folder(output)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in (*OTHER, *without)
    }


def has_bits_of_run() -> bool:
    """Whether fleets of the 2-2-2 net have the bits of `run` on this processor."""
    source = bundled.find("backprop_2x2")
    spec = schema.parse(document.read(source.text, source.shown), "backprop_2x2")
    loaded = load.load(spec, source.path.parent)
    return matches_single(Shard((PlannedRun(1, Trial("", (), ()), loaded),), together=True))


def require_bits_of_run() -> None:
    """Skip where this processor's products round otherwise."""
    if not has_bits_of_run():
        pytest.skip("fleets agree with run to rounding on this processor")


# --- workers: the processes import this module ------------------------------------------------------------------------


def _has_victim(task: Task) -> bool:
    return any(number == VICTIM for number, _ in task.trials)


def dies_once(task: Task) -> TaskResult:
    """Run a shard, but die the first time once the victim's work is done and its files are written."""
    result = run_task(task)
    if _has_victim(task):
        try:
            Path(os.environ["GDCLI_TEST_MARKER"]).touch(exist_ok=False)
        except FileExistsError:
            return result
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def dies_always(task: Task) -> TaskResult:
    """Run a shard, but die at the victim."""
    if _has_victim(task):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_task(task)
