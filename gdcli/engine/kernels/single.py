"""Kernels: one interface, forward and backward of one batch, the gradient written into theta's flat gradient.

``single`` is the backward pass by hand for one run, in autograd's order of operations, so that it has the bits of the
plain torch loop without building a graph. ``autograd`` serves every other model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gdcli.engine.theta import Theta
from gdcli.zoo.activations import ACTIVATIONS, Activation
from gdcli.zoo.losses import Loss
from gdcli.zoo.models import Affine, Chain

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Forward = Callable[[Tensor], Tensor]
Pointwise = Callable[..., Tensor]

KEPT_DIFFERENCES = 256
"""A batch's outputs up to which the differences of a block's steps are kept: 1 MiB a block in float32."""


class Kernel(Protocol):
    """Forward and backward of one model with one loss on theta's first run."""

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss (0-dim) and output [B, O] of a batch x [B, D], y [B, O]; write the gradient into theta.

        Either may still carry autograd's graph: detach what is kept. In place of the loss there may be what
        :meth:`losses` makes it of.
        """

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K] of K steps from what :meth:`step` gave for each."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [B, O] for x [B, D], without training (dropout off, no graph)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One affine layer on theta: a = f(x Wᵀ + b), and where its gradients go (None: frozen)."""

    weight: Tensor  # [O, I]
    bias: Tensor | None  # [O] or [1]
    weight_gradient: Tensor | None
    bias_gradient: Tensor | None
    activation: Activation


def layers_on(theta: Theta, chain: Chain) -> list[Layer]:
    """Bind a chain's layers to their views of theta."""
    slots = {slot.name: slot for slot in theta.slots}

    def bind(affine: Affine) -> Layer:
        weight, bias = slots[f"{affine.name}weight"], slots.get(f"{affine.name}bias")
        return Layer(
            theta.view(weight),
            None if bias is None else theta.view(bias),
            theta.gradient_view(weight),
            None if bias is None else theta.gradient_view(bias),
            ACTIVATIONS[affine.activation](),
        )

    return [bind(affine) for affine in chain.layers]


def chain_forward(layers: Sequence[Layer]) -> Forward:
    """Return the forward pass x [B, D] -> [B, O] by torch's public functions, as a plain script writes it."""
    plan = [(layer.weight, layer.bias, layer.activation.forward) for layer in layers]
    linear = torch.nn.functional.linear

    def forward(x: Tensor) -> Tensor:
        for weight, bias, activation in plan:
            x = linear(x, weight, bias)
            if activation is not None:
                x = activation(x)
        return x

    return forward


class Single:
    """Backward by hand for one run.

    δ_L = dL/do · f'(z_L), δ_k = δ_{k+1} W_{k+1} · f'(z_k), dW_k = δ_kᵀ a_{k−1}, db_k = Σ δ_k.

    The products are torch's mm and addmm with the operands as autograd has them. A plan per batch size holds the
    buffers of δ, their transposed views and the loss's constants.
    """

    def __init__(self, theta: Theta, chain: Chain, loss: Loss) -> None:
        self._layers = layers_on(theta, chain)
        self._loss = loss
        self._plans: dict[int, Step] = {}
        self.forward: Forward = chain_forward(self._layers)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss, or difference, and output of a batch; write the gradient into theta."""
        rows = x.shape[0]
        plan = self._plans.get(rows)
        if plan is None:
            plan = self._plans[rows] = self._plan(x, y)
        return plan(x, y)

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K] of K steps, worked out at once where differences o − t [B, O] were kept."""
        squares = self._loss.of_differences
        if squares is None:
            return torch.stack([*steps])
        if len({step.shape for step in steps}) == 1:
            kept = torch.stack([*steps])
            return squares.losses(kept.flatten(1)) if kept.ndim > 1 else kept
        # the last batch of an epoch may be smaller, and then of the kind whose differences are kept
        return torch.cat([squares.losses(step.reshape(1, -1)) if step.ndim else step.view(1) for step in steps])

    def _loss_and_derivative(self, output: Tensor) -> tuple[Pointwise, Pointwise]:
        """Return (o, t) -> loss or difference, and (that, o, t) -> dL/do, for batches of this shape."""
        squares, derivative = self._loss.of_differences, self._loss.derivative(output)
        if squares is None or output.numel() > KEPT_DIFFERENCES:
            return self._loss.value, lambda loss, o, t: derivative(o, t)
        number = squares.factor(output.numel())
        if number == 1:
            return torch.sub, lambda d, o, t: d
        scale, mul = output.new_tensor(number), torch.mul
        return torch.sub, lambda d, o, t: mul(d, scale)

    def _plan(self, x: Tensor, y: Tensor) -> Step:
        value, derivative = self._loss_and_derivative(self.forward(x))
        forward = [(layer.bias, layer.weight, layer.weight.t(), layer.activation.forward) for layer in self._layers]
        trained = [k for k, layer in enumerate(self._layers) if _is_trained(layer)]
        first = trained[0] if trained else len(self._layers)  # below it no gradient is needed
        backward = [_back(layer, x, is_first=k == first) for k, layer in enumerate(self._layers) if k >= first][::-1]
        addmm, mm = torch.addmm, torch.mm

        def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            a = x
            trail: list[tuple[Tensor, Tensor, Tensor]] = []  # input [B, I], weighted sum [B, O], output [B, O]
            for bias, _, transposed, activation in forward:
                z = mm(a, transposed) if bias is None else addmm(bias, a, transposed)
                trail.append((a, z, a := z if activation is None else activation(z)))
            loss = value(a, y)
            if backward:
                d = derivative(loss, a, y)
                for back in backward:
                    d = back(d, *trail.pop())
            return loss, a

        return step


