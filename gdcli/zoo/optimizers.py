"""Optimizers: the update rules of ``torch.optim`` as small functions on flat tensors, with its bits.

Calling one of them checks its settings and gives a `Rule`; the rule, bound once to the parameters θ and to the buffer
of their gradient, is one step in place. The operations and their order are those of torch with ``foreach=False``,
on CPU and on an accelerator. A step may raise what torch's own step raises for absurd settings: ArithmeticError where
Python's arithmetic overflows or divides by zero, RuntimeError where lr does not fit the dtype.

A rule also steps a fleet, R runs in one tensor, p [P, R] or [R, P]. Every setting that is a number may then be a
float64 array that broadcasts against p, (R,) or (R, 1), also within betas, etas and step_sizes, and so may the learning
rate of a step if some setting is one. `gdcli.zoo.arithmetic` says how, and what is promised of the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from gdcli.zoo.adam import adam, adamax, adamw, nadam, radam
from gdcli.zoo.arithmetic import Setting, every, is_zero, some
from gdcli.zoo.naming import Needs
from gdcli.zoo.update_rule import Bound, Keeps, NonNegative, Rule, average_of_squares, begin, take_step

if TYPE_CHECKING:
    from torch import Tensor


def sgd(
    *,
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0.0,
    dampening: Annotated[float, Needs("momentum")] = 0.0,
    weight_decay: NonNegative = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(0, "momentum")]:
    """Stochastic gradient descent, plain or with momentum.

        g ← ∇f(θ) + λθ
        b ← μb + (1 − τ)g         (b ← g at the first step)
        θ ← θ − γb                (nesterov: θ − γ(g + μb); μ = 0: θ − γg)

    lr γ, momentum μ, dampening τ, weight_decay λ, nesterov, maximize (ascends: −∇f). The buffer b is a sum, not an
    average: momentum taught as the average S ← βS + (1 − β)g is momentum = β with dampening = β.

    Source: Sutskever et al. 2013, On the importance of initialization and momentum in deep learning; torch.optim.SGD.
    """
    if nesterov and (np.any(np.less_equal(momentum, 0)) or np.any(np.not_equal(dampening, 0))):
        raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, before = begin(p, g, weight_decay, maximize, lr, momentum, dampening)
        if is_zero("momentum", momentum):
            return Bound(of.in_turn(*before, take_step(of, p, d)), {})
        b, mu, weight = torch.zeros_like(p), of.constant(momentum), 1 - dampening
        add = of.add(b, d)

        def accumulate(lr: Setting, t: int) -> None:
            if t == 1:
                b.copy_(d)
            else:
                b.mul_(mu)
                add(alpha=weight)

        if not nesterov:
            return Bound(of.in_turn(*before, accumulate, take_step(of, p, b)), {"momentum_buffer": b})
        ahead = torch.empty_like(p)
        add_momentum = of.add(d, b, out=ahead)
        updates = [*before, accumulate, lambda lr, t: add_momentum(alpha=momentum), take_step(of, p, ahead)]
        return Bound(of.in_turn(*updates), {"momentum_buffer": b})

    return bind


def adagrad(
    *,
    lr: NonNegative = 1e-2,
    lr_decay: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    initial_accumulator_value: NonNegative = 0.0,
    eps: NonNegative = 1e-10,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(1)]:
    """Adagrad: steps scaled by the root of the sum of all squared gradients.

        g ← ∇f(θ) + λθ
        s ← s + g²                (s₀ = τ)
        θ ← θ − γ/(1 + (t − 1)η) · g/(√s + ε)

    lr γ, lr_decay η, weight_decay λ, initial_accumulator_value τ, eps ε, maximize (ascends: −∇f).

    Source: Duchi, Hazan, Singer 2011, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization;
    torch.optim.Adagrad.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, before = begin(p, g, weight_decay, maximize, lr, lr_decay, initial_accumulator_value, eps)
        s, root, epsilon = torch.empty_like(p), torch.empty_like(p), of.constant(eps)
        of.fill(s)(initial_accumulator_value)
        add_ratio = of.add_ratio(p, d, root)

        def update(lr: Setting, t: int) -> None:
            s.addcmul_(d, d)
            torch.sqrt(s, out=root).add_(epsilon)
            add_ratio(value=-(lr / (1 + (t - 1) * lr_decay)))

        return Bound(of.in_turn(*before, update), {"sum": s})

    return bind


