"""The kernel for chains of any size: runs leading, torch's products of batches of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gdcli.engine.kernels.base import AffineLayer, FleetLayout, is_over_rows
from gdcli.zoo.table import ALIGNMENT


def _arranged(x: Tensor, y: Tensor, runs: int) -> tuple[Tensor, Tensor]:
    """Return x as [R, B, D] and y, each run's rows at 64 bytes; y with an axis of one run where all share it."""
    if x.ndim == 2:
        return x.expand(runs, *x.shape), y.unsqueeze(0)
    return apart(x), apart(y)


def aligned_buffer(like: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return zeros [R, S] and their view as ``shape``, [R, ...]: every run has vectors of its own, in pairs."""
    runs, size = shape[0], torch.Size(shape[1:]).numel()
    unit = 2 * ALIGNMENT // like.element_size()  # torch's loops take two vectors at a time
    whole = like.new_zeros((runs, -(-size // unit) * unit))
    return whole, whole[:, :size].view(*shape)


def apart(rows: Tensor) -> Tensor:
    """Return rows [R, ...] in which every run begins at 64 bytes: a copy, unless they do."""
    if rows.is_contiguous() and rows[0].numel() * rows.element_size() % (2 * ALIGNMENT) == 0:
        return rows
    return aligned_buffer(rows, rows.shape)[1].copy_(rows)


def _forward(
    layer: AffineLayer, rows: int, like: Tensor, *, is_last: bool
) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return a [R, B, I] -> what the way back needs, and the output [R, B, O].

    The activation works on whole buffers, whose ends are zeros, so that each run's entries lie in whole vectors.
    """
    runs, outputs, _ = layer.weight.shape
    bias = None if layer.bias is None else layer.bias.unsqueeze(1)  # [R, 1, O]
    transposed, activation = layer.weight.mT, layer.activation.forward
    whole, z = aligned_buffer(like, (runs, rows, outputs))
    strides, over_rows = z.stride(), is_over_rows(layer.name)
    into = None if is_last else _into(layer, whole)
    bmm, baddbmm = torch.bmm, torch.baddbmm

    def forward(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if bias is None:
            bmm(a, transposed, out=z)
        else:
            baddbmm(bias, a, transposed, out=z)
        if activation is None:
            return whole, whole, whole.clone().as_strided(z.shape, strides)
        if over_rows:
            after = apart(activation(z))
            return z, after, after
        after = activation(whole) if into is None else into(whole)
        return whole, after, after.as_strided(z.shape, strides)

    return forward


def _into(layer: AffineLayer, whole: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return the activation into a buffer of its own, where torch has that; fresh memory costs more than the function.

    An output layer's is new each time, since outputs are handed on.
    """
    after = torch.zeros_like(whole)
    if layer.name == "relu":  # what torch.relu calls
        return lambda z: torch.clamp_min(z, 0, out=after)
    function = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}.get(layer.name)
    return None if function is None else lambda z: function(z, out=after)


def _back(layer: AffineLayer, rows: int, like: Tensor, *, is_first: bool) -> Callable[..., Tensor]:
    """Return (d, a_in, z, a_out) -> gradient at the layer's input [R, B, I]; writes the layer's gradients."""
    weight, into_weight, into_bias = layer.weight, layer.weight_gradient, layer.bias_gradient
    runs, outputs, inputs = weight.shape
    activation, bmm, total = layer.activation.backward, torch.bmm, torch.sum
    over_rows = is_over_rows(layer.name)
    whole, delta = aligned_buffer(like, (runs, rows, outputs))
    strides = delta.stride()
    below = aligned_buffer(like, (runs, rows, inputs))[1]
    shared = into_bias is not None and into_bias.shape[1] != outputs
    transposed = delta.mT

    def back(d: Tensor, a_in: Tensor, z: Tensor, a_out: Tensor) -> Tensor:
        if activation is None or over_rows:
            delta.copy_(d if activation is None else activation(d, z, a_out, torch.empty_like(d)))
        else:
            if d.stride() != strides:
                delta.copy_(d)
                source = whole
            else:
                source = d.as_strided(whole.shape, whole.stride())
            activation(source, z, a_out, whole)
        if into_weight is not None:
            bmm(transposed, a_in, out=into_weight)
        if into_bias is not None:
            if shared:
                total(delta, (1, 2), out=into_bias.view(-1))
            else:
                total(delta, 1, out=into_bias)
        return delta if is_first else bmm(delta, weight, out=below)

    return back


BATCHED = FleetLayout(0, _arranged, lambda output: output, _forward, _back)
"""Runs leading: weights [R, O, I], rows [R, B, D] or [1, B, D] expanded where all runs have the same.

z = baddbmm(b, a, Wᵀ), dW = bmm(δᵀ, a), db = Σ_b δ, below bmm(δ, W): the order of operations of autograd.
"""
