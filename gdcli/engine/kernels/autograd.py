"""The kernel for one run of any model, and for a fleet of objectives: gradients by torch.autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gdcli.engine.kernels.base import Pass, Trail, affine_chain
from gdcli.engine.own_module import places
from gdcli.engine.theta import Theta
from gdcli.engine.watched import GraphTaps
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import Loss
from gdcli.zoo.models import Chain, OwnModule


class Autograd:
    """Gradients by torch.autograd for any forward function of leaf tensors that are views of theta.

    Gradients are fetched from autograd's engine and copied into theta's flat gradient; torch.autograd.grad does the
    same behind checks that cost a fifth of a small step.
    """

    def __init__(
        self,
        theta: Theta,
        leaves: Sequence[Tensor],
        forward: Pass,
        loss: Callable[..., Tensor],
        module: torch.nn.Module | None = None,
        taps: GraphTaps | None = None,
    ) -> None:
        self._forward, self._loss, self._module, self._taps = forward, loss, module, taps
        self._leaves = tuple(leaf for leaf in leaves if leaf.requires_grad)
        into = [view for slot in theta.slots if (view := theta.gradient_view(slot)) is not None]
        # a leaf may be the transpose of its parameter, and then so is its gradient
        pairs = zip(into, self._leaves, strict=True)
        self._into = [
            view if view.shape == leaf.shape and view.stride() == leaf.stride() else view.t() for view, leaf in pairs
        ]
        self._one: Tensor | None = None
        self._run_backward = torch.autograd.Variable._execution_engine.run_backward  # what autograd.grad itself calls

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and output of a batch; write the gradient into theta."""
        if self._taps is not None:
            return self._watching(x, y, self._taps)
        output = self._forward(x)
        loss = self._loss(output, y)
        if self._leaves:
            if self._one is None:
                self._one = torch.ones_like(loss)
            gradients = self._run_backward(
                (loss,), (self._one,), False, False, self._leaves, allow_unreachable=True, accumulate_grad=False
            )
            self._keep(gradients)
        return loss.detach() if loss.ndim else loss, output  # no graphs of vectors are kept for a block

    def _watching(self, x: Tensor, y: Tensor, taps: GraphTaps) -> tuple[Tensor, Tensor]:
        """Make the same step, with the gradients at watched values too."""
        output = self._forward(taps.input(x))
        loss = self._loss(output, y)
        inputs, one, count = (*self._leaves, *taps.tensors()), torch.ones_like(loss), len(self._leaves)
        gradients = self._run_backward(
            (loss,), (one,), False, False, inputs, allow_unreachable=True, accumulate_grad=False
        )
        if count:
            self._keep(gradients[:count])
        taps.put(gradients[count:])
        return loss.detach(), output

    def _keep(self, gradients: Sequence[Tensor | None]) -> None:
        """Write gradients into theta; that of a parameter which the loss does not depend on is 0."""
        try:
            torch._foreach_copy_(self._into, gradients)  # type: ignore[arg-type]  # as a rule there is none
        except TypeError:
            for into, gradient in zip(self._into, gradients, strict=True):
                into.zero_() if gradient is None else into.copy_(gradient)

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One run takes its rows as they are; an objective has none."""
        return x, y

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K, R] of K steps."""
        return torch.stack([*steps]).detach().view(len(steps), -1)

    def by_run(self, output: Tensor) -> Tensor:
        """Return [B, O] as [1, B, O]; an objective's values are not asked for."""
        return output.detach().unsqueeze(0)

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss [R] of outputs [B, O], or of an objective's values [R]."""
        with torch.no_grad():
            return self._loss(output, y).view(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x without a graph, torch's own layers in evaluation mode."""
        with torch.no_grad():
            if self._module is None:
                return self._forward(x)
            self._module.eval()
            output = self._forward(x)
            self._module.train()
            return output


def on_chain(theta: Theta, chain: Chain, loss: Loss, taps: GraphTaps | None = None) -> Autograd:
    """Return the kernel of a chain whose leaves are each weight transposed, [I, O], and each bias."""
    leaves = leaves_on(theta, transposed=True)
    named = {slot.name: leaf for slot, leaf in zip(theta.slots, leaves, strict=True)}
    plan = [
        (named[f"{layer.name}weight"], named.get(f"{layer.name}bias"), ACTIVATIONS[layer.activation]().forward, None)
        for layer in chain.layers
    ]
    forward = affine_chain(plan)
    if taps is None:
        return Autograd(theta, leaves, forward, loss.value)

    def tapped(x: Tensor) -> Tensor:
        trail: Trail = []
        output = forward(x, trail)
        for k, (_, z, a) in enumerate(trail, 1):
            taps.found[k, True], taps.found[k, False] = z, a
        return output

    return Autograd(theta, leaves, tapped, loss.value, taps=taps)


def on_module(
    theta: Theta, module: torch.nn.Module | None, loss: Loss, own: OwnModule | None = None,
    taps: GraphTaps | None = None,
) -> Autograd:  # fmt: skip
    """Return the kernel of torch's own layers, or of a plugin's module.

    From now on it has theta's memory for its parameters.
    """
    assert module is not None
    leaves, owners = leaves_on(theta), places(module)
    module.to(device=theta.values.device)
    for index, slot in enumerate(theta.slots):
        leaves[index] = torch.nn.Parameter(leaves[index], requires_grad=slot.trained)
        for part, attribute in owners[slot.name]:
            setattr(part, attribute, leaves[index])
    if taps is not None:
        taps.listen(module)
    return Autograd(theta, leaves, module if own is None else partial(own.call, module), loss.value, module, taps)


def on_objective(theta: Theta, value: Callable[[Sequence[Tensor]], Tensor], *, bare: bool) -> Autograd:
    """Return the kernel of an objective, of one run or of a fleet, in which every variable is a vector [R].

    ``bare`` is x by itself, whose loss must not be theta's own memory.
    """
    leaves = leaves_on(theta)
    objective = (lambda x: value(leaves).clone()) if bare else (lambda x: value(leaves))
    return Autograd(theta, leaves, objective, lambda output, y: output)


def leaves_on(theta: Theta, *, transposed: bool = False) -> list[Tensor]:
    """Return theta's parameters as leaves of autograd's graph, in the model's order; matrices transposed if asked."""
    views = [theta.view(slot) for slot in theta.slots]
    turned = [view.t() if transposed and view.ndim == 2 else view for view in views]
    return [view.detach().requires_grad_(slot.trained) for view, slot in zip(turned, theta.slots, strict=True)]