def rmsprop(
    *,
    lr: NonNegative = 1e-2,
    alpha: NonNegative = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    momentum: NonNegative = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(1, "momentum", "centered")]:
    """RMSprop: steps scaled by the root of a moving average of the squared gradient.

        g ← ∇f(θ) + λθ
        v ← αv + (1 − α)g²
        a ← αa + (1 − α)g,  w ← v − a²      (centered; else w ← v)
        b ← μb + g/(√w + ε)
        θ ← θ − γb                          (μ = 0: θ − γg/(√w + ε))

    lr γ, alpha α, eps ε, weight_decay λ, momentum μ, centered, maximize (ascends: −∇f).

    Source: Hinton 2012, Neural Networks for Machine Learning, lecture 6; Graves 2013, Generating Sequences With
    Recurrent Neural Networks (centered); torch.optim.RMSprop.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, parts = begin(p, g, weight_decay, maximize, lr, alpha, eps, momentum)
        v, root, epsilon = torch.zeros_like(p), torch.empty_like(p), of.constant(eps)
        state = {"square_avg": v}
        parts.append(average_of_squares(of, v, d, alpha))
        if centered:
            a = state["grad_avg"] = torch.zeros_like(p)
            blend = of.lerp(a, d, 1 - alpha)

            def scale(lr: Setting, t: int) -> None:
                blend()
                torch.addcmul(v, a, a, value=-1, out=root).sqrt_().add_(epsilon)
        else:

            def scale(lr: Setting, t: int) -> None:
                torch.sqrt(v, out=root).add_(epsilon)

        parts.append(scale)
        if is_zero("momentum", momentum):
            add_ratio, negative = of.add_ratio(p, d, root), of.negative()
            return Bound(of.in_turn(*parts, lambda lr, t: add_ratio(value=negative(lr))), state)
        b, mu = torch.zeros_like(p), of.constant(momentum)
        state["momentum_buffer"] = b
        return Bound(of.in_turn(*parts, lambda lr, t: b.mul_(mu).addcdiv_(d, root), take_step(of, p, b)), state)

    return bind


def adadelta(
    *,
    lr: NonNegative = 1.0,
    rho: Annotated[float, Ge(0), Le(1)] = 0.9,
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 0.0,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2)]:
    """Adadelta: steps in the units of θ, from moving averages of squared gradients and squared steps.

        g ← ∇f(θ) + λθ
        v ← ρv + (1 − ρ)g²
        Δ ← √(u + ε)/√(v + ε) · g
        u ← ρu + (1 − ρ)Δ²
        θ ← θ − γΔ

    lr γ, rho ρ, eps ε, weight_decay λ, maximize (ascends: −∇f).

    Source: Zeiler 2012, ADADELTA: An Adaptive Learning Rate Method; torch.optim.Adadelta.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, before = begin(p, g, weight_decay, maximize, lr, rho, eps)
        v, u = torch.zeros_like(p), torch.zeros_like(p)
        root, delta, epsilon = torch.empty_like(p), torch.empty_like(p), of.constant(eps)

        def rescale(lr: Setting, t: int) -> None:
            torch.add(v, epsilon, out=root).sqrt_()
            torch.add(u, epsilon, out=delta).sqrt_().div_(root).mul_(d)

        of_gradients, of_steps = average_of_squares(of, v, d, rho), average_of_squares(of, u, delta, rho)
        updates = [*before, of_gradients, rescale, of_steps, take_step(of, p, delta)]
        return Bound(of.in_turn(*updates), {"square_avg": v, "acc_delta": u})

    return bind


def rprop(
    *,
    lr: NonNegative = 1e-2,
    etas: tuple[Annotated[float, Gt(0), Lt(1)], Annotated[float, Gt(1)]] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2)]:
    """Rprop: every parameter has a step size of its own and follows only the sign of its gradient.

        g ← ∇f(θ)
        g·h > 0:  η ← min(η·η⁺, Γmax)
        g·h < 0:  η ← max(η·η⁻, Γmin),  g ← 0
        θ ← θ − η·sign(g)
        h ← g                     (h the gradient before, zero at first)

    lr (the first η), etas (η⁻, η⁺), step_sizes (Γmin, Γmax), maximize (ascends: −∇f).

    Source: Riedmiller, Braun 1993, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm;
    torch.optim.Rprop.
    """
    lowest, highest = np.asarray(etas[0]), np.asarray(etas[1])
    if not np.all((lowest > 0) & (lowest < 1) & (highest > 1)):
        raise ValueError(f"etas needs a first factor between 0 and 1 and a second above 1, not {etas[0]} and {etas[1]}")
    if np.any(np.greater(*step_sizes)):
        raise ValueError(f"step_sizes needs the smallest before the largest, not {step_sizes[0]} and {step_sizes[1]}")

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, before = begin(p, g, 0, maximize, lr, *etas, *step_sizes)
        previous, step = torch.zeros_like(p), torch.zeros_like(p)
        sign, mask = torch.empty_like(p), torch.empty_like(p, dtype=torch.bool)
        zero, shrinking = of.constant(0), of.constant(etas[0])
        shrink, grow = of.fill_where(sign, mask, etas[0]), of.fill_where(sign, mask, etas[1])
        clamp, start = of.clamp(step, *step_sizes), of.fill(step)

        def resize(lr: Setting, t: int) -> None:
            if t == 1:
                start(lr)
            torch.mul(d, previous, out=sign).sign_()
            torch.gt(sign, zero, out=mask)
            grow()
            torch.lt(sign, zero, out=mask)
            shrink()
            sign.masked_fill_(torch.eq(sign, zero, out=mask), 1)
            step.mul_(sign)
            clamp()

        def descend(lr: Setting, t: int) -> None:
            previous.copy_(d).masked_fill_(torch.eq(sign, shrinking, out=mask), 0)
            p.addcmul_(torch.sign(previous, out=sign), step, value=-1)

        return Bound(of.in_turn(*before, resize, descend), {"prev": previous, "step_size": step})

    return bind


