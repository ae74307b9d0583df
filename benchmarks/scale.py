"""How sweeps grow: more runs, more workers, more shards. SCALE.md says what follows from it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import specs
from measured import Memory, cost_of
from pairs import CHILDREN, Figure, Pairs, Row, Skipped
from processes import GDCLI, printed

FEW, MANY = 10_000, 1_000_000


def tiny(count: int, folder: str, *more: str) -> list[str]:
    """Return the command of so many learning rates of the 2-2-2 net, 20 epochs each."""
    grid = f"lr=geomspace(0.01,2,{count})"
    end = ["epochs=20", "--max-runs", str(10 * MANY), "--no-plot", "-q", "--output", folder]
    return [GDCLI, "sweep", "backprop_2x2", "--param", grid, *end, *more]


def heavy(folder: str, *more: str) -> list[str]:
    """Return the command of 64 perceptrons on the digits."""
    spec = Path(folder) / "digits.yaml"
    spec.write_text((specs.DIGITS % 1).replace("threads: 1\n", ""), encoding="utf-8")
    axes = ("--param", "lr=geomspace(0.0003,0.03,8)", "--param", "seed=range(0,8)")
    return [GDCLI, "sweep", str(spec), *axes, "--no-plot", "-q", "--output", folder, *more]


def runs(repetitions: int, steps: int) -> Iterator[Row | Memory]:
    """A million runs, processor time per run of the whole command to that of ten thousand."""
    many = MANY if repetitions > 2 else MANY // 20
    pairs = Pairs(f"gdcli sweep of {many:,} runs of 2-2-2 x 20 epochs, per run, to {FEW:,}", 1.2, CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        few = [cost_of(tiny(FEW, folder)).processor / FEW for _ in range(3)]
        found = cost_of(tiny(many, folder), memory=True)
        rows = max(table.read_bytes().count(b"\n") for table in Path(folder).glob("*/*/results.csv"))
        assert rows == many + 1
    for each in few:
        pairs.add(found.processor / many, each)
    yield pairs
    yield Figure(f"gdcli sweep of {many:,} runs of 2-2-2 x 20 epochs, memory", found.memory, 1, "GiB")


def workers(repetitions: int, steps: int) -> Iterator[Row | Memory]:
    """64 perceptrons in several processes, and on Dask clusters, to one process with its two threads."""
    what = "64 mlps on digits x 20 epochs with files, wall time"
    ways = {"--jobs 2": ("--jobs", "2")}
    ways |= {f"--cluster local:{n}": ("--cluster", f"local:{n}") for n in (1, 2, 4)}
    with tempfile.TemporaryDirectory() as folder:
        alone = heavy(folder)
        printed(alone)
        for name, words in ways.items():
            pairs, memory = Pairs(f"{what}, {name}, to one process", None), 0.0
            try:
                for _ in range(3 if repetitions > 2 else 1):
                    other = cost_of(alone, memory=True)
                    mine = cost_of(heavy(folder, *words), memory=True)
                    pairs.add(mine.wall, other.wall)
                    memory = max(memory, mine.memory)
            except RuntimeError as error:
                yield Skipped(pairs.what, str(error).splitlines()[-1][-100:])
                continue
            yield pairs
            yield Memory(f"64 mlps on digits, {name}", memory)


def shards(repetitions: int, steps: int) -> Iterator[Row]:
    """Runs that are shards of their own, on a cluster of two workers: what one more costs, few to many of them."""
    few, many = (250, 2_500) if repetitions > 2 else (100, 500)
    pairs = Pairs(f"{many:,} shards of one run on --cluster local:2, wall time per shard, to {few}", None)
    with tempfile.TemporaryDirectory() as folder:
        end = ("--fleet", "off", "--cluster", "local:2")
        try:
            started = cost_of(tiny(2, folder, *end)).wall
            for _ in range(3 if repetitions > 2 else 1):
                first, second = (cost_of(tiny(count, folder, *end)).wall - started for count in (few, many))
                pairs.add(second / many, first / few)
        except RuntimeError as error:
            yield Skipped(pairs.what, str(error).splitlines()[-1][-100:])
            return
    yield pairs


def scale(repetitions: int, steps: int) -> Iterator[Row | Memory]:
    for part in (workers, shards, runs):
        yield from part(repetitions, steps)
