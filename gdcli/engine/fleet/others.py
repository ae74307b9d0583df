"""Kernels for what has no backward pass by hand: objectives, and torch's own layers through vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gdcli.engine.kernels import run_backward
from gdcli.engine.theta import Theta
from gdcli.zoo.losses import Loss


class Objectives:
    """An expression's value and gradient for all runs: every variable is a vector [R], one backward pass for all."""

    def __init__(self, theta: Theta, value: Callable[[Sequence[Tensor]], Tensor], *, bare: bool) -> None:
        rows = theta.stored.unbind(0)
        self._leaves = [rows[slot.start].detach().requires_grad_(slot.trained) for slot in theta.slots]
        self._wanted = tuple(leaf for leaf in self._leaves if leaf.requires_grad)
        into = [view for slot in theta.slots if (view := theta.gradient_of_all(slot)) is not None]
        self._into = [view.view(-1) for view in into]
        self._value, self._bare = value, bare
        self._ones = torch.ones_like(rows[0]) if rows else torch.ones(0)

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """An objective has no rows."""
        return x, y

    def by_run(self, output: Tensor) -> Tensor:
        """Return the values [R] as [R, 1, 1]."""
        return output.reshape(-1, 1, 1)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values [R] twice; write the gradient into theta."""
        loss = self._values()
        if self._wanted:
            torch._foreach_copy_(self._into, run_backward((loss,), (self._ones,), self._wanted))
        loss = loss.detach()
        return loss, loss

    def _values(self) -> Tensor:
        value = self._value(self._leaves)
        return value.clone() if self._bare else value  # x by itself must not be theta's own memory

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the values [K, R]."""
        return torch.stack([*steps])

    def forward(self, x: Tensor) -> Tensor:
        """Return the values [R]."""
        with torch.no_grad():
            return self._values()

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """The value is the loss."""
        return output


class Vmapped:
    """Torch's own layers for all runs: torch.func's vmap over the gradient of one run."""

    def __init__(self, theta: Theta, module: torch.nn.Module, loss: Loss) -> None:
        self._theta, self._module, self._loss = theta, module, loss
        self._runs = theta.values.shape[0]
        self._trained = {slot.name: theta.of_all(slot) for slot in theta.slots if slot.trained}
        self._frozen = {slot.name: theta.of_all(slot) for slot in theta.slots if not slot.trained}
        self._into = {slot.name: theta.gradient_of_all(slot) for slot in theta.slots if slot.trained}
        with_output = torch.func.grad_and_value(self._one, has_aux=True)
        self._step = torch.func.vmap(with_output, in_dims=(0, 0, 0, 0))
        self._forward = torch.func.vmap(self._output, in_dims=(0, 0, 0))

    def _output(self, trained: dict[str, Tensor], frozen: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(self._module, {**trained, **frozen}, (x,))
        return output

    def _one(
        self, trained: dict[str, Tensor], frozen: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        output = self._output(trained, frozen, x)
        return self._loss.value(output, y), output

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of every run."""
        per_run = x.ndim > 2
        return (x, y) if per_run else (x.expand(self._runs, *x.shape), y.expand(self._runs, *y.shape))

    def by_run(self, output: Tensor) -> Tensor:
        """Return [R, B, O] as it is."""
        return output

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses [R] and outputs [R, B, O]; write the gradient into theta."""
        gradients, (losses, output) = self._step(self._trained, self._frozen, x, y)
        for name, into in self._into.items():
            assert into is not None
            into.copy_(gradients[name])
        return losses.detach(), output.detach()

    def losses(self, steps: Sequence[Tensor]) -> Tensor:
        """Return the losses [K, R]."""
        return torch.stack([*steps])

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [R, B, O]."""
        with torch.no_grad():
            found: Tensor = self._forward(self._trained, self._frozen, x)
            return found

    def loss_of(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss [R] of outputs."""
        with torch.no_grad():
            found: Tensor = torch.func.vmap(self._loss.value)(output, y)
            return found
