"""Activations: the function, its derivative by hand, and the name torch gives its node.

Each function returns an :class:`Activation`. ``backward`` multiplies the gradient that arrives at the output by the
activation's derivative, with torch's fused primitive where there is one: its rounding is autograd's, which a formula
of several operations would not keep to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


Backward = Callable[["Tensor", "Tensor", "Tensor", "Tensor"], "Tensor"]
"""``(d, z, a, out)``: write the gradient at the input z into ``out`` and return it.

d: gradient at the output [B, O]; z: input [B, O]; a: output [B, O]. ``out`` may be d itself.
"""


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation: ``forward`` is differentiable by autograd, ``backward`` is the derivative by hand."""

    forward: Callable[[Tensor], Tensor] | None  # None: the identity, which costs nothing
    backward: Backward | None
    grad_fn: str  # torch's node at the end of forward, without Backward0; "" where there is none
    in_place: Callable[[Tensor], Tensor] | None = None  # forward, a over z; only where backward does not look at z


def _fused(
    name: str, primitive: str, grad_fn: str, backward: Callable[..., Tensor], overload: str = "grad_input", *,
    needs_z: bool = True,
) -> Activation:  # fmt: skip
    """Return torch's activation of that name; ``backward`` takes the primitive of its backward pass before the rest."""
    import torch

    forward = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    aten = getattr(getattr(torch.ops.aten, f"{primitive}_backward"), overload)
    aten = getattr(aten, "_op", aten)  # of a tiny layer's time a fifth is the Python around it
    return Activation(forward, partial(backward, aten), grad_fn, None if needs_z else getattr(torch, f"{name}_"))


def none() -> Activation:
    """No activation: a = z, da/dz = 1."""
    return Activation(None, None, "")


def relu() -> Activation:
    """Rectified linear unit: a = max(0, z); da/dz = 1 where z > 0, else 0. Source: torch.nn.ReLU."""
    return _fused("relu", "threshold", "Relu", lambda aten, d, z, a, out: aten(d, a, 0, grad_input=out), needs_z=False)


def leaky_relu() -> Activation:
    """Leaky rectifier: a = z where z > 0, else 0.01 z; da/dz = 1 or 0.01. Source: torch.nn.LeakyReLU."""
    return _fused(
        "leaky_relu", "leaky_relu", "LeakyRelu", lambda aten, d, z, a, out: aten(d, z, 0.01, False, grad_input=out)
    )


def relu6() -> Activation:
    """Clipped rectifier: a = min(max(0, z), 6); da/dz = 1 where 0 < z < 6, else 0. Source: torch.nn.ReLU6."""
    return _fused("relu6", "hardtanh", "Hardtanh", lambda aten, d, z, a, out: aten(d, z, 0, 6, grad_input=out))


def elu() -> Activation:
    """Exponential linear unit: a = z where z > 0, else exp(z) − 1; da/dz = 1 or exp(z). Source: torch.nn.ELU."""
    return _fused("elu", "elu", "Elu", lambda aten, d, z, a, out: aten(d, 1.0, 1, 1, False, z, grad_input=out))


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu() -> Activation:
    """Self-normalising unit: a = s z where z > 0, else s α (exp(z) − 1), s = 1.0507, α = 1.6733.

    da/dz = s or s α exp(z). Source: Klambauer et al. 2017; torch.nn.SELU.
    """
    return _fused(
        "selu", "elu", "Elu", lambda aten, d, z, a, out: aten(d, _SELU_ALPHA, _SELU_SCALE, 1, False, z, grad_input=out)
    )


def celu() -> Activation:
    """Continuously differentiable unit: a = max(0, z) + min(0, exp(z) − 1); da/dz = 1 or exp(z). torch.nn.CELU."""
    return _fused("celu", "elu", "Celu", lambda aten, d, z, a, out: aten(d, 1.0, 1, 1.0, False, z, grad_input=out))


def gelu() -> Activation:
    """Gaussian error linear unit: a = z Φ(z); da/dz = Φ(z) + z φ(z). Source: Hendrycks 2016; torch.nn.GELU."""
    return _fused("gelu", "gelu", "Gelu", lambda aten, d, z, a, out: aten(d, z, grad_input=out))


def sigmoid() -> Activation:
    """Logistic function: a = 1 / (1 + exp(−z)); da/dz = a (1 − a), at most 1/4. Source: torch.nn.Sigmoid."""
    return _fused("sigmoid", "sigmoid", "Sigmoid", lambda aten, d, z, a, out: aten(d, a, grad_input=out), needs_z=False)


def hardsigmoid() -> Activation:
    """Piecewise linear sigmoid: a = min(max(0, z + 3), 6) / 6; da/dz = 1/6 where −3 < z < 3. torch.nn.Hardsigmoid."""
    return _fused("hardsigmoid", "hardsigmoid", "Hardsigmoid", lambda aten, d, z, a, out: aten(d, z, grad_input=out))


def tanh() -> Activation:
    """Hyperbolic tangent: a = (1 − exp(−2z)) / (1 + exp(−2z)); da/dz = 1 − a². Source: torch.nn.Tanh."""
    return _fused("tanh", "tanh", "Tanh", lambda aten, d, z, a, out: aten(d, a, grad_input=out), needs_z=False)