def _is_trained(layer: Layer) -> bool:
    return layer.weight_gradient is not None or layer.bias_gradient is not None


def _back(layer: Layer, x: Tensor, *, is_first: bool) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return (d, a_in, z, a_out) -> gradient at the layer's input, which also writes the layer's gradients."""
    mm, total = torch.mm, torch.sum
    weight, into_weight, into_bias = layer.weight, layer.weight_gradient, layer.bias_gradient
    activation = layer.activation.backward
    delta = x.new_empty((len(x), weight.shape[0]))  # δ [B, O]
    axes: int | tuple[int, int] = 0
    zero = None
    if into_bias is not None and into_bias.shape != weight.shape[:1]:  # [1], shared: summed over the units too
        axes, into_bias = (0, 1), into_bias.view(())
    elif into_bias is not None and activation is not None and len(x) == 1:
        # the sum over one row is 0 + δ, which differs from δ in the sign of a zero alone: δ is made where it goes
        delta, into_bias, zero = into_bias.view(1, -1), None, x.new_zeros(())
    transposed = delta.t()

    def back(d: Tensor, a_in: Tensor, z: Tensor, a_out: Tensor) -> Tensor:
        if activation is not None:
            d = activation(d, z, a_out, delta)
            d_t = transposed
        else:
            d_t = d.t()
        if into_weight is not None:
            mm(d_t, a_in, out=into_weight)
        if into_bias is not None:
            total(d, axes, out=into_bias)
        below = d if is_first else mm(d, weight)
        if zero is not None:
            d.add_(zero)  # last: the products take δ as it is
        return below

    return back


class Autograd:
    """Gradients by torch.autograd for any forward function of leaf tensors that are views of theta.

    Gradients are fetched from autograd's engine and copied into theta's flat gradient; torch.autograd.grad does the
    same behind checks that cost a fifth of a small step.
    """

    def __init__(
        self,
        theta: Theta,
        leaves: Sequence[Tensor],
        forward: Forward,
        loss: Callable[..., Tensor],
        module: torch.nn.Module | None = None,
    ) -> None:
        self._forward, self._loss, self._module = forward, loss, module
        self._leaves = tuple(leaf for leaf in leaves if leaf.requires_grad)
        into = [view for slot in theta.slots if (view := theta.gradient_view(slot)) is not None]
        # a leaf may be the transpose of its parameter, and then so is its gradient
        pairs = zip(into, self._leaves, strict=True)
        self._into = [
            view if view.shape == leaf.shape and view.stride() == leaf.stride() else view.t() for view, leaf in pairs
        ]
        self._one: Tensor | None = None

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and output of a batch; write the gradient into theta."""
        output = self._forward(x)
        loss = self._loss(output, y)
        if self._leaves:
            if self._one is None:
                self._one = torch.ones_like(loss)
            gradients = run_backward((loss,), (self._one,), self._leaves)
            torch._foreach_copy_(self._into, gradients)
        return loss, output

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K] of K steps."""
        return torch.stack([*steps]).detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x without a graph, torch's own layers in evaluation mode."""
        with torch.no_grad():
            if self._module is None:
                return self._forward(x)
            self._module.eval()
            output = self._forward(x)
            self._module.train()
            return output


def chain_on_leaves(chain: Chain, leaves: Mapping[str, Tensor]) -> Forward:
    """Return the forward pass on leaves of autograd's graph, each weight transposed, [I, O].

    nn.functional.linear takes a weight's transpose in every pass, one node more per layer, forward and backward. With
    the transpose as the leaf, the products and their order are the same.
    """
    plan = [
        (leaves[f"{layer.name}weight"], leaves.get(f"{layer.name}bias"), ACTIVATIONS[layer.activation]().forward)
        for layer in chain.layers
    ]
    addmm, mm = torch.addmm, torch.mm

    def forward(x: Tensor) -> Tensor:
        for weight, bias, activation in plan:
            x = mm(x, weight) if bias is None else addmm(bias, x, weight)
            if activation is not None:
                x = activation(x)
        return x

    return forward


def leaves_on(theta: Theta, *, transposed: bool = False) -> list[Tensor]:
    """Return theta's parameters as leaves of autograd's graph, in the model's order; matrices transposed if asked."""
    views = [theta.view(slot) for slot in theta.slots]
    turned = [view.t() if transposed and view.ndim == 2 else view for view in views]
    return [view.detach().requires_grad_(slot.trained) for view, slot in zip(turned, theta.slots, strict=True)]


def run_backward(outputs: tuple[Tensor, ...], seeds: tuple[Tensor, ...], leaves: tuple[Tensor, ...]) -> Any:
    """Return the gradients of outputs at leaves, by autograd's engine itself."""
    engine = torch.autograd.Variable._execution_engine  # what autograd.grad itself calls
    return engine.run_backward(outputs, seeds, False, False, leaves, allow_unreachable=True, accumulate_grad=False)
