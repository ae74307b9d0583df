"""The processor time of another version and of this one: against.py OLD_TREE [NEW_TREE] [--pairs N] [WORD ...]

Each row is the ratio of user and system seconds, new over old: the median of the ratios of pairs measured in turn, and
the 95 % interval of that median by the bootstrap. Beside it stands what the same measurement says of the old version
against itself: each time, the old one is measured before and after the new one (A B A), the other way around every
second time. A row whose second interval is wider than 3 % gets more pairs, up to --most.

Loops are timed in three long-lived processes, two of the old version and one of the new, which take turns block by
block (`blocks.py`), several short ones a pair, so that what else the machine does meets all; commands are timed as
whole processes. A process may be a little slower than its like for as long
as it lives, by where its memory happens to lie: after every few pairs all three begin anew, and the bootstrap draws
these groups of pairs, not single ones.

A bar is held where the lower end of the interval is at or below it. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import blocks
import numpy as np
import trees
from bench import cpu
from numpy.typing import NDArray
from pairs import ENVIRONMENT, HERE, Cells, markdown, of_time, text

LOOP_BAR, PROCESS_BAR = 1.05, 1.02
GROUP = 5  # pairs of the same processes
FEW = 4  # groups
PAIRS, MOST = 40, 160
WIDEST = 0.03  # of the old version's interval against itself
DRAWS = 4000
HEADER = ("what", "new / old (95 %)", "old / old (95 %)", "pairs", "old", "new", "bar", "")

Triple = tuple[float, float, float]  # seconds of the old version, of the new one, of the old one again
Timed = Callable[[int], float]  # seconds of one side, 0 old, 1 new, 2 old again
SWEEP = "sweep", "backprop_2x2", "--param", "lr=geomspace(0.01,2,1000)", "epochs=100", "--no-plot"
COMMANDS = {
    "gdcli run backprop_2x2 --no-plot, process": ("process", ("run", "backprop_2x2", "--no-plot")),
    "gdcli run backprop_2x2, process": ("process", ("run", "backprop_2x2")),
    "gdcli --help, process": ("help", ("--help",)),
    "gdcli sweep of 1,000 lr x 100 epochs with files, process": ("sweep", SWEEP),
}
WORDS = ("process", "engine", "whole", "mlp", "help", "fleet", "digits", "sweep", "grid", "many")


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """A median with its 95 % interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f}..{self.high:.3f})"


@dataclass(frozen=True)
class Row:
    """All triples of one row, in groups of the same processes."""

    what: str
    bar: float
    turns: int = 1  # of each side in a pair
    groups: list[list[Triple]] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return sum(map(len, self.groups))

    def ratio(self, side: int) -> Ratio:
        """Return a side's seconds over the old version's."""
        return bootstrapped(np.array([[triple[side] / triple[0] for triple in group] for group in self.groups]))

    def seconds(self, side: int) -> float:
        return float(np.median([triple[side] for group in self.groups for triple in group]))

    @property
    def is_quiet(self) -> bool:
        """Whether the old version against itself is known well enough."""
        null = self.ratio(2)
        return null.high - null.low <= WIDEST

    @property
    def is_missed(self) -> bool:
        return self.ratio(1).low > self.bar

    def is_done(self, pairs: int, most: int) -> bool:
        """Say whether there are enough pairs: so many, and as many more as it takes."""
        return self.pairs >= most or (self.pairs >= pairs and self.is_quiet)

    def add(self, timed: Timed, count: int) -> None:
        """Measure a group of triples, the sides in the other order every second time."""
        group = []
        for k in range(self.pairs, self.pairs + count):
            found = [0.0, 0.0, 0.0]
            for turn in range(self.turns):
                for side in (0, 1, 2) if (k + turn) % 2 == 0 else (2, 1, 0):
                    found[side] += timed(side)
            group.append((found[0], found[1], found[2]))
        self.groups.append(group)

    def __str__(self) -> str:
        return f"{self.what}: {self.ratio(1)}, old {self.ratio(2)}, {self.pairs} pairs"

    def cells(self) -> Cells:
        times = of_time(self.seconds(0)), of_time(self.seconds(1))
        verdict = ("NOT" if self.is_missed else "ok") + ("" if self.is_quiet else ", noisy")
        return self.what, str(self.ratio(1)), str(self.ratio(2)), str(self.pairs), *times, f"{self.bar:g}", verdict


def bootstrapped(ratios: NDArray[np.float64]) -> Ratio:
    """Return the median of ratios [groups, pairs] with its interval, of groups drawn anew, always the same draws.

    Of few groups, which do not say how groups differ, single pairs are drawn instead.
    """
    if len(ratios) < FEW:
        ratios = ratios.reshape(-1, 1)
    drawn = np.random.default_rng(0).integers(len(ratios), size=(DRAWS, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn].reshape(DRAWS, -1), axis=1), (0.025, 0.975))
    return Ratio(float(np.median(ratios)), float(low), float(high))


