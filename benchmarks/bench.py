"""Measure gdcli against what one would write by hand. Run: make bench, or benchmarks/bench.py [--quick] [WORD ...]

Every line is a ratio of two medians taken in one run, both sides in turn (A B A B), on one thread. Where both sides are
loops they take turns block by block inside one process, so that a machine that slows down slows both. What the two
sides compute is compared first: the printed bytes, the trained weights' bits.

Exit code 1 when a bar is missed. A full run writes results.md; --quick, and a WORD that chooses items, do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GDCLI = str(Path(sys.executable).parent / "gdcli")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.update(ENVIRONMENT)  # before torch is imported
STEPS, QUICK_STEPS = 10_000, 3_000
WARM_UP = 300


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, pair by pair."""

    what: str
    bar: float
    informative: bool = False  # a bar that a slow day may miss
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    def add(self, ours: float, plain: float) -> None:
        self.ours.append(ours)
        self.plain.append(plain)

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.plain)

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.bar

    def cells(self) -> tuple[str, ...]:
        ratios = [ours / plain for ours, plain in zip(self.ours, self.plain, strict=True)]
        return (
            self.what,
            f"{self.ratio:.3f} ({min(ratios):.3f}..{max(ratios):.3f})",
            f"{self.bar:g}{' (informative)' if self.informative else ''}",
            "ok" if self.is_met else "NOT",
        )


# --- whole processes --------------------------------------------------------------------------------------------------


