"""The kernel for tiny layers: runs innermost, the matrix products written out as elementwise operations.

Weights are [O, I, R], rows [D, B, R], or [D, B, 1] where all runs have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli.engine.kernels.base import AffineLayer, FleetLayout, first_trained, is_over_rows
from gdcli.zoo.models import Chain

WIDTH = 64
"""Runs innermost come in multiples of this: whole vectors, four at a time as torch sums them, on every processor."""

TINY_UNITS = 8
"""Units of a layer, and its inputs, up to which its products are written out."""

TINY_OPERATIONS = 48
"""Operations of all layers' products, forward and backward, up to which they are written out."""


def is_tiny(chain: Chain, loss_is_of_classes: bool) -> bool:
    """Say whether a chain's products are written out: few units, no softmax, a loss of elements."""
    if loss_is_of_classes or not chain.layers or any(is_over_rows(layer.activation) for layer in chain.layers):
        return False
    operations = sum(3 * layer.inputs + 2 * layer.outputs for layer in chain.layers)
    return operations <= TINY_OPERATIONS and all(
        max(layer.inputs, layer.outputs) <= TINY_UNITS for layer in chain.layers
    )


def _innermost(rows: Tensor) -> Tensor:
    """Return [B, D] as [D, B, 1], and [R, B, D] as [D, B, R]."""
    return rows.t().unsqueeze(-1).contiguous() if rows.ndim == 2 else rows.permute(2, 1, 0).contiguous()


def _forward(
    layer: AffineLayer, rows: int, like: Tensor, *, is_last: bool
) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return a [I, B, R] -> z = W a + b [O, B, R] and f(z), twice since it is handed on as the way back needs it."""
    inputs, activation = layer.weight.shape[1], layer.activation.forward
    bias = None if layer.bias is None else layer.bias.unsqueeze(1)  # [O, 1, R]
    columns = [layer.weight[:, i].unsqueeze(1) for i in range(inputs)]  # [O, 1, R] each
    if rows == 1:
        into = _before(layer, like)

        def of_one_row(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            z = columns[0] * a[0]
            for i in range(1, inputs):
                z += columns[i] * a[i]
            z = z if bias is None else z + bias
            z = z if into is None else into.copy_(z)
            after = z if activation is None else activation(z)
            return z, after, after

        return of_one_row

    def forward(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = torch.mul(columns[0], a[0]) if bias is None else torch.addcmul(bias, columns[0], a[0])
        for i in range(1, inputs):
            z.addcmul_(columns[i], a[i])
        after = z if activation is None else activation(z)
        return z, after, after

    return forward


def _before(layer: AffineLayer, like: Tensor) -> Tensor | None:
    """Return the buffer [O, 1, R] of one row's weighted sums, its entries not neighbours; None where none is needed.

    Torch's elementwise functions take neighbours as vectors and others one by one, and may round differently: a single
    run's few units are taken one by one.
    """
    # gelu in float32 is a library's, which has one way for both
    if layer.activation.forward is None or (layer.name == "gelu" and like.dtype == torch.float32):
        return None
    outputs, _, runs = layer.weight.shape
    return _apart(like.new_empty((outputs, 1, runs)))


def _apart(like: Tensor) -> Tensor:
    """Return zeros of a tensor's shape that are not neighbours."""
    return like.new_zeros((*like.shape, 2))[..., 0]


