"""What every other program runs 100 times: the plain loop of the 2-2-2 net."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from plain_loops import Small

RATES = [0.01 * 200 ** (k / 99) for k in range(100)]
EPOCHS = 100


def last_loss(lr: float) -> float:
    torch.set_num_threads(1)
    small = Small("sgd", lr=lr)
    small.train(EPOCHS)
    return small.loss()


def show(losses: list[float]) -> None:
    for lr, loss in zip(RATES, losses, strict=True):
        print(lr, loss)
