"""Schedulers: the learning rate of each epoch, as torch.optim.lr_scheduler has it, in its recursive form and bits.

Each function checks its settings and returns a `Schedule`, which gives the learning rate of epoch e, counted from 0,
from that of the epoch before. Learning rates may be numbers, or vectors with one number per run of a fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from annotated_types import Ge, Gt, Len

from gdcli.zoo.arithmetic import Setting
from gdcli.zoo.naming import Width

Schedule = Callable[[Setting, Setting, int], Setting]
"""(lr of the optimizer, lr of the epoch before, e) -> lr of epoch e; for e = 0 the two learning rates are the same."""


def step(*, step_size: Width, gamma: float = 0.1) -> Schedule:
    """Decay every few epochs: γₑ = γₑ₋₁ g where e is a multiple of step_size, else γₑ₋₁. torch's StepLR."""
    return lambda base, lr, epoch: lr * gamma if epoch and epoch % step_size == 0 else lr


def multi_step(*, milestones: Annotated[list[Width], Len(1)], gamma: float = 0.1) -> Schedule:
    """Decay at milestones: γₑ = γₑ₋₁ g^k, k the number of milestones equal to e. torch's MultiStepLR."""
    return lambda base, lr, epoch: lr * gamma ** milestones.count(epoch) if epoch in milestones else lr


def constant(*, factor: Annotated[float, Gt(0)] = 1 / 3, total_iters: Annotated[int, Ge(0)] = 5) -> Schedule:
    """A smaller start: γₑ = f γ for the first total_iters epochs, then γ. torch's ConstantLR."""
    if factor > 1:
        raise ValueError(f"factor must be at most 1 (got {factor:g})")

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        if epoch == 0:
            return lr * factor
        return lr * (1.0 / factor) if epoch == total_iters else lr

    return schedule


def linear(
    *,
    start_factor: Annotated[float, Gt(0)] = 1 / 3,
    end_factor: Annotated[float, Ge(0)] = 1.0,
    total_iters: Annotated[int, Ge(1)] = 5,
) -> Schedule:
    """A line: γₑ = γ (s + (t − s) min(e, n) / n), from start_factor s to end_factor t in n epochs. torch's LinearLR."""
    if start_factor > 1 or end_factor > 1:
        raise ValueError("start_factor and end_factor must be at most 1")

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        if epoch == 0:
            return lr * start_factor
        if epoch > total_iters:
            return lr
        rise = end_factor - start_factor
        return lr * (1.0 + rise / (total_iters * start_factor + (epoch - 1) * rise))

    return schedule


def exponential(*, gamma: Annotated[float, Gt(0)]) -> Schedule:
    """Decay every epoch: γₑ = γₑ₋₁ g. torch's ExponentialLR."""
    return lambda base, lr, epoch: lr * gamma if epoch else lr


def polynomial(*, total_iters: Annotated[int, Ge(1)] = 5, power: float = 1.0) -> Schedule:
    """Decay to zero: γₑ = γ (1 − min(e, n) / n)^p. torch's PolynomialLR."""

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        if epoch == 0 or epoch > total_iters:
            return lr
        decay: float = ((1.0 - epoch / total_iters) / (1.0 - (epoch - 1) / total_iters)) ** power
        return lr * decay

    return schedule


def cosine_annealing(*, T_max: Width, eta_min: Annotated[float, Ge(0)] = 0.0) -> Schedule:  # noqa: N803  # torch's name
    """Half a cosine: γₑ = η + (γ − η)(1 + cos(π e / T)) / 2, T epochs from γ to η and back. torch's CosineAnnealingLR.

    Source: Loshchilov, Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts.
    """

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        if epoch == 0:
            return lr
        if (epoch - 1 - T_max) % (2 * T_max) == 0:
            return lr + (base - eta_min) * (1 - math.cos(math.pi / T_max)) / 2
        ratio = (1 + math.cos(math.pi * epoch / T_max)) / (1 + math.cos(math.pi * (epoch - 1) / T_max))
        return ratio * (lr - eta_min) + eta_min

    return schedule


def cosine_annealing_warm_restarts(
    *,
    T_0: Width,  # noqa: N803  # torch's names
    T_mult: Width = 1,  # noqa: N803
    eta_min: Annotated[float, Ge(0)] = 0.0,
) -> Schedule:
    """Half cosines one after the other, each T_mult times as long: torch's CosineAnnealingWarmRestarts.

    γₑ = η + (γ − η)(1 + cos(π c / T)) / 2, c epochs since the last restart, T the length of this cosine.

    Source: Loshchilov, Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts.
    """

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        since, length = epoch % T_0 if T_mult == 1 else epoch, T_0
        while since >= length:
            since, length = since - length, length * T_mult
        return eta_min + (base - eta_min) * (1 + math.cos(math.pi * since / length)) / 2

    return schedule


SCHEDULERS: dict[str, Callable[..., Schedule]] = {
    function.__name__: function
    for function in (
        step, multi_step, constant, linear, exponential, polynomial, cosine_annealing, cosine_annealing_warm_restarts,
    )
}  # fmt: skip
