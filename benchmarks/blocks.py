"""Blocks of work in gdcli's loops, some hundredths of a second each: what a process of `against.py` does when told.

Reads a block's name from each line of standard input, does it, and answers with the processor seconds it took. Which
gdcli that is, PYTHONPATH says.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import engine
import specs
from fleets import DIGIT_RATES, EPOCHS, NAMES, RATES, SEEDS
from grids import COUNT, GRID
from many_runs import EPOCHS as MANY_EPOCHS
from many_runs import cost

STEPS, FLEETS, MANY, DIGIT_EPOCHS = 1_000, 5, 2_000, 3


@dataclass(frozen=True)
class Block:
    """One row: its item of `make bench`, what it is called, and what makes its work."""

    word: str
    what: str
    make: Callable[[], Callable[[], Callable[[], object]]]
    """Called once, returns what is called before each block, untimed; that returns the work that is timed."""
    turns: int = 4  # that make a pair


def each_time(work: Callable[[], object]) -> Callable[[], Callable[[], object]]:
    """Return work that needs nothing made before."""
    return lambda: work


# --- one run ----------------------------------------------------------------------------------------------------------


def single(rule: str, way: str, steps: int) -> Any:
    spec = specs.loaded(specs.SMALL % (specs.RULES[rule], steps, way))
    return each_time(lambda: engine.train(spec))


def whole() -> Any:
    spec = specs.loaded(specs.SMALL % (specs.RULES["sgd"], STEPS, "auto"))
    root = tempfile.TemporaryDirectory()

    def before() -> Callable[[], object]:
        for folder in Path(root.name).iterdir():
            shutil.rmtree(folder)
        return lambda: engine.whole_run(spec, root.name)

    return before


def mlp() -> Any:
    spec = specs.loaded(specs.MLP)
    return each_time(lambda: engine.train(spec))


# --- many runs --------------------------------------------------------------------------------------------------------


def fleet(rule: str, *, built: bool) -> Any:
    """``built``: the making of the tensors is timed too."""
    runs = specs.small(rule, RATES.tolist(), EPOCHS)

    def before() -> Callable[[], object]:
        if built:
            return lambda: [engine.train_fleet(engine.build_fleet(runs)) for _ in range(FLEETS)]
        fleets = [engine.build_fleet(runs) for _ in range(FLEETS)]
        return lambda: [engine.train_fleet(each) for each in fleets]

    return before


def digits() -> Any:
    changes = [{"optimizer.lr": lr, "seed": seed, "epochs": DIGIT_EPOCHS} for seed in SEEDS for lr in DIGIT_RATES]
    runs = specs.many(specs.DIGITS % 1, changes)
    return each_time(lambda: engine.train_fleet(engine.build_fleet(runs), "norms"))


def many() -> Any:
    runs = specs.small("sgd", RATES.tolist(), MANY_EPOCHS) * (MANY // len(RATES))
    return each_time(lambda: cost(runs))


def grid() -> Any:
    spec = specs.loaded(specs.LINE)
    along = engine.axes(spec, GRID)
    return each_time(lambda: engine.grid_losses(spec, along))


# --- all of them ------------------------------------------------------------------------------------------------------


def blocks() -> dict[str, Block]:
    """Return all blocks by name, in the order of `make bench`."""
    found = []
    for way, steps in (("by_hand", STEPS), ("autograd", STEPS // 2)):
        for rule in specs.RULES:
            what = f"engine, 2-2-2, {rule}, {way}, all gradients kept"
            found.append(Block("engine", what, partial(single, rule, way, steps)))
    found.append(Block("whole", "whole run, 2-2-2, sgd, text and CSV written", whole))
    found.append(Block("mlp", "engine, mlp 784-256-10, batch 64, norms every step", mlp, 2))
    for rule in specs.RULES:
        found.append(Block("fleet", f"{NAMES}, {rule}", partial(fleet, rule, built=False)))
        found.append(Block("fleet", f"{NAMES}, {rule}, its tensors' making included", partial(fleet, rule, built=True)))
    found.append(Block("digits", f"8 lr x 8 seeds, 64-64-10 on digits, {DIGIT_EPOCHS} epochs, norms kept", digits, 2))
    found.append(Block("grid", f"{COUNT:,} values of w", grid))
    found.append(Block("many", f"{MANY:,} runs of 2-2-2 x {MANY_EPOCHS} epochs, their tensors' making included", many))
    return {block.what: block for block in found}


def main() -> None:
    known, ready = blocks(), {}
    for line in sys.stdin:
        what = line.rstrip("\n")
        if what not in ready:
            ready[what] = known[what].make()
            ready[what]()()  # warms up
            gc.freeze()
        work = ready[what]()
        gc.collect()
        begun = time.process_time()
        kept = work()
        print(time.process_time() - begun, flush=True)
        del kept, work


if __name__ == "__main__":
    main()
