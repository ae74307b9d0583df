"""Optimizers: the update rules of ``torch.optim`` as small functions on flat tensors, with its bits.

Calling one of them checks its settings and gives a `Rule`; the rule, bound once to the parameters θ and to the buffer
of their gradient, is one step in place. The operations and their order are those of torch with ``foreach=False``,
on CPU and on an accelerator. A step may raise what torch's own step raises for absurd settings: ArithmeticError where
Python's arithmetic overflows or divides by zero, RuntimeError where lr does not fit the dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from annotated_types import Ge, Gt, Le, Lt

if TYPE_CHECKING:
    from torch import Tensor

NonNegative = Annotated[float, Ge(0)]
Beta = Annotated[float, Ge(0), Lt(1)]

Update = Callable[[float, int], None]
"""One step in place, from the learning rate of this step and the number of this step, counted from 1."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule bound to its buffers.

    ``state`` holds, by torch's names, every tensor that the next step depends on: these copied back in place, the
    parameters and the number of the step resume a run to the bit.
    """

    update: Update
    state: dict[str, Tensor]


class Rule(Protocol):
    """An optimizer with its settings, before it knows the parameters.

    A class and not a Callable, so that the annotations of this module resolve without torch.
    """

    def __call__(self, p: Tensor, g: Tensor) -> Bound:
        """Bind to parameters p [P], updated in place, and to their gradient g [P], never changed.

        Both stay the same buffers for the whole run. p takes no part in autograd, or the steps run under ``no_grad``.
        """
        ...


# A Python number as the operand of mul_, div_ or add_ costs more than twice the operation, since it is wrapped into a
# tensor each time; as alpha= or value= it costs nothing. Hence the two helpers.


def _constant(p: Tensor, value: float) -> Tensor:
    """Return a number as an operand for p: 0-dim, of its dtype, with the bits that the bare number would give.

    It lies on the host for every device, as a bare number does: accelerators divide by a host number through its
    reciprocal, which rounds differently from dividing by a tensor of their own.
    """
    return p.new_tensor(value, device="cpu")


def _variable(operand: Tensor) -> Any:
    """Return the cell of an operand on the host: ``cell[()] = number`` sets it for far less than ``fill_`` does."""
    return operand.numpy()


def _in_turn(*updates: Update) -> Update:
    """Return one update that makes all of these in order."""
    if len(updates) == 1:
        return updates[0]

    def update(lr: float, t: int) -> None:
        for each in updates:
            each(lr, t)

    return update


def _direction(p: Tensor, g: Tensor, weight_decay: float, maximize: bool) -> tuple[Tensor, list[Update]]:
    """Return d = ±g + λθ and the updates that fill it: none where d is g itself."""
    import torch

    if not maximize and weight_decay == 0:
        return g, []
    d = torch.empty_like(g)

    def negate(lr: float, t: int) -> None:
        torch.neg(g, out=d)

    def negate_and_decay(lr: float, t: int) -> None:
        torch.neg(g, out=d).add_(p, alpha=weight_decay)

    def decay(lr: float, t: int) -> None:
        torch.add(g, p, alpha=weight_decay, out=d)

    if not maximize:
        return d, [decay]
    return d, [negate if weight_decay == 0 else negate_and_decay]


def _direction_or_shrink(
    p: Tensor, g: Tensor, weight_decay: float, maximize: bool, decoupled: bool
) -> tuple[Tensor, list[Update]]:
    """Return d and its updates; a decoupled decay multiplies θ by 1 - γλ instead of adding λθ to d."""
    if not decoupled or weight_decay == 0:
        return _direction(p, g, weight_decay, maximize)
    d, before = _direction(p, g, 0, maximize)
    factor = _constant(p, 1)
    cell = _variable(factor)

    def shrink(lr: float, t: int) -> None:
        cell[()] = 1 - lr * weight_decay
        p.mul_(factor)

    return d, [*before, shrink]


def _moments(p: Tensor, d: Tensor, betas: tuple[float, float]) -> tuple[dict[str, Tensor], Update]:
    """Return the state m, v of Adam's family and its update: m ← β₁m + (1 − β₁)d, v ← β₂v + (1 − β₂)d²."""
    import torch

    m, v = torch.zeros_like(p), torch.zeros_like(p)
    weight1, weight2, decay2 = 1 - betas[0], 1 - betas[1], _constant(p, betas[1])

    def average(lr: float, t: int) -> None:
        m.lerp_(d, weight1)
        v.mul_(decay2).addcmul_(d, d, value=weight2)

    return {"exp_avg": m, "exp_avg_sq": v}, average


