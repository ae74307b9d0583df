"""What the kernels share: their interface, layers on theta, the chain's forward pass, losses of all runs at once.

Forward and backward of one batch are computed for every run, the gradients written into theta. For one run there are
`single`, the plain loop's bits by hand, and `autograd`, any model. For fleets: `elementwise` serves tiny layers, runs
innermost, the matrix products as elementwise operations; `batched` all other chains, runs leading, torch's bmm and
baddbmm; `autograd` the functions of variables.

The bits of a fleet's run do not depend on how many runs there are nor on its place among them: every run's matrices
begin at 64 bytes, and elementwise functions work on whole vectors, since torch's loop over the rest of a row rounds
differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gdcli.engine.theta import Theta
from gdcli.zoo.activations import ACTIVATIONS, Activation
from gdcli.zoo.losses import Loss, Pointwise
from gdcli.zoo.models import Chain

KernelStep = Callable[[Tensor, Tensor], tuple[Any, Tensor]]
Pass = Callable[[Tensor], Tensor]
AtOutput = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (o, t) -> losses or differences, dL/do

KEPT_DIFFERENCES = 256
"""A batch's outputs up to which the differences of a block's steps are kept: 1 MiB a block in float32."""


class Kernel(Protocol):
    """Forward and backward of one model with one loss on all R runs of theta."""

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows as :meth:`step` takes them, from x [B, D] and y [B, O] or [B], or with [R, ...] in front."""

    def step(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Return what :meth:`losses` takes, and the output; write the gradient into theta.

        Either may still carry autograd's graph: detach what is kept.
        """

    def losses(self, steps: Sequence[Any]) -> Tensor:
        """Return the losses [K, R] of K steps from what :meth:`step` gave for each."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for arranged x, without training: dropout off, no graph."""

    def by_run(self, output: Tensor) -> Tensor:
        """Return an output as [R, B, O]."""

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss [R] of outputs for arranged targets."""


@dataclass(frozen=True, slots=True)
class AffineLayer:
    """One affine layer a = f(x Wᵀ + b) on theta, and where its gradients go (None: frozen)."""

    weight: Tensor  # [O, I] of one run; of a fleet [O, I, R] or [R, O, I]
    bias: Tensor | None  # [O]; [O, R] or [R, O]; one entry for a shared bias
    weight_gradient: Tensor | None
    bias_gradient: Tensor | None
    activation: Activation
    name: str  # of the activation


@dataclass(frozen=True, slots=True)
class FleetLayout:
    """Where the runs lie in rows, outputs and weights, and the passes of layers that follow from it."""

    axis: int  # of the runs, in outputs
    arranged: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]  # (x, y, R), as `Kernel.arranged`
    by_run: Pass
    forward: Callable[..., Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]
    """(layer, B, like, is_last) -> a -> weighted sum and output as the way back needs them, and the output."""
    back: Callable[..., Callable[..., Tensor]]
    """(layer, B, like, is_first) -> (d, *trail) -> gradient at the layer's input; writes the layer's gradients."""
    of_one_row: Callable[..., Any] | None = None  # a step, and its ``forward``, of a single row on the host


class FleetLosses:
    """The losses of all runs of a fleet: outputs are [R, B, O] or [O, B, R], ``axis`` that of the runs."""

    def __init__(self, loss: Loss, axis: int, runs: int) -> None:
        self._loss, self._axis, self._runs = loss, axis, runs

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss [R] of outputs: Σ terms / divisor."""
        terms = self._loss.terms(output, y)
        axes = tuple(axis for axis in range(terms.ndim) if axis != self._axis % output.ndim)
        return torch.sum(terms, axes) / self._loss.divisor(terms.numel() // self._runs)

    def losses(self, steps: Sequence[Any]) -> Tensor:
        """Return the losses [K, R] of K steps, worked out at once where differences were kept."""
        first = steps[0]  # the last batch of an epoch may be smaller, and then of another kind
        if not all(step is first or (step.shape == first.shape and type(step) is type(first)) for step in steps):
            return torch.cat([self._of_alike([step]) for step in steps])
        return self._of_alike(steps)

    def _of_alike(self, steps: Sequence[Any]) -> Tensor:
        if isinstance(steps[0], np.ndarray):
            joined = np.concatenate(steps).reshape(len(steps), *steps[0].shape)  # a fifth of what np.stack takes
            return self._of_differences(torch.from_numpy(joined))
        kept = torch.stack([*steps])
        return self._of_differences(kept) if self._loss.is_squared and steps[0].ndim > 1 else kept

    def _of_differences(self, kept: Tensor) -> Tensor:
        axis = self._axis % (kept.ndim - 1) + 1
        if axis == 3 and kept.shape[1] * kept.shape[2] <= 2:  # a sum of two has one order: no need to turn them
            return self._loss.of_differences(kept.flatten(1, 2))
        rows = kept.movedim(axis, 1).flatten(2).contiguous()  # [K, R, N]; strides give sums of one step another order
        return self._loss.of_differences(rows.view(-1, rows.shape[2])).view(rows.shape[:2])

    def at_output(self, one_run: Tensor) -> AtOutput:
        """Return (o, t) -> losses or differences, and dL/do, from the shape of one run's output [B, O]."""
        apart = at_output(self._loss, self.loss_of, one_run)
        if self._loss.joint is None:
            return apart
        both, divisor = self._loss.joint(one_run), self._loss.divisor

        def at_classes(o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            if t.is_floating_point():  # rows of class probabilities
                return apart(o, t)
            terms, d = both(o, t)  # a term for each row [R, B]
            return torch.sum(terms, 1) / divisor(terms.shape[1]), d

        return at_classes


class FleetChain:
    """The kernel of a fleet of chains: forward and backward in one layout, a plan per shape of the batch."""

    def __init__(self, theta: Theta, chain: Chain, loss: Loss, layout: FleetLayout) -> None:
        self._layers, self._like, self._runs = layers_on(theta, chain), theta.stored, theta.values.shape[0]
        self._layout, self._loss, self._outputs = layout, loss, chain.layers[-1].outputs
        self._plans: dict[tuple[int, ...], KernelStep] = {}
        self._passes: dict[tuple[int, ...], Pass] = {}
        self._rows: Tensor | None = None  # of the last step, and its plan: a shape as a key costs as much as a product
        self._now: KernelStep
        self.by_run, self._losses = layout.by_run, FleetLosses(loss, layout.axis, self._runs)
        self.loss_of, self.losses = self._losses.loss_of, self._losses.losses

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows in the layout."""
        return self._layout.arranged(x, y, self._runs)

    def prepare(self, x: Tensor) -> None:
        """Make the plan for batches of this shape."""
        self._plans.setdefault(x.shape, self._plan(x))

    def step(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Return losses [R] or differences, and output; write the gradient into theta."""
        if x is not self._rows:
            self._rows, plan = x, self._plans.get(x.shape)
            self._now = plan if plan is not None else self._plans.setdefault(x.shape, self._plan(x))
        return self._now(x, y)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for arranged x."""
        found = self._passes.get(x.shape)
        if found is None:
            found = self._passes[x.shape] = self._pass(x.shape[1])[0]
        return found(x)

    def _pass(self, rows: int) -> tuple[Pass, Trail]:
        """Return the forward pass, and its trail."""
        last = self._layers[-1]
        plan = [self._layout.forward(layer, rows, self._like, is_last=layer is last) for layer in self._layers]
        trail: Trail = []

        def forward(a: Tensor) -> Tensor:
            trail.clear()
            for each in plan:
                z, after, output = each(a)
                trail.append((a, z, after))
                a = output
            return a

        return forward, trail

    def _plan(self, x: Tensor) -> KernelStep:
        layers, rows, layout = self._layers, x.shape[1], self._layout
        one_run = self._like.new_empty((rows, self._outputs))
        at_output = self._losses.at_output(one_run)
        if layout.of_one_row is not None and rows == 1 and x.device.type == "cpu":
            plan = layout.of_one_row(layers, self._like, factor_of(self._loss, one_run), at_output)
            self._passes.setdefault(x.shape, plan.forward)
            return plan  # type: ignore[no-any-return]  # a step with a ``forward``
        forward, trail = self._pass(rows)
        first = first_trained(layers)
        backward = [layout.back(layer, rows, self._like, is_first=k == first) for k, layer in enumerate(layers)]

        def step(x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
            output = forward(x)
            loss, d = at_output(output, y)
            for k in range(len(trail) - 1, first - 1, -1):
                d = backward[k](d, *trail[k])
            return loss, output

        return step


def layers_on(theta: Theta, chain: Chain) -> list[AffineLayer]:
    """Bind a chain's layers to their views of theta."""
    views = {slot.name: (theta.view(slot), theta.gradient_view(slot)) for slot in theta.slots}
    layers = []
    for affine in chain.layers:
        weight, into_weight = views[f"{affine.name}weight"]
        bias, into_bias = views.get(f"{affine.name}bias", (None, None))
        activation = ACTIVATIONS[affine.activation]()
        layers.append(AffineLayer(weight, bias, into_weight, into_bias, activation, affine.activation))
    return layers


def first_trained(layers: Sequence[AffineLayer]) -> int:
    """Return the first layer with a gradient; below it none is needed."""
    trained = [layer.weight_gradient is not None or layer.bias_gradient is not None for layer in layers]
    return trained.index(True) if any(trained) else len(layers)


def is_over_rows(activation: str) -> bool:
    """Say whether an activation looks at a whole row of units."""
    return activation in ("softmax", "log_softmax")


Trail = list[tuple[Tensor, Tensor, Tensor]]
"""Input [B, I], weighted sum [B, O] and output [B, O] of each layer, for the way back."""

ChainPass = Callable[..., Tensor]  # (x [B, D], trail: Trail | None = None) -> [B, O]


def affine_chain(
    layers: Sequence[tuple[Tensor, Tensor | None, Callable[[Tensor], Tensor] | None, Tensor | None]],
) -> ChainPass:
    """Return the forward pass of one run's chain from each layer's Wᵀ [I, O], b, activation and memory for its z.

    The products are those that nn.functional.linear makes, without its node for the transpose in every pass.
    """
    plan = [
        (transposed, bias, activation, into(torch.mm if bias is None else torch.addmm, room))
        for transposed, bias, activation, room in layers
    ]

    def forward(x: Tensor, trail: Trail | None = None) -> Tensor:
        for transposed, bias, activation, product in plan:
            z = product(x, transposed) if bias is None else product(bias, x, transposed)
            after = z if activation is None else activation(z)
            if trail is not None:
                trail.append((x, z, after))
            x = after
        return x

    return forward


def into(product: Callable[..., Tensor], room: Tensor | None) -> Callable[..., Tensor]:
    """Return a product that writes into memory where there is some; `out=None` costs a tenth of a small one."""
    return product if room is None else partial(product, out=room)


def factor_of(loss: Loss, output: Tensor) -> float | None:
    """Return c where dL/do = c (o − t) and differences are kept instead of losses, by one run's output; else None."""
    return loss.factor(output.numel()) if loss.is_squared and output.numel() <= KEPT_DIFFERENCES else None


def at_output(loss: Loss, value: Pointwise, output: Tensor) -> AtOutput:
    """Return (o, t) -> losses or differences, and dL/do, from the shape of one run's output [B, O]."""
    number, derivative = factor_of(loss, output), loss.derivative(output)
    if number is None:
        return lambda o, t: (value(o, t), derivative(o, t))
    sub, mul = torch.sub, torch.mul
    if number == 1:
        return lambda o, t: (d := sub(o, t), d)
    scale = output.new_tensor(number)
    return lambda o, t: (d := sub(o, t), mul(d, scale))
