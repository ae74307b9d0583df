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
from tests.promises.crashing import Ended, record_in, start, undisturbed
from tests.trials import trials

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

SECONDS = 1.0
LOADED = 0.5
"""Seconds more than promised that a machine with other work may need to end a process."""

GDCLI = """\
import contextlib
import time
from gdcli.cli import entry, output, signals

stoppable, importing = signals.Signals.stoppable, signals.importing

@contextlib.contextmanager
def told(self):
    with stoppable(self):
        open("handled", "w").close()
        yield

@contextlib.contextmanager
def slow():
    with importing():
        yield
    from gdcli.engine.kernels.single import Single
    step = Single.step
    Single.step = lambda *arguments: (time.sleep(STEP), step(*arguments))[1]

signals.Signals.stoppable = told
if STEP:
    output.importing = slow
entry()
"""
"""gdcli, with a file that tells when its signals are handled: before that Python itself is still starting."""


class Running(Protocol):
    def signal(self, number: int) -> None:
        """Send a signal."""

    def end(self) -> Ended:
        """Wait for the end."""

    def is_over(self) -> bool:
        """Say whether it has ended."""


class Process:
    """A process from its first instant to its last; its steps may be made to take some seconds."""

    def __init__(self, folder: Path, *arguments: str, step: float = 0.0) -> None:
        command = [sys.executable, "-c", f"STEP = {step}\n{GDCLI}", *arguments]
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> Ended:
        out, err = self._process.communicate(timeout=60)
        return Ended(self._process.returncode, out, err)

    def is_over(self) -> bool:
        return self._process.poll() is not None


class Forked:
    """A process that has torch already."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._child = start(folder, *arguments)

    def signal(self, number: int) -> None:
        os.kill(self._child.pid, number)

    def end(self) -> Ended:
        return self._child.wait()

    def is_over(self) -> bool:
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_for(process: Running, seen: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not seen() and not process.is_over() and time.monotonic() < until:
        time.sleep(0.001)


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
TRAINING = Moment("training", Forked, _rows, 0.8)
SAVING = Moment("checkpoint", Forked, lambda record: next(record.glob(".checkpoint*"), None), 0.01)
PLOTTING = Moment("plot", Process, lambda record: _rows(record) == STEPS, 0.7)
ENDING = Moment("end", Process, lambda record: (record / "summary.json").exists(), 0.2)
MOMENTS = (STARTING, *(TRAINING, SAVING) * 2, PLOTTING, TRAINING, STARTING, SAVING, ENDING)
STEPS = 8 * 1300


def test_random_signals(place: Path, specs: Path) -> None:
    """130 or 143 or, when it was over, 0; no traceback; a record that goes on to the same bytes."""
    arguments = ("run", str(specs / "rows.yaml"), "epochs=1300")
    expected, draw = undisturbed(specs / "signals", *arguments), random.Random(8)
    codes: set[int] = set()
    for trial in range(trials(12, 200)):
        folder, moment, number = place / str(trial), MOMENTS[trial % len(MOMENTS)], draw.choice(list(CODES))
        folder.mkdir()
        process = moment.kind(folder, *arguments)
        wait_for(process, lambda: moment.seen(record_in(folder) or folder / "runs/rows/none"))  # noqa: B023
        time.sleep(draw.uniform(0, moment.within))
        began = time.monotonic()
        process.signal(number)
        ended = process.end()
        took, why = time.monotonic() - began, (trial, moment.name, number, ended)
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


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_stops_after_the_step_that_it_came_in(place: Path, specs: Path, number: int) -> None:
    """The record says so, and its last row and its checkpoint are that step."""
    process = Forked(place, "run", str(specs / "rows.yaml"), "epochs=1000000", "checkpoint.every_seconds=30")
    wait_for(process, lambda: _rows(record_in(place) or place))
    time.sleep(0.3)
    began = time.monotonic()
    process.signal(number)
    ended = process.end()
    assert time.monotonic() - began < SECONDS + LOADED
    assert ended.code == CODES[number], ended
    step = int(re.findall(r"interrupted after step (\d+)\n", ended.err)[0])
    record = record_in(place)
    assert record is not None
    assert json.loads((record / "summary.json").read_text())["status"] == "interrupted"
    assert json.loads((record / "checkpoint.json").read_text())["steps"] == step
    assert _rows(record) == step
    shown = record.relative_to(place)
    assert ended.err.splitlines()[1:] == [f"record: {shown}", f"go on with: gdcli resume {shown}"]


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_second_signal_stops_at_once(place: Path, specs: Path, number: int) -> None:
    """In the middle of a step of five seconds, after which the first one would have stopped it."""
    process = Process(place, "run", str(specs / "rows.yaml"), "--no-plot", step=5.0)
    wait_for(process, lambda: record_in(place) and (record_in(place) / "log.txt").exists())
    time.sleep(0.2)
    process.signal(number)
    time.sleep(0.2)
    assert not process.is_over()
    began = time.monotonic()
    process.signal(number)
    ended = process.end()
    assert time.monotonic() - began < SECONDS + LOADED
    assert ended.code == CODES[number], ended
    assert "Traceback" not in ended.err
    record = record_in(place)
    assert record is not None
    assert not (record / "summary.json").exists()
