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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_args, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from gdcli.zoo.arithmetic import Arithmetic, Setting, Update, arithmetic_of, is_zero

if TYPE_CHECKING:
    from torch import Tensor

NonNegative = Annotated[float, Ge(0)]
Beta = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule bound to its buffers.

    ``state`` holds, by torch's names, every tensor that the next step depends on: these copied back in place, the
    parameters and the number of the step resume a run to the bit.
    """

    update: Update
    state: dict[str, Tensor]


class Keeps:
    """How many tensors of the parameters' size a rule keeps from step to step: the annotation of what it returns.

    Each of the settings named adds one where it is not zero.
    """

    def __init__(self, tensors: int, *settings: str) -> None:
        self.tensors, self.settings = tensors, settings


class Rule(Protocol):
    """An optimizer with its settings, before it knows the parameters.

    A class and not a Callable, so that the annotations of this module resolve without torch.
    """

    def __call__(self, p: Tensor, g: Tensor) -> Bound:
        """Bind to parameters p [P], updated in place, and to their gradient g [P], never changed.

        Both stay the same buffers for the whole run. p takes no part in autograd, or the steps run under ``no_grad``.
        ValueError if a fleet has a momentum or weight_decay of zero in some of its runs only.
        """
        ...


def _bias(beta: float, t: int) -> float:
    """Return 1 − βᵗ, what an average that began at zero falls short by after t steps."""
    return 1 - beta**t


def _root_of_bias(beta: float, t: int) -> float:
    """Return √(1 − βᵗ)."""
    root: float = (1 - beta**t) ** 0.5
    return root


def _direction(
    of: Arithmetic, p: Tensor, g: Tensor, weight_decay: Setting, maximize: bool
) -> tuple[Tensor, list[Update]]:
    """Return d = ±g + λθ and the updates that fill it: none where d is g itself."""
    import torch

    absent = is_zero("weight_decay", weight_decay)
    if not maximize and absent:
        return g, []
    d = torch.empty_like(g)
    add_decay = of.add(d, p) if maximize else of.add(g, p, out=d)

    def negate(lr: Setting, t: int) -> None:
        torch.neg(g, out=d)

    def decay(lr: Setting, t: int) -> None:
        add_decay(alpha=weight_decay)

    if not maximize:
        return d, [decay]
    return d, [negate] if absent else [negate, decay]


def _direction_or_shrink(
    of: Arithmetic, p: Tensor, g: Tensor, weight_decay: Setting, maximize: bool, decoupled: bool
) -> tuple[Tensor, list[Update]]:
    """Return d and its updates; a decoupled decay multiplies θ by 1 - γλ instead of adding λθ to d."""
    if not decoupled or is_zero("weight_decay", weight_decay):
        return _direction(of, p, g, weight_decay, maximize)
    d, before = _direction(of, p, g, 0, maximize)
    factor, cell = of.variable()

    def shrink(lr: Setting, t: int) -> None:
        cell[()] = 1 - lr * weight_decay
        p.mul_(factor)

    return d, [*before, shrink]


def _moments(of: Arithmetic, p: Tensor, d: Tensor, betas: tuple[Setting, Setting]) -> tuple[dict[str, Tensor], Update]:
    """Return the state m, v of Adam's family and its update: m ← β₁m + (1 − β₁)d, v ← β₂v + (1 − β₂)d²."""
    import torch

    m, v = torch.zeros_like(p), torch.zeros_like(p)
    blend, add_square = of.lerp(m, d, 1 - betas[0]), of.add_product(v, d, d)
    decay2, weight2 = of.constant(betas[1]), 1 - betas[1]

    def average(lr: Setting, t: int) -> None:
        blend()
        v.mul_(decay2)
        add_square(value=weight2)

    return {"exp_avg": m, "exp_avg_sq": v}, average


