"""Sweeps of mid-size nets as fleets: all runs with their files, on two threads, to plain loops in turn.

The start of both processes, the import of torch above all, does not count: timing.json has the seconds of the runs.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measured import with_byte_code
from pairs import HERE, ROOT, Pairs, Row, Skipped
from processes import GDCLI, printed

COUNT = 8
"""Of 64 plain runs so many are timed, spread over the sweep, times 8."""
THREADS = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}

TRAINING = """
loss: cross_entropy
optimizer: {name: adam, lr: 0.001}
batch: {mode: mini-batch, size: 64}
epochs: 20
"""
CNN = f"""
data: {{dataset: digits, shape: [1, 8, 8]}}
model:
  type: sequential
  layers:
    - {{layer: Conv2d, out_channels: 8, kernel_size: 3}}
    - ReLU
    - {{layer: Conv2d, out_channels: 16, kernel_size: 3}}
    - ReLU
    - Flatten
    - {{layer: Linear, out_features: 10}}
{TRAINING}"""
MLP = f"""
data: {{dataset: digits}}
model: {{type: mlp, layers: [64, 16, 10]}}
{TRAINING}"""


def layers(repetitions: int, steps: int) -> Iterator[Row]:
    """64 convolutional nets, 8 learning rates by 8 seeds; 64 perceptrons, 8 widths by 8 learning rates."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        yield Skipped("64 nets on the digits", "scikit-learn is not installed")
        return
    from plain_sweeps import RATES, WIDTHS

    rates = "lr=" + ",".join(map(str, RATES))
    widths = "model.layers=" + ",".join(f"[64,{width},10]" for width in WIDTHS)
    asked = {
        "cnn": (CNN, ["--param", rates, "--seeds", "8", "--fleet", "vmapped"], "8 lr x 8 seeds of a CNN", 1 / 2.5),
        "mlp": (MLP, ["--param", widths, "--param", rates], "8 widths x 8 lr of an mlp", 1 / 5),
    }
    for kind, (spec, words, what, bar) in asked.items():
        label = f"{what} on digits, 20 epochs, with files, 2 threads, without the start, to plain loops (8 timed, x 8)"
        pairs = Pairs(label, bar)
        for _ in range(max(2, repetitions // 2 + 1)):
            ours, losses = swept(spec, words)
            each = [
                line.split()
                for line in printed([sys.executable, str(HERE / "plain_sweeps.py"), kind, str(COUNT)]).splitlines()
            ]
            alike = [abs(losses[int(number)] / float(loss) - 1) for number, _, loss in each]
            assert np.median(alike) < 1e-2, alike  # rounding grows where Adam has no gradient but that
            pairs.add(ours, 64 / COUNT * sum(float(taken) for _, taken, _ in each))
        yield pairs


def swept(spec: str, words: list[str]) -> tuple[float, list[float]]:
    """Return the seconds of all runs of a sweep, and their final losses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.yaml"
        path.write_text(spec, encoding="utf-8")
        command = [GDCLI, "sweep", str(path), *words, "--no-plot", "--quiet", "--output", folder]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, cwd=ROOT, env={**with_byte_code(), **THREADS}, check=True, **quiet)
        (table,) = Path(folder).glob("net/*/results.csv")
        taken = json.loads((table.parent / "timing.json").read_text(encoding="utf-8"))["seconds"]["runs"]
        with table.open(encoding="utf-8", newline="") as stream:
            return taken, [float(row["final_loss"]) for row in csv.DictReader(stream)]
