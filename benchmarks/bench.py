"""Measure gdcli against what one would write by hand. Run: make bench, or benchmarks/bench.py [--quick] [WORD ...]

Every line is a ratio of two medians taken in one run, both sides in turn (A B A B), on one thread where it does not say
otherwise. Where both sides are loops they take turns block by block inside one process, so that a machine that slows
down slows both. What the two sides compute is compared first: the printed bytes, the trained weights' bits, the losses.

Exit code 1 when a bar is missed. A full run writes results.md; --quick, and a WORD that chooses items, do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

import fleets
import grids
import loops
import middle
import processes
import recording
import scale
import starting
import vmapped
from others import commands
from pairs import HERE, Cells, Row, markdown, text

STEPS, QUICK_STEPS = 10_000, 3_000
ITEMS = {
    "process": processes.processes, "start": starting.starts, "engine": loops.engines, "whole": loops.whole,
    "mlp": middle.mlps, "layers": middle.digits, "npz": middle.commands, "help": processes.helps,
    "fleet": fleets.rates, "c": fleets.against_c, "digits": fleets.digits,
    "sweep": processes.swept, "scale": scale.scale, "grid": grids.grids, "many": fleets.many,
    "vmapped": vmapped.layers, "recording": recording.recordings, "others": commands.others,
}  # fmt: skip


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def results(rows: list[Cells], repetitions: int) -> str:
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`. Each line is gdcli's time over that of the same work by hand (`plain_*.py`,\n"
        "`one_command.py`, `fleet_2x2.c`) or with another program (`others/`), measured in turn in one run: the ratio\n"
        "of the medians, with its 95 % interval by the bootstrap. Where there is a third column, it is what the same\n"
        "measurement says of the other side against itself. A bar is held where the lower end of the interval is at\n"
        f"or below it. {repetitions} pairs at least, 3 of the longest. Below 1, gdcli is faster.\n\n"
        f"{cpu()}, {os.cpu_count()} cores, one thread where no other number is given; {versions}.\n\n{markdown(rows)}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure gdcli against what one would write by hand.")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"only these items: {', '.join(ITEMS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and steps")
    found = parser.parse_args()
    if unknown := [word for word in found.words if word not in ITEMS]:
        parser.error(f"there is no item {', '.join(unknown)}")
    return found


def main() -> int:
    asked = arguments()
    repetitions, steps = (2, QUICK_STEPS) if asked.quick else (5, STEPS)

    import torch

    found: list[Row] = []
    for name in asked.words or ITEMS:
        torch.set_num_threads(1)
        for row in ITEMS[name](repetitions, steps):
            found.append(row)
            print(row, file=sys.stderr, flush=True)
    rows = [row.cells() for row in found]
    print(text(rows), end="")
    if not asked.quick and not asked.words:
        (HERE / "results.md").write_text(results(rows, repetitions), encoding="utf-8")
    return int(any(row.is_missed for row in found))


if __name__ == "__main__":
    sys.exit(main())
