"""Measure gdcli against what one would write by hand. Run: make bench, or benchmarks/bench.py [--quick] [WORD ...]

Each item has a process of its own, so that none is measured in the memory that another left. Every line is a ratio of
two medians taken in one run, both sides in turn (A B A B), on one thread where it does not say otherwise. Where both
sides are loops they take turns block by block inside one process, so that a machine that slows down slows both. What
the two sides compute is compared first: the printed bytes, the trained weights' bits, the losses.

Exit code 1 when a bar is missed. A full run writes results.md; --quick, and a WORD that chooses items, do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
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

REPETITIONS, STEPS, QUICK_STEPS = 5, 40_000, 3_000
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


def results(rows: list[Cells]) -> str:
    import torch

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`. Each line is gdcli's time over that of the same work by hand (`plain_*.py`,\n"
        "`one_command.py`, `fleet_2x2.c`) or with another program (`others/`), measured in turn in one run: the ratio\n"
        "of the medians, with its 95 % interval by the bootstrap. Where there is a third column, it is what the same\n"
        "measurement says of the other side against itself. A bar is held where the lower end of the interval is at\n"
        "or below it. Rows of one process and one thread are in seconds of the processor, the others by the wall.\n"
        "Below 1, gdcli is faster.\n\n"
        f"{cpu()}, {os.cpu_count()} cores, one thread where no other number is given; {versions}.\n\n{markdown(rows)}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure gdcli against what one would write by hand.")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"only these items: {', '.join(ITEMS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and steps")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the rows of one item as JSON, and no table")
    found = parser.parse_args()
    if unknown := [word for word in found.words if word not in ITEMS]:
        parser.error(f"there is no item {', '.join(unknown)}")
    return found


def measured(name: str, to: Path, *, quick: bool) -> int:
    """Measure one item in this process and write its rows; return 1 when a bar is missed."""
    import torch

    torch.set_num_threads(1)
    found: list[Row] = []
    for row in ITEMS[name](*((2, QUICK_STEPS) if quick else (REPETITIONS, STEPS))):
        found.append(row)
        print(row, file=sys.stderr, flush=True)
    to.write_text(json.dumps([row.cells() for row in found]), encoding="utf-8")
    return int(any(row.is_missed for row in found))


def main() -> int:
    asked = arguments()
    if asked.to:
        return measured(asked.words[0], asked.to, quick=asked.quick)
    rows: list[Cells] = []
    codes = set()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.words or ITEMS:
            to = Path(folder) / f"{name}.json"
            command = [sys.executable, __file__, name, "--to", str(to), *["--quick"] * asked.quick]
            codes.add(subprocess.run(command).returncode)
            if not to.is_file():
                print(f"{name} could not be measured: no results are written", file=sys.stderr)
                return 2
            rows += map(tuple, json.loads(to.read_text(encoding="utf-8")))
    print(text(rows), end="")
    if not asked.quick and not asked.words:
        (HERE / "results.md").write_text(results(rows), encoding="utf-8")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