def _back(layer: AffineLayer, rows: int, like: Tensor, *, is_first: bool) -> Callable[..., Tensor]:
    """Return (d, a_in, z, a_out) -> gradient at the layer's input [I, B, R]; writes the layer's gradients."""
    weight, into_weight, into_bias = layer.weight, layer.weight_gradient, layer.bias_gradient
    outputs, inputs, runs = weight.shape
    activation = layer.activation.backward
    delta = like.new_empty((outputs, rows, runs))
    products = like.new_empty((outputs, inputs, rows, runs))
    axes: int | tuple[int, int] = 1
    if into_bias is not None and into_bias.shape[0] != outputs:  # shared by the layer's units
        axes, into_bias = (0, 1), into_bias.view(-1)
    columns = [weight[o].unsqueeze(1) for o in range(outputs)]  # [I, 1, R] each

    def back(d: Tensor, a_in: Tensor, z: Tensor, a_out: Tensor) -> Tensor:
        if activation is not None:
            d = activation(d, z, a_out, delta)
        if into_weight is not None:
            torch.sum(torch.mul(d.unsqueeze(1), a_in, out=products), 2, out=into_weight)
        if into_bias is not None:
            torch.sum(d, axes, out=into_bias)
        if is_first:
            return d
        below = columns[0] * d[0]
        for o in range(1, outputs):
            below = below + columns[o] * d[o] if rows == 1 else below.addcmul_(columns[o], d[o])
        return below

    return back


# --- one row on the host ----------------------------------------------------------------------------------------------

Operation = Callable[[], object]
MOST_CALLS = 4
"""Calls on single rows of some hundred numbers, 0.3 µs each, that take no longer than one on rows with gaps between."""


def _calls(function: np.ufunc, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any], axes: int) -> list[Operation]:
    """Return what makes out = f(a, b) by a call for each place on the first axes where these are few, else by one."""
    a, b = np.broadcast_to(a, out.shape), np.broadcast_to(b, out.shape)
    places = np.ndindex(*out.shape[:axes]) if prod(out.shape[:axes]) <= MOST_CALLS else [()]
    return [partial(function, a[place], b[place], out[place]) for place in places]