def _averaging_weight(t0: float, t: int) -> float:
    """Return ASGD's μ = 1/max(1, t − t₀)."""
    return 1 / max(1, t - t0)


def asgd(
    *,
    lr: NonNegative = 1e-2,
    lambd: NonNegative = 1e-4,  # torch has no bound; below 0 the base of the power α becomes negative
    alpha: Annotated[float, Needs("lambd")] = 0.75,
    t0: float = 1e6,
    weight_decay: NonNegative = 0.0,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(1)]:
    """Averaged stochastic gradient descent: falling steps, and the average ā of the parameters.

        g ← ∇f(θ) + λθ
        θ ← (1 − κη)θ − ηg        (η = γ at the first step)
        ā ← ā + μ(θ − ā)          (μ = 1 at first: ā = θ)
        η ← γ/(1 + κγt)^α,  μ ← 1/max(1, t − t₀)

    lr γ, lambd κ, alpha α, t0 t₀, weight_decay λ, maximize (ascends: −∇f). The average is the state ``ax``.

    Source: Polyak, Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; torch.optim.ASGD.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        of, d, before = begin(p, g, weight_decay, maximize, lr, lambd, alpha, t0)
        ax, gap, (factor, factor_cell) = torch.zeros_like(p), torch.empty_like(p), of.variable()
        # of torch's default dtype whatever p has, as torch keeps them, but on the host: no wait for the device
        eta, mu = of.scalar(0), of.scalar(1)
        (eta_cell, mu_cell), (read_eta, read_mu) = (eta.numpy(), mu.numpy()), (of.reader(eta), of.reader(mu))
        add, weigh, restart = of.add(p, d), of.multiply(gap, mu), of.copy_where(ax, p)
        weight = of.each(_averaging_weight, t0)

        def descend(lr: Setting, t: int) -> None:
            if t == 1:
                eta_cell[()] = lr
            size = read_eta()
            factor_cell[()] = 1 - lambd * size
            p.mul_(factor)
            add(alpha=-size)

        def average(lr: Setting, t: int) -> None:
            first = read_mu() == 1
            if not every(first):
                torch.sub(p, ax, out=gap)
                ax.add_(weigh())
            if some(first):
                restart(first)
            eta_cell[()] = of.quotient(lr, of.power(1 + lambd * lr * t, alpha))
            of.spread_nan(read_eta())
            mu_cell[()] = weight(t)

        return Bound(of.in_turn(*before, descend, average), {"eta": eta, "mu": mu, "ax": ax})

    return bind


OPTIMIZERS: dict[str, Callable[..., Rule]] = {
    rule.__name__: rule for rule in (sgd, adagrad, rmsprop, adam, adamw, adadelta, adamax, nadam, radam, rprop, asgd)
}


def state_tensors(name: str, given: Mapping[str, Any]) -> int:
    """Return how many tensors of the parameters' size an optimizer keeps with its settings, without torch.

    Of a rule that does not say it, 0: no run takes less.

    >>> state_tensors("sgd", {"momentum": 0.9}), state_tensors("adam", {"amsgrad": True})
    (1, 3)
    """
    returned = get_type_hints(OPTIMIZERS[name], include_extras=True).get("return")
    keeps = next((note for note in get_args(returned)[1:] if isinstance(note, Keeps)), Keeps(0))
    return keeps.tensors + sum(bool(given.get(setting)) for setting in keeps.settings)