def _descend(of: Arithmetic, p: Tensor, d: Tensor) -> Update:
    """Return θ ← θ − γd."""
    add, negative = of.add(p, d), of.negative()

    def update(lr: Setting, t: int) -> None:
        add(alpha=negative(lr))

    return update


def sgd(
    *,
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0,
    dampening: float = 0,
    weight_decay: NonNegative = 0,
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

        of = arithmetic_of(p, lr, momentum, dampening, weight_decay)
        d, before = _direction(of, p, g, weight_decay, maximize)
        if is_zero("momentum", momentum):
            return Bound(of.in_turn(*before, _descend(of, p, d)), {})
        b, mu, weight = torch.zeros_like(p), of.constant(momentum), 1 - dampening
        add = of.add(b, d)

        def accumulate(lr: Setting, t: int) -> None:
            if t == 1:
                b.copy_(d)
            else:
                b.mul_(mu)
                add(alpha=weight)

        if not nesterov:
            return Bound(of.in_turn(*before, accumulate, _descend(of, p, b)), {"momentum_buffer": b})
        ahead = torch.empty_like(p)
        add_momentum = of.add(d, b, out=ahead)

        def look_ahead(lr: Setting, t: int) -> None:
            add_momentum(alpha=momentum)

        return Bound(of.in_turn(*before, accumulate, look_ahead, _descend(of, p, ahead)), {"momentum_buffer": b})

    return bind


def adagrad(
    *,
    lr: NonNegative = 1e-2,
    lr_decay: NonNegative = 0,
    weight_decay: NonNegative = 0,
    initial_accumulator_value: NonNegative = 0,
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

        of = arithmetic_of(p, lr, lr_decay, weight_decay, initial_accumulator_value, eps)
        d, before = _direction(of, p, g, weight_decay, maximize)
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
    weight_decay: NonNegative = 0,
    momentum: NonNegative = 0,
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

        of = arithmetic_of(p, lr, alpha, eps, weight_decay, momentum)
        d, parts = _direction(of, p, g, weight_decay, maximize)
        v, root, weight = torch.zeros_like(p), torch.empty_like(p), 1 - alpha
        decay, epsilon, add_square = of.constant(alpha), of.constant(eps), of.add_product(v, d, d)
        state = {"square_avg": v}

        def average(lr: Setting, t: int) -> None:
            v.mul_(decay)
            add_square(value=weight)

        parts.append(average)
        if centered:
            a = state["grad_avg"] = torch.zeros_like(p)
            blend = of.lerp(a, d, weight)

            def scale(lr: Setting, t: int) -> None:
                blend()
                torch.addcmul(v, a, a, value=-1, out=root).sqrt_().add_(epsilon)
        else:

            def scale(lr: Setting, t: int) -> None:
                torch.sqrt(v, out=root).add_(epsilon)

        parts.append(scale)
        if is_zero("momentum", momentum):
            add_ratio, negative = of.add_ratio(p, d, root), of.negative()

            def descend(lr: Setting, t: int) -> None:
                add_ratio(value=negative(lr))

            return Bound(of.in_turn(*parts, descend), state)
        b, mu = torch.zeros_like(p), of.constant(momentum)
        state["momentum_buffer"] = b

        def accumulate(lr: Setting, t: int) -> None:
            b.mul_(mu).addcdiv_(d, root)

        return Bound(of.in_turn(*parts, accumulate, _descend(of, p, b)), state)

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
) -> Annotated[Rule, Keeps(2, "amsgrad")]:
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

        of = arithmetic_of(p, lr, *betas, eps, weight_decay)
        d, parts = _direction_or_shrink(of, p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(of, p, d, betas)
        m, v = state.values()
        w = torch.zeros_like(p) if amsgrad else v
        root, epsilon = torch.empty_like(p), of.constant(eps)
        bias1, root_of_bias2 = of.each(_bias, betas[0]), of.each(_root_of_bias, betas[1])
        correct, correction = of.divide(root)
        add_ratio = of.add_ratio(p, m, root)

        def keep_largest(lr: Setting, t: int) -> None:
            torch.maximum(w, v, out=w)

        def descend(lr: Setting, t: int) -> None:
            correction[()] = root_of_bias2(t)
            torch.sqrt(w, out=root)
            correct().add_(epsilon)
            add_ratio(value=-(lr / bias1(t)))

        if not amsgrad:
            return Bound(of.in_turn(*parts, average, descend), state)
        return Bound(of.in_turn(*parts, average, keep_largest, descend), {**state, "max_exp_avg_sq": w})

    return bind


def adamw(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2, "amsgrad")]:
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

        of = arithmetic_of(p, lr, rho, eps, weight_decay)
        d, before = _direction(of, p, g, weight_decay, maximize)
        v, u = torch.zeros_like(p), torch.zeros_like(p)
        root, delta = torch.empty_like(p), torch.empty_like(p)
        decay, epsilon, weight = of.constant(rho), of.constant(eps), 1 - rho
        add_square, add_step = of.add_product(v, d, d), of.add_product(u, delta, delta)
        add, negative = of.add(p, delta), of.negative()

        def update(lr: Setting, t: int) -> None:
            v.mul_(decay)
            add_square(value=weight)
            torch.add(v, epsilon, out=root).sqrt_()
            torch.add(u, epsilon, out=delta).sqrt_().div_(root).mul_(d)
            u.mul_(decay)
            add_step(value=weight)
            add(alpha=negative(lr))

        return Bound(of.in_turn(*before, update), {"square_avg": v, "acc_delta": u})

    return bind


def adamax(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2)]:
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

        of = arithmetic_of(p, lr, *betas, eps, weight_decay)
        d, before = _direction(of, p, g, weight_decay, maximize)
        m, u, size = torch.zeros_like(p), torch.zeros_like(p), torch.empty_like(p)
        decay, epsilon, bias = of.constant(betas[1]), of.constant(eps), of.each(_bias, betas[0])
        blend, add_ratio = of.lerp(m, d, 1 - betas[0]), of.add_ratio(p, m, u)

        def update(lr: Setting, t: int) -> None:
            blend()
            torch.abs(d, out=size).add_(epsilon)
            torch.maximum(u.mul_(decay), size, out=u)
            add_ratio(value=-(lr / bias(t)))

        return Bound(of.in_turn(*before, update), {"exp_avg": m, "exp_inf": u})

    return bind


