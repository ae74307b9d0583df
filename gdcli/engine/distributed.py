"""The kernel of a run on several processes: each works on its rows of a batch, and all have the sum."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gdcli.engine.batches import aligned
from gdcli.engine.kernels.base import Kernel
from gdcli.engine.process_group import EXTRA, ProcessGroup
from gdcli.engine.theta import Theta
from gdcli.zoo.data import generator
from gdcli.zoo.losses import Loss


class OwnRows(NamedTuple):
    """Inputs of a batch: those of this process as the kernel takes them, None where it has none."""

    own: Any
    part: slice  # which rows of the batch they are
    rows: int  # of the batch


class OwnTargets(NamedTuple):
    """Targets of a batch, and what the rows of this process count in its loss."""

    own: Any
    share: float
    whole: Tensor  # the targets of all rows


class OwnOutput(NamedTuple):
    """The output of a step for the rows of this process, None where they count nothing."""

    own: Any
    part: slice
    rows: int


def draw_apart(seed: int, rank: int) -> None:
    """Give torch's generator of each rank but the first, which goes on, a seed of its own: dropout draws from it."""
    if rank:
        torch.manual_seed(int(generator(seed, "ranks").integers(2**63, size=rank)[-1]))


class Distributed:
    """A kernel whose batches are shared by W processes; every one gets the gradient, losses and outputs of all rows.

    g = Σ s_r g_r and L = Σ s_r L_r over ranks r, s_r the share of its rows, or of their classes' weights; 1 of a loss
    that is a sum over the rows. The gradients are summed once a step, flat, the losses once a block of steps. The
    parameters stay the same in all processes, since all make the same update.

    Source: Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training.
    """

    def __init__(
        self, kernel: Kernel, theta: Theta, loss: Loss, group: ProcessGroup, first: tuple[Tensor, Tensor]
    ) -> None:
        """``first`` is a row of x and y, from which the width of an output is found."""
        self._kernel, self._loss, self._group = kernel, loss, group
        self._gradient = theta.stored_gradient  # [1, T]
        self._flat = theta.stored.new_zeros(theta.room + EXTRA)
        self._sum = self._flat[: theta.room].view(1, -1)
        self._width = kernel.by_run(kernel.forward(kernel.arranged(*first)[0])).shape[-1]

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        """Return rows as :meth:`step` takes them, from all rows of a batch."""
        rows = len(x)
        part = self._group.part(rows)
        if part.start == part.stop:
            return OwnRows(None, part, rows), OwnTargets(None, 0.0, y)
        xs, ys = self._kernel.arranged(aligned(x[part]), aligned(y[part]))
        return OwnRows(xs, part, rows), OwnTargets(ys, self._share(y, part), y)

    def _share(self, y: Tensor, part: slice) -> float:
        """Return what rows count in the loss of all. Synchronises with the device where classes have weights."""
        if self._loss.sums:
            return 1.0
        if self._loss.weight is None or y.is_floating_point():
            return len(y[part]) / len(y)
        weights = self._loss.weight(y)
        whole = float(weights.sum())
        return float(weights[part].sum()) / whole if whole else nan

    def step(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return what :meth:`losses` takes, and the output; write the gradient of all rows into theta."""
        kept = output = None
        if x.own is None or y.share == 0:  # a mean over nothing is no number
            self._sum.zero_()
        else:
            kept, output = self._kernel.step(x.own, y.own)
            torch.mul(self._gradient, y.share, out=self._sum)
        self._group.sum_step(self._flat)
        self._gradient.copy_(self._sum)
        return (kept, y.share), OwnOutput(output, x.part, x.rows)

    def losses(self, steps: Sequence[Any]) -> Tensor:
        """Return the losses [K, 1] of K steps, of all rows each."""
        found = self._flat.new_zeros((len(steps), 1), dtype=torch.float64)
        own = [k for k, (kept, _) in enumerate(steps) if kept is not None]
        if own:
            shares = found.new_tensor([steps[k][1] for k in own]).unsqueeze(1)
            found[own] = self._kernel.losses([steps[k][0] for k in own]).double() * shares
        self._group.sum(found)
        return found.to(self._flat.dtype)

    def forward(self, x: Any) -> Tensor:
        """Return the output [B, O] for all rows, of which each process makes its own."""
        return self._joined(None if x.own is None else self._kernel.forward(x.own), x.part, x.rows)[0]

    def by_run(self, output: Any) -> Tensor:
        """Return the output of all rows as [1, B, O]."""
        return self._joined(*output) if isinstance(output, OwnOutput) else output.unsqueeze(0)

    def _joined(self, own: Any, part: slice, rows: int) -> Tensor:
        whole = self._flat.new_zeros((1, rows, self._width))
        if own is not None:
            whole[:, part] = self._kernel.by_run(own)
        self._group.sum(whole)
        return whole

    def loss_of(self, output: Tensor, y: Any) -> Tensor:
        """Return the loss [1] of outputs [B, O] for all rows."""
        return self._kernel.loss_of(output, y.whole)