class _OneRow:
    """Forward and backward of a single row as a list of operations on vectors [R], each between fixed buffers.

    Numpy's operation on small vectors costs a fourth of torch's, and a sum or product of two numbers has the same bits
    in both. Their order is that of the kernel `single` on small matrices, a product and then a sum, and activations
    take the units one by one as they do there: on processors where torch's own small products are made so, the bits
    are those of `run`.
    """

    def __init__(self, layers: Sequence[AffineLayer], like: Tensor, factor: float | None, at_output: Any) -> None:
        runs = like.shape[1]
        self._x = np.zeros((layers[0].weight.shape[1], runs), like.numpy().dtype)
        self._before: list[Operation] = []  # up to the output
        self._after: list[Operation] = []  # from dL/do on
        self._at_output = at_output
        trail = []
        a = torch.from_numpy(self._x)
        for layer in layers:
            z, after = self._forward(layer, a, like)
            trail.append((a, z, after))
            a = after
        self._output = a.unsqueeze(1)
        self._alone = _apart(self._output)
        self._d = torch.zeros_like(a)
        self._target = np.zeros_like(self._d.numpy())
        self._difference = None if factor is None else np.zeros_like(self._target[:, None])
        if self._difference is not None:
            difference = self._difference[:, 0]
            self._before.append(partial(np.subtract, a.numpy(), self._target, difference))
            if factor == 1:
                self._d = torch.from_numpy(difference)
            else:
                scale = np.full_like(difference, factor)
                self._after.append(partial(np.multiply, difference, scale, self._d.numpy()))
        first, d = first_trained(layers), self._d
        for k in range(len(layers) - 1, first - 1, -1):
            d = self._backward(layers[k], d, *trail[k], is_first=k == first)
        self._last: tuple[Tensor | None, Tensor | None] = (None, None)

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Return loss [R] or a copy of the differences [O, 1, R], and the output; write the gradient into theta."""
        if x is not self._last[0] or y is not self._last[1]:
            np.copyto(self._x, x[:, 0].numpy())
            np.copyto(self._target, y[:, 0].numpy())
            self._last = x, y
        for operation in self._before:
            operation()
        if self._difference is None:
            kept, d = self._at_output(self._alone.copy_(self._output), y)
            self._d.copy_(d.squeeze(1))
        else:
            kept = self._difference.copy()
        for operation in self._after:
            operation()
        return kept, self._output

    def forward(self, x: Tensor) -> Tensor:
        """Return the output [O, 1, R]."""
        if x is not self._last[0]:
            np.copyto(self._x, x[:, 0].numpy())
            self._last = x, None
        for operation in self._before:
            operation()
        return self._output

    def _forward(self, layer: AffineLayer, a: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Add z = W a + b, a = f(z); return z and the output, [O, R] each."""
        outputs, inputs, runs = layer.weight.shape
        weight, a_in, add = layer.weight.numpy(), a.numpy(), self._before.append
        products, zero = np.zeros((outputs, inputs, runs), a_in.dtype), np.zeros((), a_in.dtype)
        before = _before(layer, like)
        z = like.new_zeros((outputs, runs)) if before is None else before[:, 0]
        sums, into = np.zeros((outputs, runs), a_in.dtype), z.numpy()
        self._before += _calls(np.multiply, weight, a_in, products, 1)
        for i in range(1, inputs):
            self._before += _calls(np.add, products[:, 0] if i == 1 else sums, products[:, i], sums, 1)
        done = sums if inputs > 1 else products[:, 0]
        if layer.bias is not None:  # one for each unit, or for all
            self._before += _calls(np.add, done, layer.bias.numpy(), into, 1)
        else:
            add(partial(np.copyto, into, done) if inputs == 1 else partial(np.add, done, zero, into))
        forward = layer.activation.forward
        if forward is None:
            return z, z
        after = like.new_zeros((outputs, runs))
        with_out = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}.get(layer.name)
        add((lambda: after.copy_(forward(z))) if with_out is None else partial(with_out, z, out=after))
        return z, after

    def _backward(
        self, layer: AffineLayer, d: Tensor, a: Tensor, z: Tensor, after: Tensor, *, is_first: bool
    ) -> Tensor:
        """Add the layer's gradients from that at its output [O, R]; return that at its input [I, R]."""
        outputs, inputs, runs = layer.weight.shape
        weight, add = layer.weight.numpy(), self._after.append
        delta = torch.zeros_like(d)
        if layer.activation.backward is None:
            delta = d
        elif layer.name == "sigmoid":  # d (1 − a) a, torch's own order
            one, share = np.ones_like(d.numpy()), np.zeros_like(d.numpy())
            add(partial(np.subtract, one, after.numpy(), share))
            add(partial(np.multiply, d.numpy(), share, share))
            add(partial(np.multiply, share, after.numpy(), delta.numpy()))
        else:
            add(partial(layer.activation.backward, d, z, after, delta))
        parts = delta.numpy()
        if layer.weight_gradient is not None:
            self._after += _calls(np.multiply, parts[:, None], a.numpy(), layer.weight_gradient.numpy(), 2)
        if layer.bias_gradient is not None:  # 0 + δ, as a sum begins, summed over the units where they share it
            into, zero = layer.bias_gradient.numpy(), np.zeros_like(parts)
            if len(into) == outputs:
                add(partial(np.add, parts, zero, into))
            else:
                for o in range(outputs):
                    add(partial(np.add, into[0] if o else zero[0], parts[o], into[0]))
        below = torch.zeros_like(a)
        if is_first:
            return below
        products = np.zeros((outputs, inputs, runs), parts.dtype)
        self._after += _calls(np.multiply, weight, parts[:, None], products, 2)
        into = below.numpy()
        add(partial(np.copyto, into, products[0]) if outputs == 1 else partial(np.add, *products[:2], into))
        for o in range(2, outputs):
            add(partial(np.add, into, products[o], into))
        if outputs > 1:  # a sum begins with 0, so that it is no negative zero
            add(partial(np.add, into, np.zeros((), into.dtype), into))
        return below


ELEMENTWISE = FleetLayout(
    axis=-1,
    arranged=lambda x, y, runs: (_innermost(x), _innermost(y)),
    by_run=lambda output: output.permute(2, 1, 0),  # [O, B, R] as [R, B, O]
    forward=_forward,
    back=_back,
    of_one_row=_OneRow,
)
