"""The kernel for fleets of torch's own layers: one forward for all runs, one backward of the sum of their losses.

The runs share no parameter, so that the gradient of the sum of their losses is each run's own. It agrees with that of a
lone run to rounding, not bit by bit: products of batches of matrices are summed in another order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gdcli.engine.kernels.autograd import leaves_on
from gdcli.engine.kernels.base import AtOutput, FleetLosses
from gdcli.engine.kernels.stacked_layers import Draws, Stacked, orders_of, stacked
from gdcli.engine.theta import Theta
from gdcli.spec.load import Loaded
from gdcli.zoo.losses import Loss
from gdcli.zoo.models import Stack

ROWS = 128
"""Rows of each run that are evaluated at once."""


class Vmapped:
    """Forward and backward of torch's layers on all R runs of theta; buffers and generators are those of each run."""

    def __init__(self, theta: Theta, loaded: Loaded, module: torch.nn.Module, loss: Loss, draws: Draws) -> None:
        """``module`` has the layers of one of the runs; its parameters and buffers are not used."""
        model = loaded.architecture
        assert isinstance(model, Stack)
        assert loaded.training is not None
        rows = loaded.training.x[: loaded.spec.batch.pass_rows(loaded.samples)]
        x = torch.as_tensor(rows, dtype=theta.stored.dtype).view(-1, *model.shape)
        module.train()
        orders = orders_of(module, x) if model.draws else {}
        leaves = leaves_on(theta)
        named = {slot.name: leaf for slot, leaf in zip(theta.slots, leaves, strict=True)}
        self.state, self._runs = Stacked(named, theta.buffers(), draws, orders), len(theta.values)
        self._through = stacked(model.layers, module, self.state)
        self._leaves = tuple(leaf for leaf in leaves if leaf.requires_grad)
        self._into = [view for slot in theta.slots if (view := theta.gradient_view(slot)) is not None]
        self._of_runs = FleetLosses(loss, 0, self._runs)
        self.losses, self.loss_of = self._of_runs.losses, self._of_runs.loss_of
        self._at_output: dict[tuple[int, ...], AtOutput] = {}
        self._at_once = None if model.mixes_rows else ROWS
        self._inner, self._row_axes = model.layers[0].layer.startswith("Conv"), len(model.shape)
        self._run_backward = torch.autograd.Variable._execution_engine.run_backward

    def arranged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return x as [R, B, ...], the rows innermost in memory for a convolution; y with an axis for the runs."""
        if x.ndim == 1 + self._row_axes:
            x = self._placed(x.unsqueeze(0))
            return x.expand(self._runs, *x.shape[1:]), y.unsqueeze(0)
        return self._placed(x), y

    def _placed(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).contiguous().movedim(-1, 1) if self._inner else x

    def step(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Return losses [R] or differences, and outputs [R, B, O]; write the gradient into theta."""
        output = self._through(x).contiguous()
        found, shape = output.detach(), output.shape[1:]
        if shape not in self._at_output:
            self._at_output[shape] = self._of_runs.at_output(found[0])
        loss, slope = self._at_output[shape](found, y)
        if self._leaves:
            gradients = self._run_backward(
                (output,), (slope,), False, False, self._leaves, allow_unreachable=True, accumulate_grad=False
            )
            for into, gradient in zip(self._into, gradients, strict=True):
                into.zero_() if gradient is None else into.copy_(gradient)
        return loss, found

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for arranged x, without training, so many rows at once."""
        self.eval()
        with torch.no_grad():
            parts = [self._through(part) for part in torch.split(x, self._at_once or x.shape[1], 1)]
        self.train()
        return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, 1)

    def by_run(self, output: Tensor) -> Tensor:
        """Return the outputs, which have the runs in front."""
        return output

    def train(self) -> None:
        """Train from here on: dropout draws, a batch norm takes the batch's mean."""
        self.state.training = True

    def eval(self) -> None:
        """Evaluate from here on."""
        self.state.training = False