def seconds_of(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def printed(command: list[str]) -> bytes:
    """Return what a command prints; it also warms the caches."""
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    return done.stdout


def processes(repetitions: int, steps: int) -> Iterator[Pairs]:
    without = Pairs("gdcli run backprop_2x2 --no-plot, process", 0.65)
    plotted = Pairs("gdcli run backprop_2x2, process", 0.9)
    with tempfile.TemporaryDirectory() as folder:
        run = [GDCLI, "run", "backprop_2x2", "--output", folder]
        plain = [sys.executable, str(HERE / "plain_backprop_2x2.py")]
        text = printed(plain)
        assert text == printed([*run, "--no-plot"]) == printed(run), "the two sides print different bytes"
        for _ in range(repetitions):
            by_hand = seconds_of(plain)
            without.add(seconds_of([*run, "--no-plot"]), by_hand)
            plotted.add(seconds_of(run), by_hand)
    yield without
    yield plotted


def helps(repetitions: int, steps: int) -> Iterator[Pairs]:
    pairs = Pairs("gdcli --help, process, to a one-command Typer program", 1.3)
    ours, plain = [GDCLI, "--help"], [sys.executable, str(HERE / "one_command.py"), "--help"]
    printed(ours), printed(plain)
    for _ in range(3 * repetitions):
        pairs.add(seconds_of(ours), seconds_of(plain))
    yield pairs


# --- loops in this process --------------------------------------------------------------------------------------------

SMALL = """
name: bench
data: {x: [[0.05, 0.10]], y: [[0.01, 0.99]]}
model:
  type: mlp
  layers: [2, 2, 2]
  activation: sigmoid
  output_activation: sigmoid
  init:
    linear1.weight: [[0.15, 0.20], [0.25, 0.30]]
    linear1.bias: [0.35]
    linear2.weight: [[0.40, 0.45], [0.50, 0.55]]
    linear2.bias: [0.60]
loss: mse
optimizer: %s
epochs: %d
engine: %s
threads: 1
print: {style: tensor}
"""

MLP = """
name: bench_mlp
data: {generate: {kind: blobs, n: 6000, classes: 10, features: 784}}
model: {type: mlp, layers: [784, 256, 10], activation: relu}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.01}
epochs: 1
batch: {mode: mini-batch, size: 64}
record: {gradients: norms}
threads: 1
print: {style: tensor}
"""

RULES = {
    "sgd": "{name: sgd, lr: 0.5}",
    "momentum": "{name: sgd, lr: 0.5, momentum: 0.9}",
    "adam": "{name: adam, lr: 0.01}",
}

Slice = Callable[[int], None]  # takes so many steps
Slices = Callable[[Slice], None]  # takes all its steps, calling back after each block with its length
Found = dict[str, Any]


def loaded(text: str):  # type: ignore[no-untyped-def]
    from gdcli.spec import document, schema
    from gdcli.spec.load import load

    return load(schema.parse(document.read(text, "bench.yaml"), "bench"), HERE)


def in_turn(ours: Callable[[Slice], None], plain: Slice, pairs: Pairs) -> None:
    """Add seconds per step, block by block; ``ours`` calls its argument after each, then the other side follows.

    What comes before the first block counts to the first, what comes after the last to the last.
    """
    begun, last = time.perf_counter(), 1

    def turn(steps: int) -> None:
        nonlocal begun, last
        last = steps
        half = time.perf_counter()
        plain(steps)
        end = time.perf_counter()
        pairs.add((half - begun) / steps, (end - half) / steps)
        begun = time.perf_counter()

    ours(turn)
    pairs.ours[-1] += (time.perf_counter() - begun) / last


def engine_alone(spec) -> tuple[Found, Slices]:  # type: ignore[no-untyped-def]
    """Build and train; every gradient of every step stays in memory."""
    from gdcli.engine.build import build
    from gdcli.engine.train import train
    from gdcli.records import StepBlock

    found: Found = {}

    def run(turn: Slice) -> None:
        blocks = []
        for event in train(build(spec)):
            if isinstance(event, StepBlock):
                blocks.append(event)
                turn(len(event.step))
        found["steps"] = sum(len(block.gradients) for block in blocks)
        found["parameters"] = event.parameters

    return found, run


def whole_run(spec, root: str) -> tuple[Found, Slices]:  # type: ignore[no-untyped-def]
    """Train with text and CSV files written and the text printed to nowhere."""
    from gdcli import execute

    found: Found = {}

    def run(turn: Slice) -> None:
        folder = Path(tempfile.mkdtemp(dir=root))
        origin = execute.Origin(b"", ())
        with open(os.devnull, "w", encoding="utf-8") as sink:  # noqa: PTH123
            watch = execute.Watch(text=sink.write, block=lambda block: turn(len(block.step)))
            finished = execute.run(spec, folder, origin, watch=watch, plot=False)
        with (folder / "gradients.csv").open() as stream:
            found["steps"] = sum(1 for _ in stream) - 1
        found["parameters"] = finished.outcome.parameters

    return found, run


def small_pairs(steps: int, pairs: Pairs, rule: str, make: Callable[[int], tuple[Found, Slices]]) -> Pairs:
    """Fill the pairs from one run of each side, after a short one that warms up; both must end at the same bits."""
    from plain_loops import Small

    for count in (WARM_UP, steps):
        del pairs.ours[:], pairs.plain[:]
        other = Small(rule)
        found, ours = make(count)
        in_turn(ours, other.train, pairs)
        state = other.model.state_dict()
        assert found["steps"] == count
        assert all((state[each.name].numpy() == each.values).all() for each in found["parameters"]), "other weights"
    return pairs


def engines(repetitions: int, steps: int) -> Iterator[Pairs]:
    for engine, bars in (("by_hand", (0.2, 0.2, 0.25)), ("autograd", (0.5, 0.5, 0.5))):
        for (rule, settings), bar in zip(RULES.items(), bars, strict=True):

            def make(count: int, settings: str = settings, engine: str = engine) -> tuple[Found, Slices]:
                return engine_alone(loaded(SMALL % (settings, count, engine)))

            pairs = Pairs(f"engine, 2-2-2, {rule}, {engine}, all gradients kept", bar)
            yield small_pairs(steps, pairs, rule, make)


def whole(repetitions: int, steps: int) -> Iterator[Pairs]:
    pairs = Pairs("whole run, 2-2-2, sgd, text and CSV written", 0.45)
    with tempfile.TemporaryDirectory() as root:

        def make(count: int) -> tuple[Found, Slices]:
            return whole_run(loaded(SMALL % (RULES["sgd"], count, "auto")), root)

        yield small_pairs(steps, pairs, "sgd", make)


def mlps(repetitions: int, steps: int) -> Iterator[Pairs]:
    from plain_loops import mlp_epoch

    from gdcli.engine.build import build
    from gdcli.engine.train import train

    spec = loaded(MLP)
    table = spec.training
    pairs = Pairs("engine, mlp 784-256-10, batch 64, norms every step", 0.8, informative=True)
    for repetition in range(3 * repetitions + 1):
        begun = time.perf_counter()
        *_, _ = train(build(spec))
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        mlp_epoch(table.x, table.y)
        if repetition:
            pairs.add(ours, time.perf_counter() - begun)
    yield pairs


# --- the table --------------------------------------------------------------------------------------------------------

ITEMS = {"process": processes, "engine": engines, "whole": whole, "mlp": mlps, "help": helps}
HEADER = ("what", "ratio median (min..max)", "bar", "")


def table(rows: list[tuple[str, ...]], *, markdown: bool) -> str:
    rows = [HEADER, *rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if markdown:
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def results(rows: list[tuple[str, ...]], repetitions: int) -> str:
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`. Each line is gdcli's time over that of the same work by hand (`plain_*.py`,\n"
        f"`one_command.py`), measured in turn in one run, {repetitions} pairs at least. Below 1, gdcli is faster.\n\n"
        f"{cpu()}, {os.cpu_count()} cores, one thread used; {versions}.\n\n{table(rows, markdown=True)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure gdcli against what one would write by hand.")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"only these items: {', '.join(ITEMS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and steps")
    arguments = parser.parse_args()
    if unknown := [word for word in arguments.words if word not in ITEMS]:
        parser.error(f"there is no item {', '.join(unknown)}")
    repetitions, steps = (2, QUICK_STEPS) if arguments.quick else (5, STEPS)

    import torch

    torch.set_num_threads(1)
    found: list[Pairs] = []
    for name in arguments.words or ITEMS:
        for pairs in ITEMS[name](repetitions, steps):
            found.append(pairs)
            print(f"{pairs.what}: {pairs.ratio:.3f}", file=sys.stderr, flush=True)
    rows = [pairs.cells() for pairs in found]
    print(table(rows, markdown=False), end="")
    if not arguments.quick and not arguments.words:
        (HERE / "results.md").write_text(results(rows, repetitions), encoding="utf-8")
    return int(any(not pairs.is_met and not pairs.informative for pairs in found))


if __name__ == "__main__":
    sys.exit(main())
