"""Whole commands against the program one would write by hand."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from measured import with_byte_code
from pairs import CHILDREN, HERE, ROOT, SHORT, Pairs, Row, seconds

GDCLI = str(Path(sys.executable).parent / "gdcli")


def seconds_of(command: list[str]) -> float:
    """Return the processor time that a command takes, its output to nowhere."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return seconds(partial(subprocess.run, command, cwd=ROOT, env=with_byte_code(), check=True, **quiet), CHILDREN)


def printed(command: list[str]) -> bytes:
    """Return what a command prints; it also warms the caches."""
    done = subprocess.run(command, cwd=ROOT, env=with_byte_code(), check=True, stdout=subprocess.PIPE)
    return done.stdout


def peak_of(command: list[str]) -> float:
    """Return the most memory that a command had, in GiB."""
    return float(printed([sys.executable, str(HERE / "peak.py"), *command]).split()[1])


def processes(repetitions: int, steps: int) -> Iterator[Row]:
    without = Pairs("gdcli run backprop_2x2 --no-plot, process", 0.65, CHILDREN)
    plotted = Pairs("gdcli run backprop_2x2, process", 0.9, CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        run = [GDCLI, "run", "backprop_2x2", "--output", folder]
        plain = [sys.executable, str(HERE / "plain_backprop_2x2.py")]
        shown = printed(plain)
        assert shown == printed([*run, "--no-plot"]) == printed(run), "the two sides print different bytes"
        for _ in range(SHORT if repetitions > 2 else 5):
            by_hand, again = seconds_of(plain), seconds_of(plain)
            without.add(seconds_of([*run, "--no-plot"]), by_hand, again)
            plotted.add(seconds_of(run), by_hand, again)
    yield without
    yield plotted


def helps(repetitions: int, steps: int) -> Iterator[Row]:
    pairs = Pairs("gdcli --help, process, to a one-command Typer program", 1.3, CHILDREN)
    ours, plain = [GDCLI, "--help"], [sys.executable, str(HERE / "one_command.py"), "--help"]
    printed(ours), printed(plain)
    for _ in range(SHORT if repetitions > 2 else 5):
        pairs.add(seconds_of(ours), seconds_of(plain), seconds_of(plain))
    yield pairs


def sweep_command(count: int, folder: str) -> list[str]:
    """Return the command that sweeps so many learning rates of the 2-2-2 net."""
    grid = f"lr=geomspace(0.01,2,{count})"
    return [GDCLI, "sweep", "backprop_2x2", "--param", grid, "epochs=100", "--no-plot", "--output", folder]


def swept(repetitions: int, steps: int) -> Iterator[Row]:
    pairs = Pairs("gdcli sweep of 1,000 lr x 100 epochs with files, process, to import torch", 1.6, CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = sweep_command(1000, folder), [sys.executable, "-c", "import torch"]
        printed(ours), printed(plain)
        for _ in range(2 * repetitions):
            pairs.add(seconds_of(ours), seconds_of(plain), seconds_of(plain))
    yield pairs
