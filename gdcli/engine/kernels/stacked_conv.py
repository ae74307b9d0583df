"""Convolutions of all runs of a fleet at once: small ones as products of matrices, rows innermost in memory.

On a processor a small convolution of one run is mostly overhead. As y = W cols(x), with cols the patches of the input
as columns, one product of a batch of matrices makes those of all runs; where the rows of a batch are the innermost
axis, patches are copied in long pieces, the weights are taken as they lie, and the output has that layout again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

SMALL = 2**11
"""Numbers that the patches of a row may have: more do not stay in cache, and torch's own convolution is faster."""
BLOCK = 8
"""Channels that torch's grouped convolution takes at once; of others it is slower than one run after the other."""

Pairs = tuple[tuple[int, int], tuple[int, int]]


class Convolution(torch.autograd.Function):
    """y = W cols(x) + b for x [R, C, H, W, B], W [R, O, C, kh, kw], b [R, O]: y [R, O, h, w, B], contiguous.

    x of one run, expanded, is that of all. The way back is dW = g cols(x)ᵀ, db = Σ g, and at the input the patches of
    Wᵀ g, added up where they overlap.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: Pairs,
        dilation: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        """Return y."""
        runs, outputs, _, *kernel = weight.shape
        x = x[:1] if x.stride(0) == 0 else x
        padded = _padded(x, padding)
        r, channels, height, width, rows = padded.shape
        h, w = (
            (size - along * (k - 1) - 1) // step + 1
            for size, along, k, step in zip((height, width), dilation, kernel, stride, strict=True)
        )
        s = padded.stride()
        strides = (s[0], s[1], dilation[0] * s[2], dilation[1] * s[3], stride[0] * s[2], stride[1] * s[3], s[4])
        cols = padded.as_strided((r, channels, *kernel, h, w, rows), strides)
        cols = cols.reshape(r, channels * prod(kernel), h * w * rows)
        flat, columns = weight.reshape(runs, outputs, -1), cols.expand(runs, -1, -1)
        y = torch.bmm(flat, columns) if bias is None else torch.baddbmm(bias.unsqueeze(2), flat, columns)
        ctx.save_for_backward(cols, weight)  # not the flat one: theta, of which it is a view, is written to
        ctx.shapes = weight.shape, padded.shape, (h, w), stride, padding, dilation
        return y.view(runs, outputs, h, w, rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients at x, W and b."""
        cols, weight = ctx.saved_tensors
        (runs, outputs, channels, *kernel), shape, (h, w), stride, padding, dilation = ctx.shapes
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        rows = shape[-1]
        g = gradients[0].reshape(runs, outputs, h * w * rows)
        of_weight = torch.bmm(g, cols.expand(runs, -1, -1).mT).view(runs, outputs, channels, *kernel)
        at_x = None
        if needs_x:
            at_cols = torch.bmm(weight.reshape(runs, outputs, -1).mT, g).view(runs, channels, *kernel, h, w, rows)
            at_x = g.new_zeros((runs, *shape[1:]))
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    down = slice(i * dilation[0], i * dilation[0] + stride[0] * (h - 1) + 1, stride[0])
                    right = slice(j * dilation[1], j * dilation[1] + stride[1] * (w - 1) + 1, stride[1])
                    at_x[:, :, down, right] += at_cols[:, :, i, j]
            (top, bottom), (left, end) = padding
            at_x = at_x[:, :, top : shape[2] - bottom, left : shape[3] - end]
        return at_x, of_weight if needs_weight else None, g.sum(2) if needs_bias else None, None, None, None


def _padded(x: Tensor, padding: Pairs) -> Tensor:
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x.contiguous()
    runs, channels, height, width, rows = x.shape
    whole = x.new_zeros(runs, channels, height + top + bottom, width + left + right, rows)
    whole[:, :, top : top + height, left : left + width] = x
    return whole


def convolution(
    part: nn.Module, own: dict[str, Tensor], mapped: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return the pass of a convolution with stacked weights, for rows [R, B, C, ...]; ``mapped`` is vmap's.

    A large one takes torch's own, in groups where its channels fill these, else one run after the other.
    """
    layer: Any = part
    weight, bias = own["weight"], own.get("bias")
    axes = weight.ndim - 3
    is_plain = axes < 3 and layer.groups == 1 and layer.padding_mode == "zeros"
    kernel, stride, dilation = (_two(each, axes, 1) for each in (layer.kernel_size, layer.stride, layer.dilation))
    padding = _padding(layer, axes)
    fills_groups = layer.groups == 1 and weight.shape[1] % BLOCK == 0 and weight.shape[2] % BLOCK == 0

    def through(x: Tensor) -> Tensor:
        places = _two(x.shape[3:], axes, 1)
        given = prod(
            (size + sum(pad) - along * (k - 1) - 1) // step + 1
            for size, pad, along, k, step in zip(places, padding, dilation, kernel, stride, strict=True)
        )
        if not is_plain or x.device.type != "cpu" or given * prod(kernel) * x.shape[2] > SMALL:
            return mapped(x) if fills_groups or x.device.type != "cpu" else one_by_one(x)
        inner = x.movedim(1, -1)  # [R, C, ..., B]
        if axes == 1:
            inner = inner.unsqueeze(2)
        y: Tensor = Convolution.apply(  # type: ignore[no-untyped-call]  # torch has no types here
            inner, weight.unsqueeze(3) if axes == 1 else weight, bias, stride, padding, dilation
        )
        return (y.squeeze(2) if axes == 1 else y).movedim(-1, 1)

    def one_by_one(x: Tensor) -> Tensor:
        weights = zip(*(each.unbind(0) for each in own.values()), strict=True)
        runs = (dict(zip(own, each, strict=True)) for each in weights)
        return torch.stack([functional_call(part, each, (rows,)) for each, rows in zip(runs, x.unbind(0), strict=True)])

    return through


def _two(sizes: Sequence[int], axes: int, other: int) -> tuple[int, int]:
    """Return sizes along two axes, of a sequence with one of length ``other`` in front."""
    return (other, sizes[0]) if axes == 1 else (sizes[0], sizes[1])


def _padding(layer: Any, axes: int) -> Pairs:
    """Return the zeros before and behind each of two axes."""
    if axes > 2:
        return (0, 0), (0, 0)
    if layer.padding == "same":
        total = [along * (k - 1) for along, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(each // 2, each - each // 2) for each in total]
    else:
        pairs = [(0, 0)] * axes if layer.padding == "valid" else [(each, each) for each in layer.padding]
    return ((0, 0), pairs[0]) if axes == 1 else (pairs[0], pairs[1])
