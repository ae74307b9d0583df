"""P8: Ctrl-C and SIGTERM stop after the step with a checkpoint; a second one stops at once."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.promises import crashing
from tests.promises.crashing import Ended, has_ended, record_in, start, undisturbed
from tests.timing import HANG, processor_seconds, wait_for
from tests.trials import trials

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

SECONDS = 1.0
"""Of processor time."""
LOADED = 0.5
"""More than promised that a process needs where other work takes its caches."""

GDCLI = """\
import signal, sys, time
from pathlib import Path
from gdcli.cli import entry

install, handled = signal.signal, set()

def telling(number, handler):
    def told(*arguments):
        Path("came").touch()
        return handler(*arguments)

    old = install(number, told if callable(handler) else handler)
    if callable(handler):
        handled.add(number)
    if len(handled) == 2:
        Path("handled").touch()
    return old

def endless(*arguments):
    Path("stepping").touch()
    while True:
        time.sleep(60)

signal.signal = telling
if sys.argv[1] == "endless":
    del sys.argv[1]
    from gdcli.engine.kernels.single import Single
    Single.step = endless
entry()
"""
"""gdcli, with files that tell when its signals are handled, for before that Python itself is still starting, that one
came, and that a step has begun that does not end."""


class Running(Protocol):
    pid: int

    def wait(self) -> Ended:
        """Wait for the end."""


class Process:
    """A process from its first instant to its last."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", GDCLI, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.pid = self._process.pid

    def wait(self) -> Ended:
        out, err = self._process.communicate(timeout=HANG)
        return Ended(self._process.returncode, out, err)


def come_to(process: Running, seen: Callable[[], object]) -> None:
    """Wait until something is seen of a process, or it has ended."""
    wait_for(seen, lambda: has_ended(process.pid))


def signalled(process: Running, number: int) -> tuple[Ended, float]:
    """Send a signal; return the end of the process, and the processor seconds that it still took."""
    begun = processor_seconds(process.pid)
    os.kill(process.pid, number)  # one that has ended, and is not waited for, takes it too
    wait_for(lambda: has_ended(process.pid))
    took = processor_seconds(process.pid) - begun
    return process.wait(), took


@dataclass(frozen=True)
class Moment:
    """What is waited for in a record before a signal that then comes within so many seconds."""

    name: str
    kind: Callable[..., Running]
    seen: Callable[[Path], object]
    within: float


def _rows(record: Path) -> int:
    return (record / "steps.csv").read_bytes().count(b"\n") - 1 if (record / "steps.csv").exists() else 0


STARTING = Moment("start-up", Process, lambda record: (record.parents[2] / "handled").exists(), 1.5)
TRAINING = Moment("training", start, _rows, 0.8)
SAVING = Moment("checkpoint", start, lambda record: next(record.glob(".checkpoint*"), None), 0.01)
PLOTTING = Moment("plot", Process, lambda record: _rows(record) == STEPS, 0.7)
ENDING = Moment("end", Process, lambda record: (record / "summary.json").exists(), 0.2)
MOMENTS = (STARTING, *(TRAINING, SAVING) * 2, PLOTTING, TRAINING, STARTING, SAVING, ENDING)
STEPS = 8 * 1300


@pytest.mark.slow
def test_random_signals(place: Path, specs: Path) -> None:
    """130 or 143 or, when it was over, 0; no traceback; a record that goes on to the same bytes."""
    arguments = ("run", str(specs / "rows.yaml"), "epochs=1300")
    expected, draw = undisturbed(specs / "signals", *arguments), random.Random(8)
    codes: set[int] = set()
    for trial in range(trials(10, 200)):
        folder, moment, number = place / str(trial), MOMENTS[trial % len(MOMENTS)], draw.choice(list(CODES))
        folder.mkdir()
        process = moment.kind(folder, *arguments)
        come_to(process, lambda: moment.seen(record_in(folder) or folder / "runs/rows/none"))  # noqa: B023
        time.sleep(draw.uniform(0, moment.within))
        ended, took = signalled(process, number)
        why = (trial, moment.name, number, ended)
        assert ended.code in (0, CODES[number]), why
        assert ended.code or moment in (PLOTTING, ENDING) or _rows(record_in(folder) or folder) == STEPS, why
        assert not re.search("Traceback|rror|xception", ended.err), why
        if ended.code:
            assert took < SECONDS + LOADED, (took, why)
        assert crashing.gone_on_with(folder, arguments).code == 0, why
        crashing.assert_same(folder, expected, why)
        codes.add(ended.code)
        shutil.rmtree(folder)
    assert codes >= {130, 143}


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_stops_after_the_step_that_it_came_in(place: Path, specs: Path, number: int) -> None:
    """The record says so, and its last row and its checkpoint are that step."""
    process = start(place, "run", str(specs / "rows.yaml"), "epochs=1000000", "checkpoint.every_seconds=30")
    come_to(process, lambda: _rows(record_in(place) or place) > 500)
    ended, took = signalled(process, number)
    assert took < SECONDS + LOADED
    assert ended.code == CODES[number], ended
    step = int(re.findall(r"interrupted after step (\d+)\n", ended.err)[0])
    record = record_in(place)
    assert record is not None
    assert json.loads((record / "summary.json").read_text())["status"] == "interrupted"
    assert json.loads((record / "checkpoint.json").read_text())["steps"] == step
    assert _rows(record) == step
    shown = record.relative_to(place)
    assert ended.err.splitlines()[1:] == [f"record: {shown}", f"go on with: gdcli resume {shown}"]


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_second_signal_stops_at_once(place: Path, specs: Path, number: int) -> None:
    """In the middle of a step without end, after which the first one would have stopped it."""
    process = Process(place, "endless", "run", str(specs / "rows.yaml"), "--no-plot")
    come_to(process, (place / "stepping").exists)
    os.kill(process.pid, number)
    come_to(process, (place / "came").exists)
    assert not has_ended(process.pid)
    ended, took = signalled(process, number)
    assert took < SECONDS + LOADED
    assert ended.code == CODES[number], ended
    assert "Traceback" not in ended.err
    record = record_in(place)
    assert record is not None
    assert not (record / "summary.json").exists()