def _descend(p: Tensor, d: Tensor) -> Update:
    """Return θ ← θ − γd."""

    def update(lr: float, t: int) -> None:
        p.add_(d, alpha=-lr)

    return update


def sgd(
    *,
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0,
    dampening: float = 0,
    weight_decay: NonNegative = 0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Rule:
    """Stochastic gradient descent, plain or with momentum.

        g ← ∇f(θ) + λθ
        b ← μb + (1 − τ)g         (b ← g at the first step)
        θ ← θ − γb                (nesterov: θ − γ(g + μb); μ = 0: θ − γg)

    lr γ, momentum μ, dampening τ, weight_decay λ, nesterov, maximize (ascends: −∇f). The buffer b is a sum, not an
    average: momentum taught as the average S ← βS + (1 − β)g is momentum = β with dampening = β.

    Source: Sutskever et al. 2013, On the importance of initialization and momentum in deep learning; torch.optim.SGD.
    """
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, before = _direction(p, g, weight_decay, maximize)
        if momentum == 0:
            return Bound(_in_turn(*before, _descend(p, d)), {})
        b, mu, weight = torch.zeros_like(p), _constant(p, momentum), 1 - dampening

        def accumulate(lr: float, t: int) -> None:
            if t == 1:
                b.copy_(d)
            else:
                b.mul_(mu).add_(d, alpha=weight)

        if not nesterov:
            return Bound(_in_turn(*before, accumulate, _descend(p, b)), {"momentum_buffer": b})
        ahead = torch.empty_like(p)

        def look_ahead(lr: float, t: int) -> None:
            torch.add(d, b, alpha=momentum, out=ahead)

        return Bound(_in_turn(*before, accumulate, look_ahead, _descend(p, ahead)), {"momentum_buffer": b})

    return bind


def adagrad(
    *,
    lr: NonNegative = 1e-2,
    lr_decay: NonNegative = 0,
    weight_decay: NonNegative = 0,
    initial_accumulator_value: NonNegative = 0,
    eps: NonNegative = 1e-10,
    maximize: bool = False,
) -> Rule:
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

        d, before = _direction(p, g, weight_decay, maximize)
        s, root, epsilon = torch.full_like(p, initial_accumulator_value), torch.empty_like(p), _constant(p, eps)

        def update(lr: float, t: int) -> None:
            s.addcmul_(d, d)
            torch.sqrt(s, out=root).add_(epsilon)
            p.addcdiv_(d, root, value=-(lr / (1 + (t - 1) * lr_decay)))

        return Bound(_in_turn(*before, update), {"sum": s})

    return bind


def rmsprop(
    *,
    lr: NonNegative = 1e-2,
    alpha: NonNegative = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    momentum: NonNegative = 0,
    centered: bool = False,
    maximize: bool = False,
) -> Rule:
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

        d, parts = _direction(p, g, weight_decay, maximize)
        v, root, weight = torch.zeros_like(p), torch.empty_like(p), 1 - alpha
        decay, epsilon = _constant(p, alpha), _constant(p, eps)
        state = {"square_avg": v}

        def average(lr: float, t: int) -> None:
            v.mul_(decay).addcmul_(d, d, value=weight)

        parts.append(average)
        if centered:
            a = state["grad_avg"] = torch.zeros_like(p)

            def scale(lr: float, t: int) -> None:
                a.lerp_(d, weight)
                torch.addcmul(v, a, a, value=-1, out=root).sqrt_().add_(epsilon)
        else:

            def scale(lr: float, t: int) -> None:
                torch.sqrt(v, out=root).add_(epsilon)

        parts.append(scale)
        if momentum == 0:

            def descend(lr: float, t: int) -> None:
                p.addcdiv_(d, root, value=-lr)

            return Bound(_in_turn(*parts, descend), state)
        b, mu = torch.zeros_like(p), _constant(p, momentum)
        state["momentum_buffer"] = b

        def accumulate(lr: float, t: int) -> None:
            b.mul_(mu).addcdiv_(d, root)

        return Bound(_in_turn(*parts, accumulate, _descend(p, b)), state)

    return bind


def adam(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> Rule:
    """Adam: moving averages of the gradient and its square, corrected for their start at zero.

        g ← ∇f(θ) + λθ            (decoupled_weight_decay: g ← ∇f(θ), θ ← (1 − γλ)θ)
        m ← β₁m + (1 − β₁)g
        v ← β₂v + (1 − β₂)g²
        w ← max(w, v)             (amsgrad; else w ← v)
        θ ← θ − γ m/(1 − β₁ᵗ) / (√w/√(1 − β₂ᵗ) + ε)

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ, amsgrad, maximize (ascends: −∇f), decoupled_weight_decay.

    Source: Kingma, Ba 2015, Adam: A Method for Stochastic Optimization; Reddi, Kale, Kumar 2018, On the Convergence of
    Adam and Beyond (amsgrad); torch.optim.Adam.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, parts = _direction_or_shrink(p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(p, d, betas)
        (beta1, beta2), (m, v) = betas, state.values()
        w = torch.zeros_like(p) if amsgrad else v
        root, epsilon, correction = torch.empty_like(p), _constant(p, eps), _constant(p, 1)
        cell = _variable(correction)

        def keep_largest(lr: float, t: int) -> None:
            torch.maximum(w, v, out=w)

        def descend(lr: float, t: int) -> None:
            cell[()] = (1 - beta2**t) ** 0.5
            torch.sqrt(w, out=root).div_(correction).add_(epsilon)
            p.addcdiv_(m, root, value=-(lr / (1 - beta1**t)))

        if not amsgrad:
            return Bound(_in_turn(*parts, average, descend), state)
        return Bound(_in_turn(*parts, average, keep_largest, descend), {**state, "max_exp_avg_sq": w})

    return bind


def adamw(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Rule:
    """AdamW: Adam whose weight decay shrinks the parameters and stays out of the averages.

        θ ← (1 − γλ)θ
        m ← β₁m + (1 − β₁)∇f(θ)
        v ← β₂v + (1 − β₂)∇f(θ)²
        w ← max(w, v)             (amsgrad; else w ← v)
        θ ← θ − γ m/(1 − β₁ᵗ) / (√w/√(1 − β₂ᵗ) + ε)

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ, amsgrad, maximize (ascends: −∇f).

    Source: Loshchilov, Hutter 2019, Decoupled Weight Decay Regularization; torch.optim.AdamW.
    """
    return adam(
        lr=lr,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        maximize=maximize,
        decoupled_weight_decay=True,
    )


def adadelta(
    *,
    lr: NonNegative = 1.0,
    rho: Annotated[float, Ge(0), Le(1)] = 0.9,
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 0,
    maximize: bool = False,
) -> Rule:
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

        d, before = _direction(p, g, weight_decay, maximize)
        v, u = torch.zeros_like(p), torch.zeros_like(p)
        root, delta = torch.empty_like(p), torch.empty_like(p)
        decay, epsilon, weight = _constant(p, rho), _constant(p, eps), 1 - rho

        def update(lr: float, t: int) -> None:
            v.mul_(decay).addcmul_(d, d, value=weight)
            torch.add(v, epsilon, out=root).sqrt_()
            torch.add(u, epsilon, out=delta).sqrt_().div_(root).mul_(d)
            u.mul_(decay).addcmul_(delta, delta, value=weight)
            p.add_(delta, alpha=-lr)

        return Bound(_in_turn(*before, update), {"square_avg": v, "acc_delta": u})

    return bind


def adamax(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    maximize: bool = False,
) -> Rule:
    """Adamax: Adam with the largest recent gradient in place of the average of squares.

        g ← ∇f(θ) + λθ
        m ← β₁m + (1 − β₁)g
        u ← max(β₂u, |g| + ε)
        θ ← θ − γ/(1 − β₁ᵗ) · m/u

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ, maximize (ascends: −∇f).

    Source: Kingma, Ba 2015, Adam: A Method for Stochastic Optimization, section 7; torch.optim.Adamax.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, before = _direction(p, g, weight_decay, maximize)
        m, u, size = torch.zeros_like(p), torch.zeros_like(p), torch.empty_like(p)
        beta1, weight = betas[0], 1 - betas[0]
        decay, epsilon = _constant(p, betas[1]), _constant(p, eps)

        def update(lr: float, t: int) -> None:
            m.lerp_(d, weight)
            torch.abs(d, out=size).add_(epsilon)
            torch.maximum(u.mul_(decay), size, out=u)
            p.addcdiv_(m, u, value=-(lr / (1 - beta1**t)))

        return Bound(_in_turn(*before, update), {"exp_avg": m, "exp_inf": u})

    return bind


def nadam(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    momentum_decay: NonNegative = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Rule:
    """NAdam: Adam with Nesterov's momentum, of a schedule μₜ.

        g ← ∇f(θ) + λθ            (decoupled_weight_decay: g ← ∇f(θ), θ ← (1 − γλ)θ)
        m ← β₁m + (1 − β₁)g
        v ← β₂v + (1 − β₂)g²
        μₜ = β₁(1 − 0.96^(tψ)/2),  Πₜ = μ₁μ₂…μₜ
        θ ← θ − γ (μₜ₊₁ m/(1 − Πₜ₊₁) + (1 − μₜ) g/(1 − Πₜ)) / (√(v/(1 − β₂ᵗ)) + ε)

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ, momentum_decay ψ, decoupled_weight_decay, maximize (ascends: −∇f).

    Source: Dozat 2016, Incorporating Nesterov Momentum into Adam; torch.optim.NAdam.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, parts = _direction_or_shrink(p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(p, d, betas)
        (beta1, beta2), (m, v) = betas, state.values()
        root, epsilon, correction = torch.empty_like(p), _constant(p, eps), _constant(p, 1)
        # of torch's default dtype whatever p has, as torch keeps it: the product's rounding shows in the parameters
        product = state["mu_product"] = torch.ones((), device="cpu")
        factor = torch.ones_like(product)
        correction_cell, factor_cell, product_cell = _variable(correction), _variable(factor), _variable(product)

        def descend(lr: float, t: int) -> None:
            mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
            next_mu = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
            factor_cell[()] = mu
            product.mul_(factor)
            so_far = product_cell.item()
            correction_cell[()] = 1 - beta2**t
            torch.div(v, correction, out=root).sqrt_().add_(epsilon)
            p.addcdiv_(d, root, value=-lr * (1.0 - mu) / (1.0 - so_far))
            p.addcdiv_(m, root, value=-lr * next_mu / (1.0 - so_far * next_mu))

        return Bound(_in_turn(*parts, average, descend), state)

    return bind


def radam(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Rule:
    """RAdam: Adam that scales its steps only once the variance of the scale is known, ρₜ > 5.

        g ← ∇f(θ) + λθ            (decoupled_weight_decay: g ← ∇f(θ), θ ← (1 − γλ)θ)
        m ← β₁m + (1 − β₁)g
        v ← β₂v + (1 − β₂)g²
        ρ∞ = 2/(1 − β₂) − 1,  ρₜ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ)
        r = √((ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ)),  l = √(1 − β₂ᵗ)/(√v + ε)
        θ ← θ − γ m/(1 − β₁ᵗ) · r·l         (ρₜ ≤ 5: without r·l)

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ, decoupled_weight_decay, maximize (ascends: −∇f).

    Source: Liu et al. 2020, On the Variance of the Adaptive Learning Rate and Beyond; torch.optim.RAdam.
    """

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, parts = _direction_or_shrink(p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(p, d, betas)
        (beta1, beta2), (m, v) = betas, state.values()
        step, scale, epsilon = torch.empty_like(p), torch.empty_like(p), _constant(p, eps)
        correction, rate, root, rectifier = (_constant(p, 1) for _ in range(4))
        correction_cell, rate_cell = _variable(correction), _variable(rate)
        root_cell, rectifier_cell = _variable(root), _variable(rectifier)
        longest = 2 / (1 - beta2) - 1

        def descend(lr: float, t: int) -> None:
            correction_cell[()] = 1 - beta1**t
            rate_cell[()] = lr
            torch.div(m, correction, out=step).mul_(rate)
            correction2 = 1 - beta2**t
            length = longest - 2 * t * beta2**t / correction2
            if length > 5.0:
                rectifier_cell[()] = (
                    (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
                ) ** 0.5
                root_cell[()] = correction2**0.5
                # a number divided by a tensor is, in torch, the tensor's reciprocal times the number
                torch.sqrt(v, out=scale).add_(epsilon).reciprocal_().mul_(root)
                step.mul_(scale).mul_(rectifier)
            p.sub_(step)

        return Bound(_in_turn(*parts, average, descend), state)

    return bind


def rprop(
    *,
    lr: NonNegative = 1e-2,
    etas: tuple[Annotated[float, Gt(0), Lt(1)], Annotated[float, Gt(1)]] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> Rule:
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
    if not 0 < etas[0] < 1 < etas[1]:
        raise ValueError(f"etas needs a first factor between 0 and 1 and a second above 1, not {etas[0]} and {etas[1]}")
    if step_sizes[0] > step_sizes[1]:
        raise ValueError(f"step_sizes needs the smallest before the largest, not {step_sizes[0]} and {step_sizes[1]}")

    def bind(p: Tensor, g: Tensor) -> Bound:
        import torch

        d, before = _direction(p, g, 0, maximize)
        previous, step = torch.zeros_like(p), torch.zeros_like(p)
        sign, mask = torch.empty_like(p), torch.empty_like(p, dtype=torch.bool)
        zero, shrinking = _constant(p, 0), _constant(p, etas[0])
        (shrink, grow), (smallest, largest) = etas, step_sizes

        def resize(lr: float, t: int) -> None:
            if t == 1:
                step.fill_(lr)
            torch.mul(d, previous, out=sign).sign_()
            sign.masked_fill_(torch.gt(sign, zero, out=mask), grow)
            sign.masked_fill_(torch.lt(sign, zero, out=mask), shrink)
            sign.masked_fill_(torch.eq(sign, zero, out=mask), 1)
            step.mul_(sign).clamp_(smallest, largest)

        def descend(lr: float, t: int) -> None:
            previous.copy_(d).masked_fill_(torch.eq(sign, shrinking, out=mask), 0)
            p.addcmul_(torch.sign(previous, out=sign), step, value=-1)

        return Bound(_in_turn(*before, resize, descend), {"prev": previous, "step_size": step})

    return bind


def asgd(
    *,
    lr: NonNegative = 1e-2,
    lambd: NonNegative = 1e-4,  # torch has no bound; below 0 the base of the power α becomes negative
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: NonNegative = 0,
    maximize: bool = False,
) -> Rule:
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

        d, before = _direction(p, g, weight_decay, maximize)
        ax, gap, factor = torch.zeros_like(p), torch.empty_like(p), _constant(p, 1)
        # of torch's default dtype whatever p has, as torch keeps them, but on the host: no wait for the device
        eta, mu = torch.zeros((), device="cpu"), torch.ones((), device="cpu")
        eta_cell, mu_cell, factor_cell = _variable(eta), _variable(mu), _variable(factor)

        def descend(lr: float, t: int) -> None:
            if t == 1:
                eta_cell[()] = lr
            size = eta_cell.item()
            factor_cell[()] = 1 - lambd * size
            p.mul_(factor).add_(d, alpha=-size)

        def average(lr: float, t: int) -> None:
            if mu_cell.item() == 1:
                ax.copy_(p)
            else:
                ax.add_(torch.sub(p, ax, out=gap).mul_(mu))
            eta_cell[()] = lr / (1 + lambd * lr * t) ** alpha
            mu_cell[()] = 1 / max(1, t - t0)

        return Bound(_in_turn(*before, descend, average), {"eta": eta, "mu": mu, "ax": ax})

    return bind


OPTIMIZERS: dict[str, Callable[..., Rule]] = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "adadelta": adadelta,
    "adamax": adamax,
    "nadam": nadam,
    "radam": radam,
    "rprop": rprop,
    "asgd": asgd,
}
