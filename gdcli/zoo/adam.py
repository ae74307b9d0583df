"""Adam and its family: rules with an average of the gradient and one of its square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gdcli.zoo.arithmetic import Numbers, Setting, Update, some
from gdcli.zoo.naming import Needs
from gdcli.zoo.update_rule import Beta, Bound, Keeps, NonNegative, Rule, average_of_squares, begin

if TYPE_CHECKING:
    from torch import Tensor


def _bias_correction(beta: float, t: int) -> float:
    """Return 1 − βᵗ, what an average that began at zero falls short by after t steps."""
    return 1 - beta**t


def _root_of_bias_correction(beta: float, t: int) -> float:
    """Return √(1 − βᵗ)."""
    return float((1 - beta**t) ** 0.5)


def _moments(
    of: Numbers, p: Tensor, d: Tensor, betas: tuple[Setting, Setting], parts: list[Update]
) -> dict[str, Tensor]:
    """Return the state m, v of Adam's family; add its updates: m ← β₁m + (1 − β₁)d, v ← β₂v + (1 − β₂)d²."""
    import torch

    m, v = torch.zeros_like(p), torch.zeros_like(p)
    blend = of.lerp(m, d, 1 - betas[0])
    parts += [lambda lr, t: blend(), average_of_squares(of, v, d, betas[1])]
    return {"exp_avg": m, "exp_avg_sq": v}


def adam(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: Annotated[bool, Needs("weight_decay")] = False,
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

        of, d, parts = begin(p, g, weight_decay, maximize, lr, *betas, eps, decoupled=decoupled_weight_decay)
        state = _moments(of, p, d, betas, parts)
        m, v = state.values()
        w = torch.zeros_like(p) if amsgrad else v
        root, epsilon = torch.empty_like(p), of.constant(eps)
        bias1, root_of_bias2 = of.each(_bias_correction, betas[0]), of.each(_root_of_bias_correction, betas[1])
        correct, correction = of.divide(root)
        add_ratio = of.add_ratio(p, m, root)

        def descend(lr: Setting, t: int) -> None:
            correction[()] = root_of_bias2(t)
            torch.sqrt(w, out=root)
            correct().add_(epsilon)
            add_ratio(value=-(lr / bias1(t)))

        if amsgrad:
            parts.append(lambda lr, t: torch.maximum(w, v, out=w))
            state["max_exp_avg_sq"] = w
        return Bound(of.in_turn(*parts, descend), state)

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


def adamax(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
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

        of, d, before = begin(p, g, weight_decay, maximize, lr, *betas, eps)
        m, u, size = torch.zeros_like(p), torch.zeros_like(p), torch.empty_like(p)
        decay, epsilon, bias = of.constant(betas[1]), of.constant(eps), of.each(_bias_correction, betas[0])
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
    return float(beta * (1.0 - 0.5 * 0.96 ** (t * decay)))


def nadam(
    *,
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    momentum_decay: NonNegative = 4e-3,
    decoupled_weight_decay: Annotated[bool, Needs("weight_decay")] = False,
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

        settings = (lr, *betas, eps, momentum_decay)
        of, d, parts = begin(p, g, weight_decay, maximize, *settings, decoupled=decoupled_weight_decay)
        state = _moments(of, p, d, betas, parts)
        m, v = state.values()
        root, epsilon = torch.empty_like(p), of.constant(eps)
        correct, correction = of.divide(v, out=root)
        add_gradient, add_average = of.add_ratio(p, d, root), of.add_ratio(p, m, root)
        momentum, bias2 = of.each(_nesterov_momentum, betas[0], momentum_decay), of.each(_bias_correction, betas[1])
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

        return Bound(of.in_turn(*parts, descend), state)

    return bind


def _rectifier(beta: float, t: int) -> float:
    """Return RAdam's r of β₂, 0 where ρₜ ≤ 5."""
    longest = 2 / (1 - beta) - 1
    length = longest - 2 * t * beta**t / (1 - beta**t)
    if length <= 5.0:
        return 0.0
    return float(((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5)


def radam(
    *,
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    decoupled_weight_decay: Annotated[bool, Needs("weight_decay")] = False,
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

        of, d, parts = begin(p, g, weight_decay, maximize, lr, *betas, eps, decoupled=decoupled_weight_decay)
        state = _moments(of, p, d, betas, parts)
        m, v = state.values()
        step, scale, epsilon = torch.empty_like(p), torch.empty_like(p), of.constant(eps)
        bias1, root_of_bias2 = of.each(_bias_correction, betas[0]), of.each(_root_of_bias_correction, betas[1])
        rectifier_of = of.each(_rectifier, betas[1])
        correct, correction = of.divide(m, out=step)
        (rate, rate_cell), (root, root_cell), (rectifier, rectifier_cell) = (of.variable() for _ in range(3))
        unscale = of.copy_where(scale, of.constant(1))

        def descend(lr: Setting, t: int) -> None:
            correction[()] = bias1(t)
            rate_cell[()] = lr
            correct().mul_(rate)
            r = rectifier_of(t)
            if some(r):
                unknown = r == 0
                rectifier_cell[()] = r + unknown  # 1 in the runs without
                root_cell[()] = root_of_bias2(t)
                # a number divided by a tensor is, in torch, the tensor's reciprocal times the number
                torch.sqrt(v, out=scale).add_(epsilon).reciprocal_().mul_(root)
                if some(unknown):
                    unscale(unknown)
                step.mul_(scale).mul_(rectifier)
            p.sub_(step)

        return Bound(of.in_turn(*parts, descend), state)

    return bind
