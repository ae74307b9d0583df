"""The kernel for objectives: an expression of vectors, one entry per run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gdcli.engine.kernels.autograd import run_backward
from gdcli.engine.theta import Theta


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

    def prepare(self, x: Tensor) -> None:
        """There is nothing to make."""

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