def _nesterov_momentum(beta: float, decay: float, t: int) -> float:
    """Return NAdam's μₜ = β(1 − 0.96^(tψ)/2)."""
    mu: float = beta * (1.0 - 0.5 * 0.96 ** (t * decay))
    return mu


def nadam(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    momentum_decay: NonNegative = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2)]:
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

        of = arithmetic_of(p, lr, *betas, eps, weight_decay, momentum_decay)
        d, parts = _direction_or_shrink(of, p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(of, p, d, betas)
        m, v = state.values()
        root, epsilon = torch.empty_like(p), of.constant(eps)
        correct, correction = of.divide(v, out=root)
        add_gradient, add_average = of.add_ratio(p, d, root), of.add_ratio(p, m, root)
        momentum, bias2 = of.each(_nesterov_momentum, betas[0], momentum_decay), of.each(_bias, betas[1])
        # of torch's default dtype whatever p has, as torch keeps it: the product's rounding shows in the parameters
        product, factor = of.scalar(1), of.scalar(1)
        state["mu_product"] = product
        read_product, factor_cell = of.reader(product), factor.numpy()

        def descend(lr: Setting, t: int) -> None:
            mu, next_mu = momentum(t), momentum(t + 1)
            factor_cell[()] = mu
            product.mul_(factor)
            so_far = read_product()
            correction[()] = bias2(t)
            correct().sqrt_().add_(epsilon)
            add_gradient(value=-lr * (1.0 - mu) / (1.0 - so_far))
            add_average(value=-lr * next_mu / (1.0 - so_far * next_mu))

        return Bound(of.in_turn(*parts, average, descend), state)

    return bind


def _rectifier(beta: float, t: int) -> float:
    """Return RAdam's r of β₂, 0 where ρₜ ≤ 5."""
    longest = 2 / (1 - beta) - 1
    length = longest - 2 * t * beta**t / (1 - beta**t)
    if length <= 5.0:
        return 0.0
    r: float = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
    return r


def radam(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Annotated[Rule, Keeps(2)]:
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

        of = arithmetic_of(p, lr, *betas, eps, weight_decay)
        d, parts = _direction_or_shrink(of, p, g, weight_decay, maximize, decoupled_weight_decay)
        state, average = _moments(of, p, d, betas)
        m, v = state.values()
        step, scale, epsilon = torch.empty_like(p), torch.empty_like(p), of.constant(eps)
        bias1, root_of_bias2 = of.each(_bias, betas[0]), of.each(_root_of_bias, betas[1])
        rectifier_of = of.each(_rectifier, betas[1])
        correct, correction = of.divide(m, out=step)
        (rate, rate_cell), (root, root_cell), (rectifier, rectifier_cell) = (of.variable() for _ in range(3))
        unscale = of.copy_where(scale, of.constant(1))

        def descend(lr: Setting, t: int) -> None:
            correction[()] = bias1(t)
            rate_cell[()] = lr
            correct().mul_(rate)
            r = rectifier_of(t)
            if of.some(r):
                unknown = r == 0
                rectifier_cell[()] = r + unknown  # 1 in the runs without
                root_cell[()] = root_of_bias2(t)
                # a number divided by a tensor is, in torch, the tensor's reciprocal times the number
                torch.sqrt(v, out=scale).add_(epsilon).reciprocal_().mul_(root)
                if of.some(unknown):
                    unscale(unknown)
                step.mul_(scale).mul_(rectifier)
            p.sub_(step)

        return Bound(of.in_turn(*parts, average, descend), state)

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

        of = arithmetic_of(p, lr, *etas, *step_sizes)
        d, before = _direction(of, p, g, 0, maximize)
        previous, step = torch.zeros_like(p), torch.zeros_like(p)
        sign, mask = torch.empty_like(p), torch.empty_like(p, dtype=torch.bool)
        zero, shrinking = of.constant(0), of.constant(etas[0])
        shrink, grow = of.fill_where(sign, mask, etas[0]), of.fill_where(sign, mask, etas[1])
        clamp, begin = of.clamp(step, *step_sizes), of.fill(step)

        def resize(lr: Setting, t: int) -> None:
            if t == 1:
                begin(lr)
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
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: NonNegative = 0,
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

        of = arithmetic_of(p, lr, lambd, alpha, t0, weight_decay)
        d, before = _direction(of, p, g, weight_decay, maximize)
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
            if not of.every(first):
                torch.sub(p, ax, out=gap)
                ax.add_(weigh())
            if of.some(first):
                restart(first)
            eta_cell[()] = lr / of.power(1 + lambd * lr * t, alpha)
            mu_cell[()] = weight(t)

        return Bound(of.in_turn(*before, descend, average), {"eta": eta, "mu": mu, "ax": ax})

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


def state_tensors(name: str, given: Mapping[str, Any]) -> int:
    """Return how many tensors of the parameters' size an optimizer keeps with its settings, without torch.

    Of a rule that does not say it, 0: no run takes less.

    >>> state_tensors("sgd", {"momentum": 0.9}), state_tensors("adam", {"amsgrad": True})
    (1, 3)
    """
    returned = get_type_hints(OPTIMIZERS[name], include_extras=True).get("return")
    keeps = next((note for note in get_args(returned)[1:] if isinstance(note, Keeps)), Keeps(0))
    return keeps.tensors + sum(bool(given.get(setting)) for setting in keeps.settings)
