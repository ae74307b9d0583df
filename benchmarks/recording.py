"""What recording every gradient of a mid-size net costs: 784-256-10, batch 64, beside the plain loop that records none.

Run: make bench, bench.py recording, or this file. gdcli trains into a record's folder, in each format; the table's form
and what it has are checked by its size. Processor time of all threads, pair by pair; of CSV, which is bound by the text
of the numbers, one pair. The formats that a thread writes beside the loop are shown in seconds of the clock, too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import engine
from pairs import PROCESSOR, Pairs, Row
from specs import MLP, loaded

FORMATS = {"parquet": 1.5, "npy": None, "csv": None}
"""The bar of each format."""
NUMBERS = 784 * 256 + 256 + 256 * 10 + 10


def recordings(repetitions: int, steps: int) -> Iterator[Row]:
    from plain_loops import mlp, sgd

    for form, bar in FORMATS.items():
        spec = loaded(MLP.replace("{gradients: norms}", f"{{gradients: values, format: {form}}}"))
        what = f"mlp 784-256-10, {NUMBERS:,} gradients of every step to {form}"
        processor, clock = Pairs(what, bar, PROCESSOR), Pairs(what, None)
        for repetition in range(2 if form == "csv" else 8 * repetitions + 1):
            ours = _recorded(spec)
            plain, again = (_timed(lambda spec=spec: sgd(mlp, 0.01, spec).train(64)) for _ in range(2))
            if repetition:
                processor.add(ours[0], plain[0], again[0])
                clock.add(ours[1], plain[1], again[1])
        yield processor
        yield clock


def _recorded(spec: engine.Loaded) -> tuple[float, float]:
    """Train into a folder that goes, and return the seconds; all numbers have to be there."""
    with tempfile.TemporaryDirectory() as root:
        train, made = engine.recording_loop(spec, root), list[int]()
        found = _timed(lambda: made.append(train()))
        size = sum(path.stat().st_size for path in Path(root).glob("*/gradients.*"))
        if size < 4 * NUMBERS * made[0]:
            raise SystemExit(f"{size:,} bytes of gradients are not all of {made[0]:,} steps")
    return found


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of processor time and of the clock that some work takes."""
    begun = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - begun[0], time.perf_counter() - begun[1]


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    for row in recordings(5, 0):
        print(row)
