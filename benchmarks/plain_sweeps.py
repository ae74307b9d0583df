"""Sweeps as plain torch loops, one run after the other, on one thread, which is the faster for nets of this size.

plain_sweeps.py cnn|mlp COUNT: trains COUNT runs spread over the sweep; prints number, seconds and last loss of each.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

EPOCHS, BATCH = 20, 64
RATES = [float(f"{rate:.6g}") for rate in np.geomspace(0.0003, 0.003, 8)]
WIDTHS = range(16, 80, 8)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(model: nn.Module, x: Tensor, y: Tensor, lr: float, seed: int) -> float:
    """Train with Adam in the orders of the seed, which are those of gdcli's generator; return the last loss."""
    optimizer, loss_of = torch.optim.Adam(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    orders = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 3])))
    for _ in range(EPOCHS):
        for rows in torch.split(torch.from_numpy(orders.permutation(len(x))), BATCH):
            loss = loss_of(model(x.index_select(0, rows)), y.index_select(0, rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return float(loss_of(model(x), y))


def main() -> None:
    kind, count = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    rows, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(rows, dtype=torch.float32), torch.tensor(labels)
    points = [(lr, seed, 0) for lr in RATES for seed in range(8)]
    if kind == "mlp":
        points = [(lr, 0, width) for width in WIDTHS for lr in RATES]
    for k in range(0, 64, 64 // count):
        lr, seed, width = points[(k + k // 8) % 64]  # of each row of the grid another column
        torch.manual_seed(seed)
        begun = time.perf_counter()
        model, shape = (cnn(), (-1, 1, 8, 8)) if kind == "cnn" else (mlp(width), (-1, 64))
        loss = train(model, x.view(shape), y, lr, seed)
        print((k + k // 8) % 64, time.perf_counter() - begun, loss)


if __name__ == "__main__":
    main()
