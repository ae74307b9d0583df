"""What every other program runs, a call at a time: the plain loop of the 2-2-2 net, or of a perceptron on the digits.

A script takes the sweep's name and, for a quick look, how many of its points it is to run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from plain_loops import Digits, Small

Point = dict[str, float]

RATES = [0.01 * 200 ** (k / 999) for k in range(1000)]
DIGIT_RATES = [0.0003 * 100 ** (k / 7) for k in range(8)]
SEEDS = range(8)


def of_rate(lr: float) -> float:
    """Return the last loss of the 2-2-2 net after 100 epochs."""
    torch.set_num_threads(1)
    small = Small("sgd", lr=lr)
    small.train(100)
    return small.loss()


def of_digits(lr: float, seed: int) -> float:
    """Return the last loss of a 64-64-10 perceptron on the digits after 20 epochs."""
    torch.set_num_threads(1)
    return _digits().train(lr, int(seed), 20)


@cache
def _digits() -> Digits:
    from sklearn.datasets import load_digits

    return Digits(*load_digits(return_X_y=True))


SWEEPS: dict[str, tuple[Callable[..., float], dict[str, Sequence[float]]]] = {
    "rates": (of_rate, {"lr": RATES}),
    "digits": (of_digits, {"lr": DIGIT_RATES, "seed": SEEDS}),
}


def asked() -> tuple[Callable[..., float], dict[str, Sequence[float]]]:
    """Return the function and the axes of the sweep on the command line, its first axis cut to so many values."""
    function, axes = SWEEPS[sys.argv[1]]
    if len(sys.argv) > 2:
        name = next(iter(axes))
        axes = {**axes, name: axes[name][: int(sys.argv[2])]}
    return function, axes


def points(axes: dict[str, Sequence[float]]) -> list[Point]:
    """Return every combination of the axes' values."""
    found: list[Point] = [{}]
    for name, values in axes.items():
        found = [{**point, name: value} for point in found for value in values]
    return found


def show(found: Sequence[Point], losses: Sequence[float]) -> None:
    for point, loss in zip(found, losses, strict=True):
        print(*point.values(), loss)
