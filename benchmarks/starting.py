"""How long a short run takes as a process, to `import torch` alone: processor time, since both have one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from measured import cost_of, python
from pairs import CHILDREN, SHORT, Pairs, Row
from processes import GDCLI


def starts(repetitions: int, steps: int) -> Iterator[Row]:
    without = Pairs("gdcli run backprop_2x2 --no-plot, process, to import torch", 1.08, CHILDREN)
    plotted = Pairs("gdcli run backprop_2x2 with its picture, process, to import torch", 1.3, CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        run = [GDCLI, "run", "backprop_2x2", "--output", folder]
        bare, plain = [*run, "--no-plot"], python("-c", "import torch")
        for command in (run, bare, plain):
            cost_of(command)  # warms the caches
        for _ in range(SHORT if repetitions > 2 else 5):
            other, again = cost_of(plain).processor, cost_of(plain).processor
            without.add(cost_of(bare).processor, other, again)
            plotted.add(cost_of(run).processor, other, again)
    yield without
    yield plotted
