"""What a whole command costs: wall time, processor time, and the memory of all its processes.

Every command runs from byte code, as an installed program does: an environment that asks Python to write none would
have gdcli compiled anew by each of its commands, and torch not.
"""

from __future__ import annotations

import compileall
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pairs import ENVIRONMENT, HERE, ROOT, Cells

GIB = 2**30
EVERY = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Cost:
    """What one command cost."""

    wall: float  # seconds
    processor: float  # seconds, of the process and of those that it waited for
    memory: float  # GiB: the largest sum over its processes that was seen, pages that they share counted once


@cache
def with_byte_code() -> dict[str, str]:
    """Compile gdcli and the benchmarks, and return the environment of commands that use it."""
    for folder in ("gdcli", "benchmarks"):
        compileall.compile_dir(ROOT / folder, quiet=2)
    return {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Memory:
    """A row that shows what memory a command has, in all its processes."""

    what: str
    most: float  # GiB
    is_missed: bool = False

    def __str__(self) -> str:
        return f"{self.what}, memory of all processes: {self.most:.2f} GiB"

    def cells(self) -> Cells:
        return f"{self.what}, memory of all processes", "", "", "", "", f"{self.most:.2f} GiB", "", "", ""


class TooLongError(Exception):
    """A command took longer than it may."""


def cost_of(command: list[str], *, memory: bool = False, most: float | None = None) -> Cost:
    """Return what a command costs, its output to nowhere; its memory is looked at only where it is asked for.

    Raises TooLongError after so many seconds, and RuntimeError for a command that fails.
    """
    environment, begun = with_byte_code(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    watch = _Memory(process.pid)
    if memory:
        watch.start()
    late = threading.Timer(most or threading.TIMEOUT_MAX, os.killpg, [process.pid, signal.SIGKILL])
    late.daemon = True
    late.start()
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    late.cancel()
    watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if most is not None and wall > most:
        raise TooLongError
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {process.returncode}: {told.decode()[-500:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, watch.most / GIB)


class _Memory(threading.Thread):
    """Looks at a process and its descendants, also those that their parents have left, until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.most, self._known, self._ended = pid, 0, {pid}, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(EVERY):
            self._known |= _descendants(self._known)
            # the command's own peak too; that of os.wait4 would begin with what this process had when it forked
            self.most = max(self.most, _figure(self._pid, "status", "VmHWM:"), sum(map(_proportional, self._known)))

    def stop(self) -> None:
        self._ended.set()
        if self.is_alive():
            self.join()


def _descendants(known: Iterable[int]) -> set[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, before = set(known), 0
    while len(found) > before:
        before = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def _proportional(pid: int) -> int:
    """Return the bytes of a process, those that n processes share as an n-th; 0 for one that has ended."""
    return _figure(pid, "smaps_rollup", "Pss:")


def _figure(pid: int, file: str, name: str) -> int:
    """Return the bytes that a file of a process has under a name; 0 for a process that has ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
    return 0


def python(*words: str) -> list[str]:
    """Return a command of this Python."""
    return [sys.executable, *words]


def script(name: str, *words: str) -> list[str]:
    """Return the command that runs a script of this folder."""
    return python(str(HERE / name), *words)
