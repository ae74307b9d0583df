"""Train 1,000, 10,000 and 100,000 runs of the 2-2-2 net in turn, a line of seconds per run. many_runs.py TURNS FILE"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import engine
import numpy as np
import specs

if TYPE_CHECKING:
    from engine import Loaded

COUNTS = 1_000, 10_000, 100_000
EPOCHS = 20


def cost(runs: list[Loaded]) -> float:
    """Return seconds per run: tensors made and trained, chunk by chunk, the outcomes kept."""
    size, outcomes = engine.chunk(runs[0]), []
    begun = time.perf_counter()
    for first in range(0, len(runs), size):
        fleet = engine.build_fleet(runs[first : first + size])
        outcomes.append(engine.train_fleet(fleet, keep="none").outcome)
    assert sum(len(outcome.loss) for outcome in outcomes) == len(runs)
    return (time.perf_counter() - begun) / len(runs)


def main() -> None:
    runs = specs.small("sgd", np.geomspace(0.01, 2, COUNTS[-1]).tolist(), EPOCHS)
    cost(runs[: COUNTS[0]])
    with Path(sys.argv[2]).open("w", encoding="utf-8") as stream:
        for _ in range(int(sys.argv[1])):
            few = median(cost(runs[: COUNTS[0]]) for _ in range(5))
            print(few, *(cost(runs[:count]) for count in COUNTS[1:]), file=stream)


if __name__ == "__main__":
    main()
