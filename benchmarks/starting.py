"""How long a short run takes as a process, to `import torch` alone: processor time, since both have one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from measured import cost_of, python
from pairs import Pairs, Row
from processes import GDCLI

PAIRS = 40


def starts(repetitions: int, steps: int) -> Iterator[Row]:
    without = Pairs("gdcli run backprop_2x2 --no-plot, process, to import torch, processor time", 1.08)
    plotted = Pairs("gdcli run backprop_2x2 with its picture, process, to import torch, processor time", 1.3)
    null = Pairs("import torch, process, to itself, processor time", None)
    with tempfile.TemporaryDirectory() as folder:
        run = [GDCLI, "run", "backprop_2x2", "--output", folder]
        bare, plain = [*run, "--no-plot"], python("-c", "import torch")
        for command in (run, bare, plain):
            cost_of(command)  # warms the caches
        for _ in range(PAIRS if repetitions > 2 else 5):
            other = cost_of(plain).processor
            without.add(cost_of(bare).processor, other)
            plotted.add(cost_of(run).processor, other)
            null.add(cost_of(plain).processor, other)
    yield without
    yield plotted
    yield null
