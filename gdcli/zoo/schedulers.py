"""Schedulers: the learning rate of each epoch, as torch.optim.lr_scheduler has it, in its recursive form and bits.

Each function checks its settings and returns a `Schedule`, which gives the learning rate of epoch e, counted from 0,
from that of the epoch before; or a `StepSchedule`, which changes it every step; or a `Plateau`, which follows the loss.
Learning rates may be numbers, or vectors with one number per run of a fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Len, Lt

from gdcli.zoo.arithmetic import Setting
from gdcli.zoo.naming import Width

Schedule = Callable[[Setting, Setting, int], Setting]
"""(lr of the optimizer, lr of the epoch before, e) -> lr of epoch e; for e = 0 the two learning rates are the same."""


@dataclass(frozen=True, slots=True)
class StepSchedule:
    """A schedule of steps: ``at`` (lr of the optimizer, step from 0, steps of the whole run) -> its learning rate."""

    at: Callable[[Setting, int, int], Setting]


class PlateauState(NamedTuple):
    """What is known after an epoch: the learning rate, the best loss, epochs without a better one, epochs to wait."""

    lr: float
    best: float = math.inf
    bad: int = 0
    wait: int = 0


@dataclass(frozen=True, slots=True)
class Plateau:
    """A learning rate that falls where the loss does; ``warm`` is the schedule of the first ``epochs``, if any."""

    factor: float
    patience: int
    threshold: float
    relative: bool
    cooldown: int
    min_lr: float
    eps: float
    warm: Schedule | None = None
    epochs: int = 0

    def after(self, state: PlateauState, loss: float) -> PlateauState:
        """Return the state after an epoch with this loss, in the order of torch's ReduceLROnPlateau.step."""
        lr, best, bad, wait = state
        if loss < (best * (1.0 - self.threshold) if self.relative else best - self.threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if wait > 0:
            wait, bad = wait - 1, 0
        if bad > self.patience:
            lower = max(lr * self.factor, self.min_lr)
            lr, wait, bad = lower if lr - lower > self.eps else lr, self.cooldown, 0
        return PlateauState(lr, best, bad, wait)


AnySchedule = Schedule | StepSchedule | Plateau


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


def reduce_on_plateau(
    *,
    factor: Annotated[float, Gt(0), Lt(1)] = 0.1,
    patience: Annotated[int, Ge(0)] = 10,
    threshold: Annotated[float, Ge(0)] = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: Annotated[int, Ge(0)] = 0,
    min_lr: Annotated[float, Ge(0)] = 0.0,
    eps: Annotated[float, Ge(0)] = 1e-8,
) -> Plateau:
    """Decay where the loss no longer falls: γ ← max(γ f, γ_min) after more than patience epochs without a better one.

    The loss is that of the validation rows, or of the training set where there are none, after each epoch. Better is
    below (1 − threshold) times the best, or with threshold_mode abs below best − threshold; for cooldown epochs after a
    decay none counts, and a decay by less than eps is left out. torch's ReduceLROnPlateau.
    """
    return Plateau(factor, patience, threshold, threshold_mode == "rel", cooldown, min_lr, eps)


def one_cycle(
    *,
    pct_start: Annotated[float, Ge(0), Le(1)] = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: Annotated[float, Gt(0)] = 25.0,
    final_div_factor: Annotated[float, Gt(0)] = 1e4,
    three_phase: bool = False,
) -> StepSchedule:
    """One rise and fall over all steps of the run, step by step: γ/d up to γ, then down to γ/(d D).

    γ is the optimizer's lr, d div_factor, D final_div_factor; the rise takes the share pct_start of the steps. With
    three_phase the fall to γ/d takes as many, and the rest goes on to γ/(d D). torch's OneCycleLR with max_lr = γ,
    total_steps those of the run and cycle_momentum false: momentum stays as it is.

    Source: Smith, Topin 2018, Super-Convergence: Very Fast Training Using Large Learning Rates.
    """

    def between(start: Setting, end: Setting, share: float) -> Setting:
        if anneal_strategy == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
        return (end - start) * share + start

    def at(base: Setting, step: int, steps: int) -> Setting:
        low, lowest = base / div_factor, base / div_factor / final_div_factor
        rise = float(pct_start * steps) - 1
        phases = [(rise, low, base), (float(2 * pct_start * steps) - 2, base, low), (steps - 1, low, lowest)]
        if not three_phase:
            phases = [(rise, low, base), (steps - 1, base, lowest)]
        begin = 0.0
        for end, first, last in phases:
            if step <= end or end == steps - 1:
                return between(first, last, (step - begin) / (end - begin) if end != begin else 1.0)
            begin = end
        raise AssertionError("the last phase has all that are left")

    return StepSchedule(at)


def warmup(
    *,
    total_iters: Annotated[int, Ge(1)] = 5,
    start_factor: Annotated[float, Gt(0), Le(1)] = 1 / 3,
    then: dict[str, Any] | str | None = None,
) -> Schedule | Plateau:
    """A line up to the learning rate before another schedule: γₑ = γ (s + (1 − s) e / n) for n = total_iters epochs.

    ``then`` is the schedule that begins at epoch n, its name or {name: ..., ...}. torch's SequentialLR of LinearLR and
    the other one. Source: Goyal et al. 2017, Accurate, Large Minibatch SGD.
    """
    rise = linear(start_factor=start_factor, end_factor=1.0, total_iters=total_iters)
    if then is None:
        return rise
    given = {"name": then} if isinstance(then, str) else dict(then)
    name = given.pop("name", None)
    if name in ("warmup", "one_cycle"):
        raise ValueError(f"then takes a schedule without a warm-up of its own (got {name})")
    after: Schedule | Plateau = SCHEDULERS[str(name)](**given)
    if isinstance(after, Plateau):
        return replace(after, warm=rise, epochs=total_iters)

    def schedule(base: Setting, lr: Setting, epoch: int) -> Setting:
        if epoch < total_iters:
            return rise(base, lr, epoch)
        return after(base, base if epoch == total_iters else lr, epoch - total_iters)

    return schedule


SCHEDULERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        step, multi_step, constant, linear, exponential, polynomial, cosine_annealing, cosine_annealing_warm_restarts,
        reduce_on_plateau, one_cycle, warmup,
    )
}  # fmt: skip
"""Each by its name: from its settings to `AnySchedule`."""
