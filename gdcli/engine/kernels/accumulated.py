"""The kernel of a step in several passes: gradients of small batches, added up to that of all their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from gdcli.engine.batches import aligned
from gdcli.engine.kernels.base import FleetChain, Kernel
from gdcli.engine.kernels.vmapped import Vmapped
from gdcli.engine.theta import Theta
from gdcli.engine.watched import WatchedGradients
from gdcli.zoo.losses import Loss

Passes = tuple[Tensor, ...]
"""The rows of a step, or the outputs for them, pass by pass."""

Share = float | Tensor  # of a pass in the step's loss; [R] or no axis where it depends on the targets


class Accumulated:
    """A kernel whose steps are cut into passes of at most so many rows.

    L = Σ wₖ Lₖ / Σ wₖ and its gradient likewise, wₖ the rows of pass k, or the sum of their classes' weights; of a loss
    that is a sum over the rows, L = Σ Lₖ. Both are those of one batch of all rows, within rounding.
    """

    def __init__(
        self, kernel: Kernel, theta: Theta, loss: Loss, rows: int, watched: WatchedGradients | None = None,
        row_axes: int = 1,
    ) -> None:  # fmt: skip
        """``row_axes``: how many axes a row of inputs has."""
        self._kernel, self._loss, self._rows, self._watched = kernel, loss, rows, watched
        self._gradient = theta.gradient  # [R, T]
        self._total = torch.empty_like(self._gradient)
        self._has_runs, self._row_axes = isinstance(kernel, FleetChain | Vmapped), row_axes

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        """Return rows as passes, x and y of each as the kernel takes them."""
        axis = x.ndim - 1 - self._row_axes if self._has_runs else 0
        parts = zip(torch.split(x, self._rows, axis), torch.split(y, self._rows, axis), strict=True)
        xs, ys = zip(*(self._kernel.arranged(aligned(x), aligned(y)) for x, y in parts), strict=True)
        return xs, ys

    def step(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return what :meth:`losses` takes, and the outputs; write the gradient of all rows into theta."""
        if isinstance(x, Tensor):
            return self._kernel.step(x, y)
        kept, outputs, gradient, total = [], [], self._gradient, self._total
        for k, (xs, ys, share) in enumerate(zip(x, y, self._shares(y), strict=True)):
            loss, output = self._kernel.step(xs, ys)
            kept.append((loss, share))
            outputs.append(output.clone() if self._has_runs else output)  # a fleet's may be a buffer
            part = _counted(gradient, share.unsqueeze(-1).to(gradient.dtype) if isinstance(share, Tensor) else share)
            total.add_(part) if k else total.copy_(part)
            if self._watched is not None:
                self._watched.count(len(ys), partial(_counted, share=share))
        if self._watched is not None:
            self._watched.first = 0
        gradient.copy_(total)
        return kept, tuple(outputs)

    def _shares(self, y: Passes) -> Iterator[Share]:
        """Return the share of each pass in the step's loss."""
        if self._loss.sums:
            return iter([1.0] * len(y))
        weight = self._loss.weight
        if weight is not None and not y[0].is_floating_point():
            weights = [weight(each).sum(-1) for each in y]  # [R] or none
            whole = torch.stack(weights).sum(0)
            return (each / whole for each in weights)
        rows = [each.shape[1 if self._has_runs else 0] for each in y]
        return (count / sum(rows) for count in rows)

    def losses(self, steps: Sequence[Any]) -> Tensor:
        """Return the losses [K, R] of K steps."""
        if not isinstance(steps[0], list):
            return self._kernel.losses(steps)
        each = self._kernel.losses([loss for step in steps for loss, _ in step])  # [passes of all steps, R]
        shares = [share for step in steps for _, share in step]
        parts = list(map(_counted, each, shares))
        ends = accumulate(map(len, steps), initial=0)
        return torch.stack([torch.stack(parts[start:end]).sum(0) for start, end in pairwise(ends)])

    def forward(self, x: Any) -> Any:
        """Return the outputs, pass by pass."""
        return (
            self._kernel.forward(x)
            if isinstance(x, Tensor)
            else tuple(self._kernel.forward(each).clone() for each in x)
        )

    def by_run(self, output: Any) -> Tensor:
        """Return outputs as [R, B, O]."""
        if isinstance(output, Tensor):
            return self._kernel.by_run(output)
        return torch.cat(list(map(self._kernel.by_run, output)), dim=1)

    def loss_of(self, output: Any, y: Any) -> Tensor:
        """Return the loss [R] of outputs."""
        if isinstance(output, Tensor):
            return self._kernel.loss_of(output, y)
        losses = [self._kernel.loss_of(*pair) for pair in zip(output, y, strict=True)]
        parts = list(map(_counted, losses, self._shares(y)))
        return torch.stack(parts).sum(0)


def _counted(found: Tensor, share: Share) -> Tensor:
    """Return what a pass adds to a loss or gradient: 0 where its rows count nothing, whose mean is no number."""
    part = found * share
    return part.masked_fill_(share == 0, 0) if isinstance(share, Tensor) else part