# --- loops ------------------------------------------------------------------------------------------------------------


class Worker:
    """A process with one version's gdcli that does blocks of work."""

    def __init__(self, tree: Path) -> None:
        command = [sys.executable, str(HERE / "blocks.py")]
        pipe = subprocess.PIPE
        variables = ENVIRONMENT | trees.variables(tree)
        self._process = subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True)

    def seconds(self, what: str) -> float:
        """Do a block and return its processor seconds. Raises RuntimeError if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{what}\n")
            self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"{what}: the process has ended")
        return float(line)

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def three_workers(old: Path, new: Path) -> Iterator[list[Worker]]:
    """Yield a process of each side."""
    workers = [Worker(tree) for tree in (old, new, old)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def loops(rows: list[Row], old: Path, new: Path, pairs: int, most: int) -> None:
    """Fill the rows of blocks, a group each from every three processes."""
    while left := [row for row in rows if not row.is_done(pairs, most)]:
        with three_workers(old, new) as workers:
            for row in left:
                row.add(lambda side, row=row: workers[side].seconds(row.what), GROUP)
                print(row, file=sys.stderr, flush=True)


# --- commands ---------------------------------------------------------------------------------------------------------


def processor_seconds(command: list[str], tree: Path, folder: Path) -> float:
    """Return the user and system seconds of a command and the processes that it started."""
    variables = ENVIRONMENT | trees.variables(tree)
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=nowhere, stderr=nowhere)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def commands(rows: list[Row], old: Path, new: Path, pairs: int, most: int) -> None:
    """Fill the rows of whole processes, each a group of its own."""
    for row in rows:
        command = [sys.executable, "-m", "gdcli", *COMMANDS[row.what][1]]

        def timed(side: int, command: list[str] = command) -> float:
            folder = Path(tempfile.mkdtemp(dir=old.parent))
            try:
                return processor_seconds(command, (old, new, old)[side], folder)
            finally:
                shutil.rmtree(folder)

        for side in (0, 1):
            timed(side)  # warms the caches
        while not row.is_done(pairs, most):
            for _ in range(GROUP):
                row.add(timed, 1)
        print(row, file=sys.stderr, flush=True)


# --- the whole --------------------------------------------------------------------------------------------------------


def results(rows: list[Cells]) -> str:
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return (
        "# Against another version\n\n"
        "Written by `benchmarks/against.py --write`. Processor time (user and system) of the new version over that of\n"
        "the old one, and of the old one over itself, measured in turn: medians of the pairs' ratios with their 95 %\n"
        "intervals by the bootstrap. A bar is held where the lower end of the interval is at or below it.\n\n"
        f"{cpu()}, {os.cpu_count()} cores, one thread; {versions}.\n\n{markdown(rows, HEADER)}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure this gdcli's processor time against another version's.")
    parser.add_argument("old", type=trees.tree, metavar="OLD_TREE", help=trees.OLD)
    only = f"{trees.NEW}; only these items: {', '.join(WORDS)}"
    parser.add_argument("words", nargs="*", metavar="[NEW_TREE] WORD", help=only)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at least so many of each row")
    parser.add_argument("--most", type=int, default=MOST, help="at most so many of each row")
    parser.add_argument("--write", action="store_true", help="write against.md; not with a WORD")
    found = parser.parse_intermixed_args()
    found.new = trees.ROOT
    if found.words and found.words[0] not in WORDS:
        found.new = trees.tree(found.words.pop(0))
    if unknown := [word for word in found.words if word not in WORDS]:
        parser.error(f"there is no item {', '.join(unknown)}")
    if found.write and found.words:
        parser.error("--write is for all items")
    return found


def main() -> int:
    asked = arguments()
    words, most = asked.words or WORDS, max(asked.most, asked.pairs)
    looped = [Row(block.what, LOOP_BAR, block.turns) for block in blocks.blocks().values() if block.word in words]
    started = [Row(what, PROCESS_BAR) for what, (word, _) in COMMANDS.items() if word in words]
    with tempfile.TemporaryDirectory() as root:
        old, new = (trees.copied(tree, Path(root) / name) for name, tree in (("old", asked.old), ("new", asked.new)))
        commands(started, old, new, asked.pairs, most)
        loops(looped, old, new, asked.pairs, most)
    rows = [row.cells() for row in (*started, *looped)]
    print(text(rows, HEADER), end="")
    if asked.write:
        (HERE / "against.md").write_text(results(rows), encoding="utf-8")
    return int(any(row.is_missed for row in (*started, *looped)))


if __name__ == "__main__":
    sys.exit(main())
