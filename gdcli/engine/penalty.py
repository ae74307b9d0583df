"""The penalty on weights: part of the loss that is trained, and of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from gdcli.engine.kernels.base import Kernel
from gdcli.engine.theta import ParamSlice, Theta
from gdcli.spec.models import is_weight
from gdcli.spec.sections import Penalty


def penalty_of(values: Tensor, trained: Sequence[ParamSlice], penalty: Penalty) -> Tensor:
    """Return λ₁ Σ|w| + λ₂ Σw² over the trained weights, for rows of theta [R, P]: [R]."""
    weights = [values[:, slot.start : slot.stop] for slot in trained if is_weight(slot.shape)]
    found = values.new_zeros(len(values))
    if penalty.l1:
        found += penalty.l1 * torch.stack([weight.abs().sum(1) for weight in weights]).sum(0)
    if penalty.l2:
        found += penalty.l2 * torch.stack([weight.square().sum(1) for weight in weights]).sum(0)
    return found


class Penalized:
    """A kernel with a penalty: dL/dw gets 2 λ₂ w + λ₁ sign(w), sign(0) = 0, and the losses of steps the penalty.

    What it gives for rows that are held out, and for outputs in general, is the loss without it: see ``value``.
    """

    def __init__(self, kernel: Kernel, theta: Theta, penalty: Penalty) -> None:
        self._kernel, self._theta, self._penalty = kernel, theta, penalty
        self.arranged, self.forward, self.by_run = kernel.arranged, kernel.forward, kernel.by_run
        self.loss_of = kernel.loss_of
        slots = [slot for slot in theta.trained if is_weight(slot.shape)]
        largest = torch.finfo(theta.stored.dtype).max  # torch refuses a factor beyond it
        self._l1, self._l2 = (inf if factor > largest else factor for factor in (penalty.l1, 2 * penalty.l2))
        self._pairs = [theta.stretch(slot.start, slot.stop) for slot in slots]

    def value(self) -> Tensor:
        """Return the penalty [R] on the weights as they are now."""
        return penalty_of(self._theta.values, self._theta.trained, self._penalty)

    def step(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Return what :meth:`losses` takes, and the output of a batch; write the gradient into theta."""
        loss, output = self._kernel.step(x, y)
        for weight, gradient in self._pairs:
            if self._l2:
                gradient.add_(weight, alpha=self._l2)
            if self._l1:
                gradient.add_(weight.sign(), alpha=self._l1)
        return (loss, self.value()), output

    def losses(self, steps: Sequence[Any]) -> Tensor:
        """Return the losses [K, R] of K steps, the penalty added."""
        return self._kernel.losses([loss for loss, _ in steps]) + torch.stack([value for _, value in steps])
