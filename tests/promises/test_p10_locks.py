"""P10: two processes never write one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from gdcli.storage import run_folder
from tests.promises import crashing
from tests.promises.crashing import call, contents, has_ended, record_in, start, undisturbed
from tests.timing import processor_seconds, wait_for
from tests.trials import trials


@contextmanager
def released_together(gate: Path) -> Iterator[None]:
    """Wait until a file is there: many processes begin in the same instant."""
    while not gate.exists():
        time.sleep(0.0005)
    yield


@pytest.mark.slow
def test_races_for_a_new_folder(place: Path, specs: Path) -> None:
    """Of 2 to 8 processes that run the same within one second each gets a folder of its own, whole."""
    arguments = ("run", str(specs / "rows.yaml"), "epochs=5", "--no-plot")
    expected, draw, numbered = undisturbed(specs / "race", *arguments), random.Random(10), 0
    for trial in range(trials(8, 50)):
        folder = place / str(trial)
        folder.mkdir()
        gate, count = folder / "gate", draw.randint(2, 8)
        children = [start(folder, *arguments, within=released_together(gate)) for _ in range(count)]
        gate.touch()
        ended = [child.wait() for child in children]
        assert [each.code for each in ended] == [0] * count, ended
        records = list(folder.glob("runs/rows/*"))
        assert len(records) == count, records
        for record in records:
            assert contents(record) == expected
        told = {line for each in ended for line in each.err.splitlines() if line.startswith("record: ")}
        assert told == {f"record: {record.relative_to(folder)}" for record in records}
        numbered += any(record.name.endswith("-2") for record in records)
        shutil.rmtree(folder)
    assert numbered > trials(4, 30)  # they did want the same name


@pytest.mark.slow
def test_races_to_go_on_with_one_record(place: Path, specs: Path) -> None:
    """One winner, the others exit 3 and say so; the record has the bytes of an undisturbed run."""
    arguments = ("run", str(specs / "rows.yaml"), "epochs=1000", "--no-plot")
    expected, draw = undisturbed(specs / "long", *arguments), random.Random(11)
    begun = specs / "begun-race"
    begun.mkdir()
    with crashing.blocks(64):
        assert call(begun, *arguments, within=crashing.ending_after_checkpoints(1)).code == 9
    for trial in range(trials(4, 50)):
        folder, count = place / str(trial), draw.randint(2, 8)
        shutil.copytree(begun, folder)
        gate = folder / "gate"
        children = [start(folder, "resume", "last", within=released_together(gate)) for _ in range(count)]
        gate.touch()
        ended = sorted((child.wait() for child in children), key=lambda each: each.code)
        assert [each.code for each in ended] == [0] + [3] * (count - 1), ended
        for loser in ended[1:]:
            assert loser.err.endswith(" is in use by another process\n"), loser
            assert loser.err.count("\n") == 1
            assert loser.out == ""
        crashing.assert_same(folder, expected)
        shutil.rmtree(folder)


def running(folder: Path, *arguments: str) -> tuple[crashing.Child, Path]:
    """Start a command; wait until it has written its first checkpoint."""
    child = start(folder, *arguments)
    wait_for(lambda: list(folder.glob("runs/*/*/checkpoint.json")), child.is_over)
    record = record_in(folder)
    assert record is not None, child.kill()
    return child, record


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free_at_once(place: Path, specs: Path) -> None:
    arguments = ("run", str(specs / "rows.yaml"), "epochs=200", "--no-plot")
    expected = undisturbed(specs / "killed", *arguments)
    for trial in range(trials(4, 50)):
        folder = place / str(trial)
        folder.mkdir()
        with crashing.blocks(16):
            child, record = running(folder, *arguments)
            assert run_folder.in_use(record)
            second = call(folder, "resume", "last")
            if second.code == 0:
                assert second.err.startswith("nothing is left to do")  # it was as quick as that
                assert child.wait().code == 0
            else:
                assert second.code == 3, second
                assert "in use" in second.err
                child.kill()
                run_folder.Lock(record).release()
                assert call(folder, "resume", "last").code == 0
        crashing.assert_same(folder, expected)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_workers_of_a_killed_sweep_end_within_a_second(tmp_path: Path) -> None:
    """Only the parent is killed; the lock, which its workers were born with, is free when they have gone.

    The second is one of processor time for each of them; their own work would take minutes of it.
    """
    command = [sys.executable, "-m", "gdcli", "sweep", "linear_manual", "-p", "lr=0.001,0.002,0.003,0.004"]
    command += ["epochs=2000000", "--jobs", "2", "--fleet", "off", "-q", "print.style=epoch", "--no-plot"]
    for _ in range(trials(1, 10)):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(list(tmp_path.glob("runs/*/*/*/steps.csv"))) >= 2, partial(has_ended, process.pid))
        record = record_in(tmp_path)
        assert record is not None
        workers = children_of(process.pid)
        assert len(workers) >= 2
        assert run_folder.in_use(record)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert max(seconds_to_end(workers).values(), default=0.0) < 1.0
        run_folder.Lock(record).release()
        sizes = [path.stat().st_size for path in sorted(record.rglob("*.csv"))]
        time.sleep(0.1)
        assert sizes == [path.stat().st_size for path in sorted(record.rglob("*.csv"))]


def children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and os.access(folder / "stat", os.R_OK):
            text = (folder / "stat").read_text().rpartition(")")[2].split()
            found += [int(folder.name)] if int(text[1]) == pid else []
    return found


def seconds_to_end(pids: list[int]) -> dict[int, float]:
    """Wait for the end of processes; return the processor seconds that each still took."""
    begun = {pid: seconds for pid in pids if (seconds := seconds_of(pid)) is not None}
    now = dict(begun)

    def have_gone() -> bool:
        alive = {pid: seconds for pid in begun if (seconds := seconds_of(pid)) is not None}
        now.update(alive)
        return not alive

    wait_for(have_gone)
    return {pid: now[pid] - begun[pid] for pid in begun}


def seconds_of(pid: int) -> float | None:
    """Return the processor time of a process that runs; None of one that has ended, waited for or not."""
    try:
        is_over = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return None if is_over else processor_seconds(pid)
    except OSError:
        return None
