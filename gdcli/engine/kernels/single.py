"""The kernel for one run by hand: autograd's order of operations without a graph, and so the bits of a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gdcli.engine.kernels.base import (
    AffineLayer,
    AtOutput,
    ChainPass,
    KernelStep,
    Trail,
    affine_chain,
    at_output,
    first_trained,
    into,
    layers_on,
)
from gdcli.engine.theta import Theta
from gdcli.engine.watched import Place, WatchedGradients
from gdcli.zoo.activations import Backward
from gdcli.zoo.losses import Loss
from gdcli.zoo.models import Chain

LARGE = 16_384
"""Numbers from which on a batch's values in a layer are written over those of the batch before: what is at hand in the
processor's caches stays there."""


class Single:
    """Backward by hand for one run.

    δ_L = dL/do · f'(z_L), δ_k = δ_{k+1} W_{k+1} · f'(z_k), dW_k = δ_kᵀ a_{k−1}, db_k = Σ δ_k.

    The products are torch's mm and addmm with the operands as autograd has them. A plan per batch size holds the
    buffers of δ, their transposed views and the loss's constants.
    """

    def __init__(self, theta: Theta, chain: Chain, loss: Loss, watched: WatchedGradients | None = None) -> None:
        self._layers = layers_on(theta, chain)
        self._loss, self._watched = loss, watched
        self._plans: dict[int, KernelStep] = {}
        plan = [(layer.weight.t(), layer.bias, layer.activation.forward, None) for layer in self._layers]
        self.forward = affine_chain(plan)

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One run takes its rows as they are."""
        return x, y

    def by_run(self, output: Tensor) -> Tensor:
        """Return [B, O] as [1, B, O]."""
        return output.unsqueeze(0)

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss [1] of outputs [B, O]."""
        return self._loss.value(output, y).view(1)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss, or difference, and output of a batch; write the gradient into theta."""
        rows = x.shape[0]
        plan = self._plans.get(rows)
        if plan is None:
            plan = self._plans[rows] = self._plan(x, y)
        return plan(x, y)

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K, 1] of K steps, worked out at once where differences o − t [B, O] were kept."""
        of_differences = self._loss.of_differences
        if len({step.shape for step in steps}) == 1:
            losses = torch.stack([*steps])
            if self._loss.is_squared and losses.ndim > 1:
                losses = of_differences(losses.flatten(1))
        else:  # the last batch of an epoch may be smaller, and then of the kind whose differences are kept
            losses = torch.cat([of_differences(step.reshape(1, -1)) if step.ndim else step.view(1) for step in steps])
        return losses.unsqueeze(1)

    def _plan(self, x: Tensor, y: Tensor) -> KernelStep:
        loss_and_derivative = None if y.is_floating_point() else self._loss.once
        if loss_and_derivative is None:
            loss_and_derivative = at_output(self._loss, self._loss.value, self.forward(x))
        if self._watched is not None:
            return self._watching(x, self._watched, loss_and_derivative)
        first, rooms = first_trained(self._layers), [_room(layer, x) for layer in self._layers]
        backward = [
            _back(layer, x, is_first=k == first, delta=rooms[k], below=rooms[k - 1] if k else None)
            for k, layer in enumerate(self._layers)
            if k >= first
        ][::-1]
        forward = self._overwriting(x)

        def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            trail: Trail = []
            a = forward(x, trail)
            loss, d = loss_and_derivative(a, y)
            for back in backward:
                d = back(d, *trail.pop())
            return loss, a

        return step

    def _overwriting(self, x: Tensor) -> ChainPass:
        """Return the forward pass whose hidden layers overwrite what they were for the batch before, where large.

        The output is a tensor of its own.
        """
        plan = []
        for layer in self._layers:
            room, activation = None if layer is self._layers[-1] else _room(layer, x), layer.activation
            forward = activation.forward if room is None or activation.in_place is None else activation.in_place
            plan.append((layer.weight.t(), layer.bias, forward, room))
        return affine_chain(plan)

    def _watching(self, x: Tensor, watched: WatchedGradients, loss_and_derivative: AtOutput) -> KernelStep:
        """Return the same step, which also puts dL/da and dL/dz where they are watched, down to the lowest of them."""
        layers, forward = self._layers, self.forward
        first = min([first_trained(layers), *(k - is_net for k, is_net in map(_of_chain, watched.places))])
        backward = []
        for k in range(len(layers) - 1, first - 1, -1):
            at_input, at_net = watched.at((k, False)), watched.at((k + 1, True))
            is_last = k == first and at_input is None
            backward.append((_back(layers[k], x, is_first=is_last, at_net=at_net), at_input))
        at_end = watched.at((len(layers), False))

        def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            trail: Trail = []
            watched.begin(len(x))
            a = forward(x, trail)
            loss, d = loss_and_derivative(a, y)
            if at_end is not None:
                at_end(d)
            for back, at_input in backward:
                d = back(d, *trail.pop())
                if at_input is not None:
                    at_input(d)
            return loss, a

        return step


def _of_chain(place: Place) -> tuple[int, bool]:
    assert isinstance(place, tuple)
    return place


def _noted(activation: Backward, at_net: Callable[[Tensor], None]) -> Backward:
    """Return an activation's way back which tells the gradient at the weighted sum."""

    def noted(*given: Tensor) -> Tensor:
        d = activation(*given)
        at_net(d)
        return d

    return noted


def _room(layer: AffineLayer, x: Tensor) -> Tensor | None:
    """Return memory [B, O] for a layer's z or δ in every step, None where new memory costs as little."""
    shape = len(x), len(layer.weight)
    return x.new_empty(shape) if len(x) > 1 and shape[0] * shape[1] >= LARGE else None


def _back(
    layer: AffineLayer, x: Tensor, *, is_first: bool, at_net: Callable[[Tensor], None] | None = None,
    delta: Tensor | None = None, below: Tensor | None = None,
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:  # fmt: skip
    """Return (d, a_in, z, a_out) -> gradient at the layer's input, which also writes the layer's gradients.

    ``delta`` is memory for δ [B, O], in which d may lie already; ``below`` for the gradient at the input [B, I].
    """
    mm, total, product = torch.mm, torch.sum, into(torch.mm, below)
    weight, into_weight, into_bias = layer.weight, layer.weight_gradient, layer.bias_gradient
    activation = layer.activation.backward
    if activation is not None and at_net is not None:
        activation = _noted(activation, at_net)
    if delta is None:
        delta = x.new_empty((len(x), weight.shape[0]))  # δ [B, O]
    axes: int | tuple[int, int] = 0
    zero = None
    if into_bias is not None and into_bias.shape != weight.shape[:1]:  # [1], shared: summed over the units too
        axes, into_bias = (0, 1), into_bias.view(())
    elif into_bias is not None and activation is not None and len(x) == 1:
        # the sum over one row is 0 + δ, which differs from δ in the sign of a zero alone: δ is made where it goes
        delta, into_bias, zero = into_bias.view(1, -1), None, x.new_zeros(())
    transposed = delta.t()
    # autograd takes an input of one number for a column-major one, and then multiplies the transposed operands
    is_number, weight_t = len(x) == weight.shape[1] == 1, weight.t()

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
        at_input = d if is_first else mm(weight_t, d.t()).t() if is_number else product(d, weight)
        if zero is not None:
            d.add_(zero)  # last: the products take δ as it is
        return at_input

    return back