def hardtanh() -> Activation:
    """Clipped identity: a = min(max(−1, z), 1); da/dz = 1 where −1 < z < 1, else 0. Source: torch.nn.Hardtanh."""
    return _fused("hardtanh", "hardtanh", "Hardtanh", lambda aten, d, z, a, out: aten(d, z, -1, 1, grad_input=out))


def silu() -> Activation:
    """Sigmoid-weighted unit (swish): a = z σ(z); da/dz = σ(z) (1 + z (1 − σ(z))). Source: torch.nn.SiLU."""
    return _fused("silu", "silu", "Silu", lambda aten, d, z, a, out: aten(d, z, grad_input=out))


def hardswish() -> Activation:
    """Piecewise swish: a = z min(max(0, z + 3), 6) / 6; da/dz = 0, z/3 + 1/2 or 1. Source: torch.nn.Hardswish."""
    return _fused("hardswish", "hardswish", "Hardswish", lambda aten, d, z, a, out: aten(d.clone(), z, out=out), "out")


def mish() -> Activation:
    """Mish: a = z t, t = tanh(softplus(z)); da/dz = t + z σ(z) (1 − t²). Source: Misra 2019; torch.nn.Mish."""
    return _fused("mish", "mish", "Mish", lambda aten, d, z, a, out: out.copy_(aten(d, z)), "default")


def softplus() -> Activation:
    """Smooth rectifier: a = log(1 + exp(z)), z itself above 20; da/dz = σ(z). Source: torch.nn.Softplus."""
    return _fused("softplus", "softplus", "Softplus", lambda aten, d, z, a, out: aten(d, z, 1, 20, grad_input=out))


def softsign() -> Activation:
    """Softsign: a = z / (1 + |z|); da/dz = 1 / (1 + |z|)². Source: torch.nn.Softsign."""
    import torch

    def backward(d: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
        # the quotient's two paths, in the order in which autograd adds them up
        scale = z.abs().add_(1)  # 1 + |z|
        through_denominator = (-d * ((z / scale) / scale)) * z.sgn()
        return torch.add(d / scale, through_denominator, out=out)

    return Activation(torch.nn.functional.softsign, backward, "Div")


def logsigmoid() -> Activation:
    """Log of the sigmoid: a = −log(1 + exp(−z)); da/dz = 1 − σ(z). Source: torch.nn.LogSigmoid."""
    import torch

    def backward(d: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
        buffer = torch.ops.aten.log_sigmoid_forward(z)[1]  # exp(−|z|) on CPU, empty on CUDA
        torch.ops.aten.log_sigmoid_backward.grad_input(d.clone(), z, buffer, grad_input=out)
        return out

    return Activation(torch.nn.functional.logsigmoid, backward, "LogSigmoid")


def tanhshrink() -> Activation:
    """Tanhshrink: a = z − tanh(z); da/dz = tanh²(z). Source: torch.nn.Tanhshrink."""
    import torch

    aten, forward = torch.ops.aten.tanh_backward, torch.nn.functional.tanhshrink
    return Activation(forward, lambda d, z, a, out: torch.add(d, aten(-d, z.tanh()), out=out), "Sub")


def softmax() -> Activation:
    """Softmax over the last axis: aᵢ = exp(zᵢ) / Σⱼ exp(zⱼ); dL/dz = a (d − Σⱼ dⱼ aⱼ). Source: torch.nn.Softmax."""
    import torch

    aten, forward = torch.ops.aten._softmax_backward_data.out, partial(torch.softmax, dim=-1)
    return Activation(forward, lambda d, z, a, out: aten(d.clone(), a, -1, a.dtype, grad_input=out), "Softmax")


def log_softmax() -> Activation:
    """Log of the softmax: aᵢ = zᵢ − log Σⱼ exp(zⱼ); dL/dz = d − exp(a) Σⱼ dⱼ. Source: torch.nn.LogSoftmax."""
    import torch

    aten, forward = torch.ops.aten._log_softmax_backward_data.out, partial(torch.log_softmax, dim=-1)
    return Activation(forward, lambda d, z, a, out: aten(d.clone(), a, -1, a.dtype, out=out), "LogSoftmax")


def sign_ste() -> Activation:
    """Sign with a straight-through gradient: a = sign(z); its derivative, 0 almost everywhere, is replaced.

    da/dz := 1 where −1 ≤ z ≤ 1, else 0, the derivative of hard tanh. Source: Bengio et al. 2013.
    """
    import torch

    class SignSte(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):  # type: ignore[no-untyped-def]  # torch's own contract has no types
            ctx.save_for_backward(z)
            return z.sign()

        @staticmethod
        def backward(ctx, d):  # type: ignore[no-untyped-def]
            return d * (ctx.saved_tensors[0].abs() <= 1)

    return Activation(SignSte.apply, lambda d, z, a, out: torch.mul(d, z.abs() <= 1, out=out), "SignSte")


ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    function.__name__: function
    for function in (
        none, relu, leaky_relu, relu6, elu, selu, celu, gelu, sigmoid, hardsigmoid, tanh, hardtanh, silu, hardswish,
        mish, softplus, softsign, logsigmoid, tanhshrink, softmax, log_softmax, sign_ste,
    )
}  # fmt: skip
